package kuberc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/files/filestest"
	"github.com/sa-exec-credential/sa-exec-credential/internal/yamledit"
)

const binary = "sa-exec-credential"

const command = "/opt/bin/sa-exec-credential"

const head = "apiVersion: kubectl.config.k8s.io/v1beta1\nkind: Preference\n"

func TestAllowPlugin(t *testing.T) {
	list := head + "credentialPluginPolicy: Allowlist\ncredentialPluginAllowlist:\n"
	tests := []struct {
		name, text string
		err        error
		want       []string // commands afterwards
		has        string
	}{
		{name: "command:, as since 1.36", text: list + "- command: aws # mine\n",
			want: []string{"aws", command}, has: "- command: \"" + command},
		{name: "name:, as before", text: list + "- name: aws\n- name: /x/y\n",
			want: []string{"aws", "/x/y", command}, has: "- name: \"" + command},
		{name: "it is there already", text: list + "- command: " + command + "\n",
			want: []string{command}},
		{name: "it is there already, in the old spelling", text: list + "- name: " +
			command + "\n",
			want: []string{command}},
		{name: "defaults and aliases stay",
			text: list + "- command: aws\naliases: [{name: a, command: get}]\n",
			want: []string{"aws", command}, has: "aliases: [{name: a, command: get}]"},
		{name: "the document that kubectl takes",
			text: "kind: Other\n---\n" + list + "- command: aws\n---\nkind: More\n",
			want: []string{"aws", command}, has: "kind: More"},
		{name: "no policy", text: head, err: ErrNoAllowlist},
		{name: "everything is allowed", text: head + "credentialPluginPolicy: AllowAll\n",
			err: ErrNoAllowlist},
		{name: "nothing is allowed", text: head + "credentialPluginPolicy: DenyAll\n",
			err: ErrDenyAll},
		{name: "a policy that kubectl does not know", text: head +
			"credentialPluginPolicy: Some\n",
			err: ErrPolicy},
		{name: "a list without a policy", text: head +
			"credentialPluginAllowlist: [{command: aws}]\n",
			err: ErrPolicy},
		{name: "a policy without a list", text: head +
			"credentialPluginPolicy: Allowlist\n",
			err: ErrPolicy},
		{name: "an entry that kubectl refuses", text: list + "- command: /a//b\n",
			err: ErrPolicy},
		{name: "no preferences", text: "a: b\n", err: yamledit.ErrMalformed},
		{name: "no YAML", text: "a: [", err: yamledit.ErrMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "kuberc")
			filestest.Write(t, path, tt.text)
			changed, err := AllowPlugin(path, command)
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v", err)
			}
			if tt.err != nil {
				if changed || filestest.Read(t, path) != tt.text {
					t.Error("the file has changed")
				}
				return
			}
			policy, err := ReadPolicy(path)
			if err != nil || policy.Type != Allowlist ||
				!reflect.DeepEqual(policy.Entries, tt.want) ||
				!policy.Allows(command) {
				t.Errorf("%+v, %v", policy, err)
			}
			if !strings.Contains(filestest.Read(t, path), tt.has) ||
				strings.Contains(tt.text, "# mine") != strings.Contains(filestest.Read(t, path), "# mine") {
				t.Errorf("the file is\n%s", filestest.Read(t, path))
			}
			if changed == (filestest.Read(t, path) == tt.text) {
				t.Errorf("changed %v", changed)
			}
			if changed, err := AllowPlugin(path, command); changed || err != nil {
				t.Errorf("again: %v, %v", changed, err)
			}
			filestest.Only(t, filepath.Dir(path), "kuberc")
		})
	}
}

