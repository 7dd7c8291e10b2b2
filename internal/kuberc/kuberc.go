// Package kuberc reads and edits kubectl's preferences: the policy that says which credential
// plugins kubectl runs (KEP-3104).
//
// It knows nothing of kubeconfigs: of this module it imports internal/yamledit.
package kuberc

import (
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	yaml "go.yaml.in/yaml/v3"

	"github.com/sa-exec-credential/sa-exec-credential/internal/yamledit"
)

// What can be wrong. The errors of this package wrap one of them, one of yamledit's or what the
// operating system says.
var (
	ErrDenyAll     = errors.New("kubectl's policy denies every credential plugin")
	ErrNoAllowlist = errors.New("kubectl's policy is no allowlist")
	ErrPolicy      = errors.New("kubectl's plugin policy is not valid")
	ErrDenied      = errors.New("kubectl's plugin policy does not allow it")
)

// kubectl's plugin policies (client-go, tools/clientcmd/api).
const (
	AllowAll  = "AllowAll"
	DenyAll   = "DenyAll"
	Allowlist = "Allowlist"
)

const (
	group   = "kubectl.config.k8s.io"
	version = group + "/v1beta1"
	kind    = "Preference"

	allowlist = "credentialPluginAllowlist"
)

// preferences is how kuberc files are edited.
var preferences = yamledit.Kind{
	Fields: [][2]string{{"apiVersion", version}, {"kind", kind}},
	Choose: preference,
}

// Path is where kubectl keeps its preferences: KUBERC's value, else ~/.kube/kuberc. It is empty
// when KUBERC turns them off.
func Path(kuberc, home string) string {
	switch kuberc {
	case "off":
		return ""
	case "":
		return filepath.Join(home, ".kube", "kuberc")
	}
	return yamledit.Absolute(kuberc)
}

// Policy is kubectl's rule for credential plugins.
type Policy struct {
	Type    string   // one of the policies; AllowAll when kuberc says nothing
	Entries []string // of the allowlist
}

// Allows reports whether kubectl 1.36 runs a command: it is in the list as it stands, or both it
// and an entry of the same base name lead to the same path. Links are not resolved.
func (p Policy) Allows(command string) bool { return p.allows(command, exec.LookPath) }

// Check is for a plugin that this program runs for itself, and that lookPath finds: an ErrDenied
// when kubectl would not run it. Whoever restricts plugins means the plugin, whichever program runs
// it. A policy that cannot be read allows nothing; kubectl itself refuses to work then.
func Check(path, command string, lookPath func(string) (string, error)) error {
	policy, err := ReadPolicy(path)
	if err != nil {
		return fmt.Errorf("%w: %q: %w", ErrDenied, command, err)
	}
	if policy.allows(command, lookPath) {
		return nil
	}
	return fmt.Errorf("%w: %q: %q has credentialPluginPolicy: %s", ErrDenied, command, path,
		policy.Type)
}

func (p Policy) allows(command string, lookPath func(string) (string, error)) bool {
	switch p.Type {
	case AllowAll:
		return true
	case Allowlist:
		return p.lists(filepath.Clean(command), lookPath)
	}
	return false
}

func (p Policy) lists(command string, lookPath func(string) (string, error)) bool {
	if slices.Contains(p.Entries, command) {
		return true
	}
	resolved, err := lookPath(command)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(p.Entries, func(entry string) bool {
		found, err := lookPath(entry)
		hasName := filepath.Base(entry) == filepath.Base(resolved)
		return entry == resolved || hasName && err == nil && found == resolved
	})
}

// ReadPolicy reads the policy of a kuberc file; a missing file, or an empty path, allows
// everything. A policy with which kubectl would run no plugin, because it is misconfigured, is an
// ErrPolicy.
func ReadPolicy(path string) (Policy, error) {
	if path == "" {
		return Policy{Type: AllowAll}, nil
	}
	f, err := yamledit.Open(path, preferences)
	if err != nil {
		return Policy{}, err
	}
	return policyOf(f)
}

