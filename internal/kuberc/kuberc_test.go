package kuberc

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/yamledit"
)

const command = "/opt/bin/sa-exec-credential"

const binary = "sa-exec-credential"

const kubercHead = "apiVersion: kubectl.config.k8s.io/v1beta1\nkind: Preference\n"

func TestAllowPlugin(t *testing.T) {
	list := kubercHead + "credentialPluginPolicy: Allowlist\ncredentialPluginAllowlist:\n"
	tests := []struct {
		name, text string
		others     []string
		err        error
		want       []string // commands afterwards
		has        string
	}{
		{name: "command:, as since 1.36", text: list + "- command: aws # mine\n", want: []string{"aws", command}, has: "- command: \"" + command},
		{name: "name:, as before", text: list + "- name: aws\n- name: /x/y\n", want: []string{"aws", "/x/y", command}, has: "- name: \"" + command},
		{name: "it is there already", text: list + "- command: " + command + "\n", want: []string{command}},
		{name: "it is there already, in the old spelling", text: list + "- name: " + command + "\n", want: []string{command}},
		{name: "defaults and aliases stay", text: list + "- command: aws\naliases: [{name: a, command: get}]\n", want: []string{"aws", command}, has: "aliases: [{name: a, command: get}]"},
		{name: "the document that kubectl takes", text: "kind: Other\n---\n" + list + "- command: aws\n---\nkind: More\n", want: []string{"aws", command}, has: "kind: More"},
		{name: "no policy", text: kubercHead, err: ErrNoAllowlist},
		{name: "everything is allowed", text: kubercHead + "credentialPluginPolicy: AllowAll\n", err: ErrNoAllowlist},
		{name: "no policy, and the user wants one", text: kubercHead, others: []string{"aws", command}, want: []string{command, "aws"}},
		{name: "an empty file, and the user wants a policy", text: "", others: []string{}, want: []string{command}, has: kubercHead},
		{name: "others are not added to a list that is in force", text: list + "- command: aws\n", others: []string{"gcp"}, want: []string{"aws", command}},
		{name: "nothing is allowed", text: kubercHead + "credentialPluginPolicy: DenyAll\n", others: []string{"x"}, err: ErrDenyAll},
		{name: "a policy that kubectl does not know", text: kubercHead + "credentialPluginPolicy: Some\n", err: ErrPolicy},
		{name: "a list without a policy", text: kubercHead + "credentialPluginAllowlist: [{command: aws}]\n", err: ErrPolicy},
		{name: "a policy without a list", text: kubercHead + "credentialPluginPolicy: Allowlist\n", err: ErrPolicy},
		{name: "an entry that kubectl refuses", text: list + "- command: /a//b\n", err: ErrPolicy},
		{name: "no preferences", text: "a: b\n", err: yamledit.ErrMalformed},
		{name: "no YAML", text: "a: [", err: yamledit.ErrMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "kuberc")
			write(t, path, tt.text)
			changed, err := AllowPlugin(path, command, tt.others)
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v", err)
			}
			if tt.err != nil {
				if changed || read(t, path) != tt.text {
					t.Error("the file has changed")
				}
				return
			}
			policy, err := PluginPolicy(path)
			if err != nil || policy.Type != PolicyAllowlist || !reflect.DeepEqual(policy.Entries, tt.want) || !policy.Allows(command) {
				t.Errorf("%+v, %v", policy, err)
			}
			if !strings.Contains(read(t, path), tt.has) || strings.Contains(tt.text, "# mine") != strings.Contains(read(t, path), "# mine") {
				t.Errorf("the file is\n%s", read(t, path))
			}
			if changed == (read(t, path) == tt.text) {
				t.Errorf("changed %v", changed)
			}
			if changed, err := AllowPlugin(path, command, tt.others); changed || err != nil {
				t.Errorf("again: %v, %v", changed, err)
			}
			onlyFiles(t, filepath.Dir(path), "kuberc")
		})
	}
}

func TestWithoutKuberc(t *testing.T) {
	path := filepath.Join(t.TempDir(), ".kube", "kuberc")
	if policy, err := PluginPolicy(path); err != nil || !policy.Allows(command) {
		t.Errorf("%+v, %v", policy, err)
	}
	if _, err := AllowPlugin(path, command, nil); !errors.Is(err, ErrNoAllowlist) {
		t.Errorf("error %v", err)
	}
	if _, err := os.Lstat(filepath.Dir(path)); err == nil {
		t.Error("the folder was made")
	}
	if changed, err := AllowPlugin(path, command, []string{"aws"}); !changed || err != nil {
		t.Errorf("%v, %v", changed, err)
	}
	if policy, err := PluginPolicy(path); err != nil || !reflect.DeepEqual(policy.Entries, []string{command, "aws"}) {
		t.Errorf("%+v, %v", policy, err)
	}
	if _, err := AllowPlugin("", command, nil); !errors.Is(err, ErrNoAllowlist) {
		t.Errorf("turned off: %v", err)
	}
	if _, err := AllowPlugin(path, "relative/x", nil); !errors.Is(err, ErrEntry) {
		t.Errorf("relative: %v", err)
	}
}

func TestKubercPath(t *testing.T) {
	for kuberc, want := range map[string]string{"": filepath.Join("h", ".kube", "kuberc"), "off": "", "/x": "/x"} {
		if got := KubercPath(kuberc, "h"); got != want {
			t.Errorf("%q: %q", kuberc, got)
		}
	}
}

func TestPolicyAllowsWhatKubectlAllows(t *testing.T) {
	folder := t.TempDir()
	binaryPath, link := filepath.Join(folder, binary), filepath.Join(folder, "link")
	if err := os.WriteFile(binaryPath, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(binaryPath, link); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", folder)
	tests := []struct {
		name    string
		policy  Policy
		command string
		want    bool
	}{
		{"everything", Policy{Type: PolicyAllowAll}, "x", true},
		{"nothing", Policy{Type: PolicyDenyAll}, binaryPath, false},
		{"the same text", Policy{PolicyAllowlist, []string{"/gone"}}, "/gone", true},
		{"a command that is not clean", Policy{PolicyAllowlist, []string{binaryPath}}, folder + "//" + binary, true},
		{"a bare name in the list", Policy{PolicyAllowlist, []string{binary}}, binaryPath, true},
		{"a bare name as the command", Policy{PolicyAllowlist, []string{binaryPath}}, binary, true},
		{"a link is another path", Policy{PolicyAllowlist, []string{link}}, binaryPath, false},
		{"another", Policy{PolicyAllowlist, []string{"aws"}}, binaryPath, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.policy.Allows(tt.command); got != tt.want {
				t.Error(got)
			}
		})
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func onlyFiles(t *testing.T, folder string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, entry := range entries {
		found[entry.Name()] = true
	}
	want := map[string]bool{}
	for _, name := range names {
		want[name] = true
	}
	if !reflect.DeepEqual(found, want) {
		t.Errorf("in the folder: %v, want %v", found, want)
	}
}
