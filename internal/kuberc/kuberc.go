// Package kuberc reads and edits kubectl's preferences.
package kuberc

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	yaml "go.yaml.in/yaml/v3"

	"github.com/sa-exec-credential/sa-exec-credential/internal/yamledit"
)

// What can be wrong.
var (
	ErrEntry       = errors.New("not a usable entry")
	ErrDenyAll     = errors.New("kubectl's policy denies every credential plugin")
	ErrNoAllowlist = errors.New("kubectl's policy is no allowlist")
	ErrPolicy      = errors.New("kubectl's plugin policy is not valid")
)

// kubectl's plugin policies (client-go, tools/clientcmd/api).
const (
	PolicyAllowAll  = "AllowAll"
	PolicyDenyAll   = "DenyAll"
	PolicyAllowlist = "Allowlist"
)

const (
	kubercGroup   = "kubectl.config.k8s.io"
	kubercVersion = kubercGroup + "/v1beta1"
	kubercKind    = "Preference"
)

// KubercPath is where kubectl keeps its preferences: KUBERC's value, else ~/.kube/kuberc. It is empty when KUBERC turns
// them off.
func KubercPath(kuberc, home string) string {
	switch kuberc {
	case "off":
		return ""
	case "":
		return filepath.Join(home, ".kube", "kuberc")
	}
	return kuberc
}

// Policy is kubectl's rule for credential plugins.
type Policy struct {
	Type    string   // one of the policies; AllowAll when kuberc says nothing
	Entries []string // of the allowlist
}

// Allows reports whether kubectl 1.36 runs a command: it is in the list as it stands, or both it and an entry of the
// same base name lead to the same path. Links are not resolved.
func (p Policy) Allows(command string) bool {
	switch p.Type {
	case PolicyAllowAll:
		return true
	case PolicyAllowlist:
		return p.lists(filepath.Clean(command))
	}
	return false
}

func (p Policy) lists(command string) bool {
	if slices.Contains(p.Entries, command) {
		return true
	}
	resolved, err := exec.LookPath(command)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(p.Entries, func(entry string) bool {
		found, err := exec.LookPath(entry)
		return entry == resolved || filepath.Base(entry) == filepath.Base(resolved) && err == nil && found == resolved
	})
}

// PluginPolicy reads the policy of a kuberc file; a missing file, or an empty path, allows everything. A policy with
// which kubectl would run no plugin, because it is misconfigured, is an ErrPolicy.
func PluginPolicy(path string) (Policy, error) {
	if path == "" {
		return Policy{Type: PolicyAllowAll}, nil
	}
	f, err := yamledit.Open(path, emptyPreference(), preference)
	if err != nil {
		return Policy{}, err
	}
	return policyOf(path, f.Root())
}

func emptyPreference() [][2]string {
	return [][2]string{{"apiVersion", kubercVersion}, {"kind", kubercKind}}
}

// preference finds the document that kubectl takes: the first that is a Preference.
func preference(path string, _ []byte, documents []*yaml.Node) (int, error) {
	for i, document := range documents {
		root := document.Content[0]
		group, _, _ := strings.Cut(yamledit.Text(yamledit.Field(root, "apiVersion")), "/")
		if group == kubercGroup && yamledit.Text(yamledit.Field(root, "kind")) == kubercKind {
			return i, nil
		}
	}
	return 0, yamledit.Malformed(path, nil, "no "+kubercKind+" of "+kubercGroup)
}

