//go:build linux

// Package join_test enrols machines that nobody sits at: an administrator invites them, they join
// through Debian's real sshd as other users with other homes, and kubectl works there from a
// login, from cron's environment and from a unit's.
package join_test

import (
	"encoding/base64"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/invitation"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

func TestMain(m *testing.M) { lab.Main(m, lab.Options{Users: true}) }

// administrator is a machine with an administrator's kubeconfig, on which ssh knows servers.
func administrator(t *testing.T, servers ...*lab.Server) *lab.Machine {
	t.Helper()
	m := lab.NewMachine(t, keyring.Kernel)
	m.Write(m.Kubeconfig(), m.Read(m.Admin))
	path := []string{filepath.Dir(lab.Plugin), filepath.Dir(lab.Plane.Kubectl),
		lab.SSH(t, servers...)}
	m.Variables = append(m.Variables, "PATH="+strings.Join(path, ":")+":/usr/bin:/bin")
	return m
}

// newcomer is a machine on which nothing is set up, and from which no administrator is reached. Its
// account is that of another machine.
func newcomer(admin *lab.Machine) *lab.Machine {
	admin.Helper()
	m := lab.NewMachine(admin.T, keyring.Keyring)
	m.Namespace, m.Profile = admin.Namespace, admin.Profile
	return m
}

// invite invites a machine to the account that can view its namespace.
func invite(admin *lab.Machine, name string, more ...string) (block string,
	i invitation.Invitation) {
	admin.Helper()
	r := admin.Plugin(append([]string{"invite", lab.Account, "-n", admin.Namespace,
		"--kubeconfig", admin.Admin, "--cluster-role", "view", "--for", name},
		more...)...).Succeeds()
	return r.Stdout, read(admin.T, r.Stdout)
}

// read reads an invitation, the token of which is searched for from then on.
func read(t *testing.T, block string) invitation.Invitation {
	t.Helper()
	i, err := invitation.Read(strings.NewReader(block))
	if err != nil {
		t.Fatal(err)
	}
	lab.Note(i.Token.Reveal())
	return i
}

// written is an invitation as a block.
func written(t *testing.T, i invitation.Invitation) string {
	t.Helper()
	block, err := i.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return string(block)
}

// join takes an invitation from standard input.
func join(m *lab.Machine, block string, more ...string) lab.Result {
	m.Helper()
	c := m.Command(append([]string{lab.Plugin, "join", "--use-context"}, more...)...)
	c.Stdin = block
	r := c.Run(m.T)
	m.NoteEntries()
	return r
}

// saved is the file of an invitation, where no search looks.
func saved(t *testing.T, block string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "build-7.invitation")
	if err := os.WriteFile(path, []byte(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// state is all that a machine has: the content of its files, and the ids of what it keeps.
func state(m *lab.Machine) map[string]string {
	m.Helper()
	found := map[string]string{}
	for _, name := range m.Files() {
		found[name] = m.Read(m.Path(name))
	}
	for _, key := range m.StoreKeys() {
		found[key] = m.Entry(key).IssuedAt.String()
	}
	return found
}

// unchanged fails the test when a machine has something else than before.
func unchanged(m *lab.Machine, before map[string]string) {
	m.Helper()
	if now := state(m); !maps.Equal(now, before) {
		m.Errorf("there are %q now, and were %q, or with other contents",
			slices.Sorted(maps.Keys(now)), slices.Sorted(maps.Keys(before)))
	}
}

// unsigned is a token of somebody that no server takes.
func unsigned(subject string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"RS256"}`)) + "." + encode(fmt.Appendf(nil, `{"sub":%q}`,
		subject)) + "." + encode([]byte("nobody has signed this"))
}

// withToken is an invitation with another token.
func withToken(i invitation.Invitation, token string) invitation.Invitation {
	i.Token = secret.New(token)
	return i
}
