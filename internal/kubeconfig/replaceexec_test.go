package kubeconfig

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/yamledit"
)

const renamed = `apiVersion: v1
kind: Config
# mine
users:
- name: me
  user:
    exec: {apiVersion: client.authentication.k8s.io/v7, command: gone, args: [get], env: [{name: A, value: b}]}
- name: other
  user: {username: a}
- name: anchored
  user:
    <<: {username: b}
contexts: []
`

func TestReplaceExecLeavesAllElse(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	entry := Entry{
		ContextName: "ci.build@prod",
		ClusterName: "c",
		UserName:    "u",
		Profile:     "ci.build@prod",
		Namespace:   "build",
		Command:     "/usr/local/bin/sa-exec-credential",
		Server:      "https://prod.example.com:6443",
	}
	for _, test := range []struct {
		user   string
		forAll bool
		holds  []string
		err    error
	}{
		{user: "me", holds: []string{"--profile", "ci.build@prod"}},
		{user: "me", forAll: true},
		{user: "nobody", err: yamledit.ErrUnsupported},
		{user: "anchored", err: yamledit.ErrUnsupported},
	} {
		if err := os.WriteFile(path, []byte(renamed), 0o600); err != nil {
			t.Fatal(err)
		}
		err := ReplaceExec(path, test.user, entry, test.forAll)
		data, problem := os.ReadFile(path)
		text := string(data)
		if !errors.Is(err, test.err) || problem != nil {
			t.Errorf("%s: %v, %v", test.user, err, problem)
		}
		if test.err != nil {
			if text != renamed {
				t.Errorf("%s: it was changed to\n%s", test.user, text)
			}
			continue
		}
		for _, part := range append(test.holds, "# mine", "user: {username: a}", entry.Command, "/v1") {
			if !strings.Contains(text, part) {
				t.Errorf("%s: without %q\n%s", test.user, part, text)
			}
		}
		if strings.Contains(text, "gone") || strings.Contains(text, "name: A") ||
			test.forAll && strings.Contains(text, "--profile") {
			t.Errorf("%s: it still has\n%s", test.user, text)
		}
	}
}