// preference finds the document that kubectl takes: the first that is a Preference.
func preference(path string, _ []byte, documents []*yaml.Node) (int, error) {
	for i, document := range documents {
		root := document.Content[0]
		before, _, _ := strings.Cut(yamledit.Text(root, "apiVersion"), "/")
		if before == group && yamledit.Text(root, "kind") == kind {
			return i, nil
		}
	}
	return 0, yamledit.Malformed(path, nil, "no "+kind+" of "+group)
}

func policyOf(f *yamledit.File) (Policy, error) {
	policy := Policy{Type: yamledit.Text(f.Root(), "credentialPluginPolicy")}
	for _, entry := range yamledit.Items(f.Root(), allowlist) {
		command := commandOf(entry)
		if command == "" {
			return Policy{}, invalid(f, "an allowlist entry without one clean path")
		}
		policy.Entries = append(policy.Entries, command)
	}
	switch {
	case policy.Type == Allowlist && len(policy.Entries) == 0:
		return Policy{}, invalid(f, "the policy "+Allowlist+" and no list")
	case policy.Type != Allowlist && !yamledit.IsNull(yamledit.Field(f.Root(), allowlist)):
		return Policy{}, invalid(f, "an allowlist and another policy")
	case policy.Type == "":
		policy.Type = AllowAll
	case !slices.Contains([]string{AllowAll, DenyAll, Allowlist}, policy.Type):
		return Policy{}, invalid(f, fmt.Sprintf("the unknown policy %q", policy.Type))
	}
	return policy, nil
}

// commandOf returns an entry's command, empty when kubectl would refuse the entry.
func commandOf(entry *yaml.Node) string {
	command, name := yamledit.Text(entry, "command"), yamledit.Text(entry, "name")
	if command == "" {
		command = name
	}
	if command == "" || filepath.Clean(command) != command || name != "" && name != command {
		return ""
	}
	return command
}

func invalid(f *yamledit.File, problem string) error {
	return fmt.Errorf("%w: %q has %s", ErrPolicy, f.Path(), problem)
}

// AllowPlugin adds a command, an absolute path, to the allowlist of a kuberc file. All entries
// stay, and the new one is spelled like them: command: since kubectl 1.36, name: before.
//
// A list alone would be a misconfiguration, and turning the policy to Allowlist would forbid every
// plugin that is not in the list. So without an allowlist in force nothing is written, and it is an
// ErrNoAllowlist. DenyAll is an ErrDenyAll and stays.
func AllowPlugin(path, command string) (changed bool, err error) {
	command = filepath.Clean(command)
	if !filepath.IsAbs(command) {
		return false, fmt.Errorf("%w: command %q is not an absolute path", fs.ErrInvalid,
			command)
	}
	if path == "" {
		return false, fmt.Errorf("%w: KUBERC turns kuberc off", ErrNoAllowlist)
	}
	return yamledit.Edit([]string{path}, preferences, func(files []*yamledit.File) error {
		return allow(files[0], command)
	})
}

func allow(f *yamledit.File, command string) error {
	policy, err := policyOf(f)
	switch {
	case err != nil:
		return err
	case policy.Type == DenyAll:
		return fmt.Errorf("%w: %q", ErrDenyAll, f.Path())
	case policy.Type == AllowAll:
		return fmt.Errorf("%w: %q allows every plugin", ErrNoAllowlist, f.Path())
	case slices.Contains(policy.Entries, command):
		return nil
	}
	item := yamledit.NewMapping()
	yamledit.SetField(item, spelling(f), yamledit.NewText(command))
	f.Touch(allowlist)
	return f.Append(allowlist, item)
}

// spelling is the field name that the list's entries have.
func spelling(f *yamledit.File) string {
	for _, entry := range yamledit.Items(f.Root(), allowlist) {
		if yamledit.Text(entry, "command") == "" && yamledit.Text(entry, "name") != "" {
			return "name"
		}
	}
	return "command"
}
