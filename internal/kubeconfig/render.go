package kubeconfig

import (
	"encoding/base64"
	"fmt"

	yaml "go.yaml.in/yaml/v3"

	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/yamledit"
	kubeconfigtemplates "github.com/sa-exec-credential/sa-exec-credential/kubeconfig-templates"
)

// Render returns a whole kubeconfig for the entry, with the template's comments.
func Render(e Entry) ([]byte, error) {
	document, err := e.fill()
	if err != nil {
		return nil, err
	}
	return yamledit.Encode(document)
}

// fill puts the entry's values into the template's nodes. They never pass through text, so nothing
// in them can be taken for YAML, and a value that looks like a placeholder stays a value.
func (e Entry) fill() (*yaml.Node, error) {
	if err := e.validate(); err != nil {
		return nil, err
	}
	var document yaml.Node
	if err := yaml.Unmarshal([]byte(kubeconfigtemplates.YAML), &document); err != nil {
		return nil, fmt.Errorf("parsing the kubeconfig template: %w", err)
	}
	document.HeadComment = "" // it is about the template, not about this file
	e.explainCommand(execSection(document.Content[0]))
	fillNode(&document, e.placeholders())
	return &document, nil
}

// execSection returns the exec section of the template's only user.
func execSection(root *yaml.Node) *yaml.Node {
	return yamledit.At(yamledit.Items(root, users)[0], "user", "exec")
}

// explainCommand replaces the template's comment where the plugin is not on somebody's desktop.
func (e Entry) explainCommand(section *yaml.Node) {
	switch e.Source {
	case "", profile.SourceKeyring, profile.SourceContext:
	case profile.SourceInCluster:
		yamledit.Comment(section, "command", "The path in the container's image.")
	default:
		yamledit.Comment(section, "command",
			"An absolute path, or a bare name that is looked up in the job's PATH. "+
				"Never a relative path:",
			"clients resolve it from the directory of this file, the repository that "+
				"is being built.")
	}
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
		"NAMESPACE": e.Namespace, "PROFILE": e.Profile, "COMMAND": e.Command,
		"API_VERSION": version,
	}
}

// fillNode replaces the scalars that are placeholders; a field whose value is empty goes away with
// its comment.
func fillNode(node *yaml.Node, values map[string]string) {
	if node.Kind == yaml.MappingNode {
		var kept []*yaml.Node
		for i := 0; i+1 < len(node.Content); i += 2 {
			value := node.Content[i+1]
			if text, found := values[value.Value]; found &&
				value.Kind == yaml.ScalarNode && text == "" {
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
