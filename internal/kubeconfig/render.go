package kubeconfig

import (
	"bytes"
	"encoding/base64"
	"fmt"

	yaml "go.yaml.in/yaml/v3"

	"github.com/sa-exec-credential/sa-exec-credential/internal/yamledit"
	kubeconfigtemplates "github.com/sa-exec-credential/sa-exec-credential/kubeconfig-templates"
)

// Template names one of the kubeconfigs in kubeconfig-templates. They differ in what their comments
// explain.
type Template string

// The templates, by where the bootstrap credential comes from.
const (
	Keyring        Template = "keyring"
	AnotherContext Template = "context"
	InCluster      Template = "in-cluster"
	CI             Template = "ci"
)

// Render returns a whole kubeconfig for the entry, with the template's comments.
func Render(e Entry, template Template) ([]byte, error) {
	root, err := e.fill(template)
	if err != nil {
		return nil, err
	}
	return yamledit.Encode(root)
}

// fill puts the entry's values into the template's nodes. They never pass through text, so nothing
// in them can be taken for YAML, and a value that looks like a placeholder stays a value.
func (e Entry) fill(template Template) (*yaml.Node, error) {
	if err := e.validate(); err != nil {
		return nil, err
	}
	data, err := kubeconfigtemplates.FS.ReadFile(string(template) + ".yaml")
	if err != nil {
		return nil, fmt.Errorf("%w: no template %q", ErrEntry, string(template))
	}
	var document yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(data)).Decode(&document); err != nil {
		return nil, fmt.Errorf("parsing template %q: %w", string(template), err)
	}
	document.HeadComment = "" // it is about the template, not about this file
	fillNode(&document, e.placeholders())
	return &document, nil
}

func (e Entry) placeholders() map[string]string {
	version := e.APIVersion
	if version == "" {
		version = defaultAPIVersion
	}
	return map[string]string{
		"CONTEXT": e.ContextName, "CLUSTER": e.ClusterName, "USER": e.UserName,
		"SERVER": e.Server, "TLS_SERVER_NAME": e.TLSServerName, "PROXY_URL": e.ProxyURL,
		"CA_DATA":   base64.StdEncoding.EncodeToString(e.CA),
		"NAMESPACE": e.Namespace, "PROFILE": e.Profile, "COMMAND": e.Command, "API_VERSION": version,
	}
}

// fillNode replaces the scalars that are placeholders; a field whose value is empty goes away with
// its comment.
func fillNode(node *yaml.Node, values map[string]string) {
	if node.Kind == yaml.MappingNode {
		var kept []*yaml.Node
		for i := 0; i+1 < len(node.Content); i += 2 {
			value := node.Content[i+1]
			if text, found := values[value.Value]; found && value.Kind == yaml.ScalarNode && text == "" {
				continue
			}
			kept = append(kept, node.Content[i], value)
		}
		node.Content = kept
	}
	for _, child := range node.Content {
		fillNode(child, values)
	}
	if text, found := values[node.Value]; found && node.Kind == yaml.ScalarNode {
		yamledit.SetText(node, text)
	}
}
