//go:build unix

package advice

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

const admins = `apiVersion: v1
kind: Config
current-context: our own
clusters:
- {name: a, cluster: {server: "https://a:6443"}}
- {name: b, cluster: {server: "https://b:6443"}}
users:
- {name: me, user: {username: me, password: secret}}
- name: ours
  user:
    exec: {apiVersion: client.authentication.k8s.io/v1, command: sa-exec-credential, args: [get, --profile, p]}
contexts:
- {name: at b, context: {cluster: b, user: me}}
- {name: it's me, context: {cluster: a, user: me}}
- {name: our own, context: {cluster: a, user: ours}}
`

// situation has a profile p of cluster a, and a malformed one of the name that setup gives.
func situation(t *testing.T, args ...string) (s Situation, home string) {
	t.Helper()
	home = t.TempDir()
	h := host.System().With(func(name string) (string, bool) {
		if name == "XDG_CONFIG_HOME" || name == "HOME" {
			return home, true
		}
		return "", false
	})
	profiles, err := h.Profiles()
	if err != nil {
		t.Fatal(err)
	}
	if err := profiles.Save(profile.Profile{Name: "p", Namespace: "build", ServiceAccount: "ci",
		Cluster:  profile.Cluster{Server: "https://a:6443"},
		Duration: profile.Duration{Duration: time.Hour}, Store: keyring.None,
		Bootstrap: profile.Bootstrap{Source: profile.SourceEnv, Variable: "V"},
		Setup:     profile.Setup{Rights: profile.Rights{ClusterRoles: []string{"view"}}},
	}); err != nil {
		t.Fatal(err)
	}
	for path, text := range map[string]string{".kube/config": admins,
		"sa-exec-credential/profiles/ci.build@prod.yaml": "{"} {
		path = filepath.Join(home, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Situation{Host: h, Operation: args[0], Args: args}, home
}

func TestHintsAreCompletedToWholeCommands(t *testing.T) {
	const setup = "sa-exec-credential setup ci -n build --profile p --bootstrap env=V " +
		"--store none --cluster-role view"
	for _, test := range []struct {
		name string
		args string
		hint string
		want string
	}{
		{"the setup of a profile", "token --profile p", "do it: {setup}", "do it: " + setup},
		{"flags are added", "token --profile p", "{setup --store kernel}",
			setup + " --store kernel"},
		{"a flag's value may be joined to it", "token --profile=p", "{setup}", setup},
		{"the setup itself, as it was typed", "setup ci -n build", "{setup}",
			"sa-exec-credential setup ci -n build"},
		{"another value takes the place of one", "setup ci --store=kernel -n build",
			"{setup --store none}", "sa-exec-credential setup ci -n build --store none"},
		{"another store needs no TPM", "setup ci --store sealed --tpm /dev/tpm0 -n build",
			"{store}", "sa-exec-credential setup ci -n build --store kernel"},
		{"nor the old one", "token --profile p", "{store}",
			strings.Replace(setup, "--store none ", "", 1) + " --store kernel"},
		{"nothing where there is a credential to keep", "setup ci -n build --store kernel",
			"{store}", "sa-exec-credential setup ci -n build --store auto"},
		{"nothing where there is none", "setup ci -n build --store kernel --bootstrap env=V",
			"{store}", "sa-exec-credential setup ci -n build --bootstrap env=V --store none"},
		{"a machine that joins has one to keep", "join --store kernel", "{store}",
			"sa-exec-credential join --store auto"},
		{"a malformed profile's name says something", "token --profile ci.build@prod", "{setup}",
			"sa-exec-credential setup ci -n build --profile ci.build@prod"},
		{"a name that says nothing", "token --profile other", "{setup}",
			"sa-exec-credential setup --help"},
		{"the same command once more", "forget --profile p", "{again}",
			"sa-exec-credential forget --profile p"},
		{"an administrator of the same cluster", "devices ci --profile p", "{admin}",
			"sa-exec-credential devices ci --profile p --context 'it'\\''s me' " +
				"--kubeconfig HOME/.kube/config"},
		{"in the place of the one that was named", "setup ci --context x --kubeconfig y",
			"{admin}", "sa-exec-credential setup ci --context 'it'\\''s me' " +
				"--kubeconfig HOME/.kube/config"},
		{"kubectl for the same cluster", "devices ci --context x", "{kubectl get pods}",
			"kubectl --context x get pods"},
		{"its configuration", "devices ci --kubeconfig f", "{config view}",
			"kubectl config view --kubeconfig f"},
		{"this program, for the profile", "token --profile p", "{program token}",
			"sa-exec-credential token --profile p"},
		{"the account's devices", "revoke --serviceaccount ci -n build", "{account}",
			"sa-exec-credential devices ci -n build"},
		{"the profile's account", "revoke --profile p", "{account}",
			"sa-exec-credential devices ci -n build"},
		{"where everything is", "token --profile p", "{directory}", "HOME/sa-exec-credential"},
		{"what is not known is left out", "devices ci", "look; to see it: {account}; or ask",
			"look; or ask"},
		{"a cluster that has not moved", "token --profile p", "look; if it has: {move}", "look"},
		{"nothing is left but the help", "revoke", "{account}",
			"run: sa-exec-credential revoke --help"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, home := situation(t, strings.Fields(test.args)...)
			got := strings.ReplaceAll(s.Complete(test.hint), home, "HOME")
			if got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
}

func TestWithoutAHostAHintStaysAsItIs(t *testing.T) {
	if got := (Situation{}).Complete("{setup}"); got != "{setup}" {
		t.Errorf("got %s", got)
	}
}

// TestAGetSaysNothingThatItsKubeconfigMadeUp: exec.env can lead to a profile of its author's.
func TestAGetSaysNothingThatItsKubeconfigMadeUp(t *testing.T) {
	s, home := situation(t, "get", "--profile", "p")
	s.Host = s.Host.With(func(name string) (string, bool) {
		if name == "XDG_CONFIG_HOME" {
			return home, true
		}
		return "", false
	})
	if got := s.Complete("{setup}"); got != "sa-exec-credential setup --help" {
		t.Errorf("it says %s", got)
	}
	s.Operation, s.Args = "token", []string{"token", "--profile", "p"}
	if got := s.Complete("{setup}"); !strings.Contains(got, "setup ci -n build") {
		t.Errorf("a person is told %s", got)
	}
}
