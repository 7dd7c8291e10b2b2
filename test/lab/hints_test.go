//go:build linux

package lab

import (
	"slices"
	"testing"
)

func TestHints(t *testing.T) {
	for _, test := range []struct {
		name, text string
		want       []string
	}{
		{"to the end of the line", "sa-exec-credential: hint: do it: sa-exec-credential status\nx",
			[]string{"sa-exec-credential status"}},
		{"the first and the last of a setup", "It works.\nNext: kubectl get pods\n",
			[]string{"kubectl get pods"}},
		{"two of one line, each once", "hint: a: kubectl x; b: rm y; c: kubectl x\n",
			[]string{"kubectl x", "rm y"}},
		{"quotes hold what ends a command", `hint: a: kubectl 'x; y: rm z' "it's; $(id)" \; b; c`,
			[]string{`kubectl 'x; y: rm z' "it's; $(id)" \; b`}},
		{"a quote in quotes", `hint: a: kubectl 'it'\''s; b'; c`,
			[]string{`kubectl 'it'\''s; b'`}},
		{"what only speaks of a program is none", "error: kubectl: not found; rm is not a command\n",
			nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := Hints(test.text); !slices.Equal(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestHarmlessCommandsChangeNothing(t *testing.T) {
	for command, want := range map[string]bool{
		"sa-exec-credential setup --help": true, "sa-exec-credential status": true,
		"kubectl --context a get pods": true, "kubectl config get-contexts": true,
		"kubectl kuberc view": true, "kubectl --context it auth can-i --list": true,
		"sa-exec-credential setup ci":                   false,
		"sa-exec-credential logout --all":               false,
		"kubectl config delete-context get":             false,
		"kubectl -n view delete rolebinding get":        false,
		"kubectl config set-cluster view --embed-certs": false,
		"rm get": false,
	} {
		if IsHarmless(command) != want {
			t.Errorf("%s: %v", command, !want)
		}
	}
}

func TestKindsOfHints(t *testing.T) {
	for text, want := range map[string]string{
		"sa-exec-credential: hint: unlock it, or set it up again: sa-exec-credential setup a -n b\n": "" +
			"unlock it, or set it up again: sa-exec-credential setup",
		"hint: x; to see \"a\": kubectl --context b -n c get pods\n": "to see X: kubectl get",
		"Next: KUBECONFIG=/a/b sa-exec-credential status\n":          "Next: sa-exec-credential status",
		"2 left, fix: chmod -R u+rwX /a/b\n":                         "N left, fix: chmod u+rwX",
	} {
		if got := Kinds(text); len(got) != 1 || got[want] == nil {
			t.Errorf("%s: got %q", text, got)
		}
	}
}
