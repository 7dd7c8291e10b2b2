//go:build unix

package profile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
)

func TestWhatIsLeftOfAProfileIsRead(t *testing.T) {
	whole := Profile{Name: "p", Namespace: "build", ServiceAccount: "ci", Device: "d",
		Cluster:  Cluster{Server: "https://a:6443"},
		Duration: Duration{Duration: 2 * time.Hour}, Store: keyring.Kernel,
		Bootstrap: Bootstrap{Source: SourceKeyring, Duration: &Duration{Duration: 48 * time.Hour}},
		Origin:    &Origin{Context: "admin@a", Kubeconfig: []string{"/home/me/.kube/config"}},
	}
	encoded, err := whole.Encode()
	if err != nil {
		t.Fatal(err)
	}
	text := string(encoded)
	if !strings.Contains(text, "\norigin:\n") || !strings.Contains(text, "\nduration: 2h0m0s\n") {
		t.Fatalf("the profile is\n%s", text)
	}
	for _, test := range []struct {
		name, text string
		mode       os.FileMode
		want       func(Profile) bool
	}{
		{"of another version", strings.Replace(text, "version: 1", "version: 9", 1), 0o600,
			func(p Profile) bool { return p.Duration == whole.Duration && p.Origin != nil }},
		{"a field that is no YAML", strings.Replace(text, "version: 1", "version: [", 1), 0o600,
			func(p Profile) bool { return p.Store == keyring.Kernel && p.Origin != nil }},
		{"a field that makes no sense", strings.Replace(text, "2h0m0s", "1s", 1), 0o600,
			func(p Profile) bool { return p.Duration.Duration == time.Hour }},
		{"a field that nobody knows", text + "other: x\n", 0o600,
			func(p Profile) bool { return p.Store == keyring.Kernel }},
		{"its account is no account", strings.Replace(text, "serviceAccount: ci",
			"serviceAccount: ../ci", 1), 0o600, nil},
		{"everybody can write it", text, 0o666, nil},
		{"it is empty", "", 0o600, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := Dir(filepath.Join(t.TempDir(), "profiles"))
			if err := os.Mkdir(string(dir), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(dir.path("p"), []byte(test.text), test.mode); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(dir.path("p"), test.mode); err != nil {
				t.Fatal(err)
			}
			p := dir.Salvage("p")
			if test.want == nil && p.ServiceAccount != "" {
				t.Errorf("it is %+v", p)
			}
			if test.want != nil && (p.ServiceAccount != "ci" || p.Namespace != "build" ||
				!test.want(p)) {
				t.Errorf("it is %+v", p)
			}
		})
	}
}

func TestAccountOf(t *testing.T) {
	for name, want := range map[string][2]string{
		"ci.build@prod":             {"ci", "build"},
		"a.b.build@prod":            {"a.b", "build"},
		"ci.build@a@b":              {"ci", "build"},
		DefaultName("c", "n", "生产"): {"c", "n"},
		"it":                        {},
		"it@prod":                   {},
		"CI.build@prod":             {},
	} {
		if account, namespace := AccountOf(name); account != want[0] || namespace != want[1] {
			t.Errorf("%s: %q of %q", name, account, namespace)
		}
	}
}