func policyOf(path string, root *yaml.Node) (Policy, error) {
	policy := Policy{Type: yamledit.Text(yamledit.Field(root, "credentialPluginPolicy"))}
	list := yamledit.Field(root, "credentialPluginAllowlist")
	for _, item := range yamledit.Items(list) {
		entry := yamledit.Deref(item)
		command := yamledit.Text(yamledit.Field(entry, "command"))
		name := yamledit.Text(yamledit.Field(entry, "name"))
		if command == "" {
			command = name
		}
		if command == "" || filepath.Clean(command) != command || name != "" && name != command {
			return Policy{}, fmt.Errorf("%w: %q has an allowlist entry without one clean path", ErrPolicy, path)
		}
		policy.Entries = append(policy.Entries, command)
	}
	switch {
	case policy.Type == PolicyAllowlist && len(policy.Entries) == 0:
		return Policy{}, fmt.Errorf("%w: %q has the policy %s and no list", ErrPolicy, path, PolicyAllowlist)
	case policy.Type != PolicyAllowlist && !yamledit.IsNull(list):
		return Policy{}, fmt.Errorf("%w: %q has an allowlist and another policy", ErrPolicy, path)
	case policy.Type == "":
		policy.Type = PolicyAllowAll
	case !slices.Contains([]string{PolicyAllowAll, PolicyDenyAll, PolicyAllowlist}, policy.Type):
		return Policy{}, fmt.Errorf("%w: %q has the unknown policy %q", ErrPolicy, path, policy.Type)
	}
	return policy, nil
}

// AllowPlugin adds a command, an absolute path, to the allowlist of a kuberc file. All entries stay, and the new one is
// spelled like them: command: since kubectl 1.36, name: before.
//
// A list alone would be a misconfiguration, and turning the policy to Allowlist forbids every plugin that is not in the
// list. So without an allowlist in force nothing is written, and it is an ErrNoAllowlist, unless others is not nil:
// then the policy becomes Allowlist with command and these others. DenyAll is an ErrDenyAll and stays.
func AllowPlugin(path, command string, others []string) (changed bool, err error) {
	defer func() { err = yamledit.Quoted(err) }()
	command = filepath.Clean(command)
	if !filepath.IsAbs(command) {
		return false, fmt.Errorf("%w: command %q is not an absolute path", ErrEntry, command)
	}
	if path == "" {
		return false, fmt.Errorf("%w: KUBERC turns kuberc off", ErrNoAllowlist)
	}
	resolved, err := yamledit.Resolve(path)
	if err != nil {
		return false, err
	}
	if others != nil {
		if err := yamledit.MakeFolder(resolved); err != nil {
			return false, err
		}
	}
	release, err := yamledit.LockAll([]string{path}, []string{resolved})
	if err != nil {
		return false, err
	}
	defer release()
	return allow(resolved, command, others)
}

func allow(path, command string, others []string) (changed bool, err error) {
	f, err := yamledit.Open(path, emptyPreference(), preference)
	if err != nil {
		return false, err
	}
	policy, err := policyOf(path, f.Root())
	switch {
	case err != nil:
		return false, err
	case policy.Type == PolicyDenyAll:
		return false, fmt.Errorf("%w: %q", ErrDenyAll, path)
	case policy.Type == PolicyAllowAll && others == nil:
		return false, fmt.Errorf("%w: %q allows every plugin", ErrNoAllowlist, path)
	case policy.Type == PolicyAllowAll:
		yamledit.SetField(f.Root(), "credentialPluginPolicy", yamledit.NewKey(PolicyAllowlist))
	}
	for _, name := range append([]string{command}, others...) {
		if policy.Type == PolicyAllowlist && name != command || slices.Contains(policy.Entries, name) {
			continue
		}
		if err := add(f, name); err != nil {
			return false, err
		}
		policy.Entries = append(policy.Entries, name)
	}
	if !f.Changed() {
		return false, nil
	}
	data, err := f.Encode()
	if err != nil {
		return false, err
	}
	return true, f.Write(data)
}

func add(f *yamledit.File, command string) error {
	item := yamledit.NewMapping()
	yamledit.SetField(item, spelling(f), yamledit.NewText(command))
	return f.Add("credentialPluginAllowlist", item)
}

// spelling is the field name that the list's entries have.
func spelling(f *yamledit.File) string {
	for _, item := range yamledit.Items(yamledit.Field(f.Root(), "credentialPluginAllowlist")) {
		if yamledit.Field(yamledit.Deref(item), "command") == nil && yamledit.Field(yamledit.Deref(item), "name") != nil {
			return "name"
		}
	}
	return "command"
}