func TestWithoutKuberc(t *testing.T) {
	path := filepath.Join(t.TempDir(), ".kube", "kuberc")
	if policy, err := ReadPolicy(path); err != nil || !policy.Allows(command) {
		t.Errorf("%+v, %v", policy, err)
	}
	if _, err := AllowPlugin(path, command); !errors.Is(err, ErrNoAllowlist) {
		t.Errorf("error %v", err)
	}
	if _, err := os.Lstat(filepath.Dir(path)); err == nil {
		t.Error("the directory was created")
	}
	if _, err := AllowPlugin("", command); !errors.Is(err, ErrNoAllowlist) {
		t.Errorf("turned off: %v", err)
	}
	if _, err := AllowPlugin(path, "relative/x"); !errors.Is(err, fs.ErrInvalid) {
		t.Errorf("relative: %v", err)
	}
}

func TestPath(t *testing.T) {
	for kuberc, want := range map[string]string{
		"": filepath.Join("h", ".kube", "kuberc"), "off": "", "/x": "/x",
	} {
		if got := Path(kuberc, "h"); got != want {
			t.Errorf("%q: %q", kuberc, got)
		}
	}
}

func TestCheckNamesThePolicyAndItsFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "kuberc")
	found := func(name string) (string, error) { return "/usr/bin/" + name, nil }
	list := head + "credentialPluginPolicy: Allowlist\ncredentialPluginAllowlist:\n- command: "
	tests := []struct {
		name, text, path string
		says             string // empty: allowed
		wraps            error
	}{
		{name: "no file", path: path},
		{name: "turned off"},
		{name: "no policy", path: path, text: head},
		{name: "in the list", path: path, text: list + "aws\n"},
		{name: "found where an entry of the list is", path: path, text: list +
			"/usr/bin/aws\n"},
		{name: "not in the list", path: path, text: list + "gcloud\n", wraps: ErrDenied,
			says: ": \"aws\": " + fmt.Sprintf("%q", path) +
				" has credentialPluginPolicy: Allowlist"},
		{name: "nothing is", path: path, text: head + "credentialPluginPolicy: DenyAll\n",
			wraps: ErrDenied,
			says: ": \"aws\": " + fmt.Sprintf("%q", path) +
				" has credentialPluginPolicy: DenyAll"},
		{name: "a policy that kubectl does not know", path: path, wraps: ErrPolicy,
			text: head + "credentialPluginPolicy: Some\n",
			says: "the unknown policy \"Some\""},
		{name: "no YAML", path: path, text: "a: [", wraps: yamledit.ErrMalformed,
			says: "not valid YAML"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_ = os.Remove(path)
			if tt.text != "" {
				filestest.Write(t, path, tt.text)
			}
			err := Check(tt.path, "aws", found)
			if tt.says == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, ErrDenied) || !errors.Is(err, tt.wraps) ||
				!strings.HasSuffix(err.Error(), tt.says) {
				t.Errorf("error %v, want one that ends in %q", err, tt.says)
			}
		})
	}
}

func TestPolicyAllowsWhatKubectlAllows(t *testing.T) {
	dir := t.TempDir()
	binaryPath, link := filepath.Join(dir, binary), filepath.Join(dir, "link")
	if err := os.WriteFile(binaryPath, []byte("#!/bin/sh\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(binaryPath, link); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	tests := []struct {
		name    string
		policy  Policy
		command string
		want    bool
	}{
		{"everything", Policy{Type: AllowAll}, "x", true},
		{"nothing", Policy{Type: DenyAll}, binaryPath, false},
		{"the same text", Policy{Allowlist, []string{"/gone"}}, "/gone", true},
		{"a command that is not clean", Policy{Allowlist, []string{binaryPath}}, dir +
			"//" + binary,
			true},
		{"a bare name in the list", Policy{Allowlist, []string{binary}}, binaryPath, true},
		{"a bare name as the command", Policy{Allowlist, []string{binaryPath}}, binary,
			true},
		{"a link is another path", Policy{Allowlist, []string{link}}, binaryPath, false},
		{"another", Policy{Allowlist, []string{"aws"}}, binaryPath, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.policy.Allows(tt.command); got != tt.want {
				t.Error(got)
			}
		})
	}
}
