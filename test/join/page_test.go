//go:build linux

package join_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/test/docs"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// account is the one that the pages are about.
const account = "jenkins.automation@prod"

// TestThePagesAreTyped types the commands of README.md and docs/servers.md that need servers, by
// somebody with a cluster named prod, and sees that all of them can mint then.
func TestThePagesAreTyped(t *testing.T) {
	machines := map[string]*lab.Server{}
	var list []*lab.Server
	for _, name := range []string{"build-1", "build-2", "build-3", "build-4", "build-7"} {
		machines[name] = lab.NewServer(t, name)
		list = append(list, machines[name])
	}
	admin := administrator(t, list...)
	admin.Write(admin.Kubeconfig(), strings.NewReplacer("@test", "@prod", "cluster: test",
		"cluster: prod", "name: test", "name: prod").Replace(admin.Read(admin.Admin)))
	admin.Variables = append(admin.Variables, "LC_ALL=C.UTF-8",
		"ANSIBLE_SSH_ARGS=-o ControlMaster=no")
	dir := t.TempDir()
	said := ""
	for _, page := range []string{"README.md", "docs/servers.md"} {
		for _, block := range blocks(t, page) {
			if name, isFile := strings.CutPrefix(strings.Join(block.Words, " "),
				"file="); isFile {
				lab.WriteFile(t, filepath.Join(dir, name), block.Text, 0o600)
			}
			if strings.Join(block.Words, " ") != "server" {
				continue
			}
			for _, command := range block.Commands() {
				said += types(admin, machines["build-3"], dir, page, command)
			}
		}
	}
	lab.Has(t, "what was said", said, "build-1                    : ok=1    changed=0",
		"build-4                    : ok=3    changed=2", "joined", "invited, until 20",
		"refused after")
	for name, server := range machines {
		r := server.In(t).Does("kubectl --context " + account + " get pods")
		if name == "build-2" { // the page has revoked it
			r.Fails(1)
			continue
		}
		r.Succeeds()
		server.NoteToken(account)
	}
}

func blocks(t *testing.T, page string) []docs.Block {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", page))
	if err != nil {
		t.Fatal(err)
	}
	return docs.Blocks(string(text))
}

// types a command and returns what it has said. A machine that boots runs what was made for it.
func types(m *lab.Machine, booting *lab.Server, dir, page string, command docs.Command) string {
	m.Helper()
	c := m.Command("/bin/bash", "-o", "pipefail", "-c", command.Text)
	c.Dir = dir
	r := c.Run(m.T)
	if r.Code != 0 {
		m.Fatalf("%s:%d: exit code %d\n$ %s\n%s%s", page, command.Line, r.Code,
			command.Text, r.Stdout, r.Stderr)
	}
	if data, err := os.ReadFile(filepath.Join(dir, "user-data")); err == nil {
		booting.Boots(string(data), "runuser -l jenkins -c ")
		if err := os.Remove(filepath.Join(dir, "user-data")); err != nil {
			m.Fatal(err)
		}
	}
	return r.Stdout + r.Stderr
}
