//go:build linux

// Package sealed_test runs the program on machines whose store is sealed by a TPM, a simulator of
// one (swtpm) that is restarted, replaced, stopped and slowed down, or by systemd.
package sealed_test

import (
	"os"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

func TestMain(m *testing.M) { lab.Main(m, lab.Options{}) }

// machine is one whose store is sealed.
type machine struct{ *lab.Machine }

// newMachine makes one with a TPM of its own, on which nothing is set up.
func newMachine(t *testing.T) *machine {
	t.Helper()
	return &machine{lab.NewMachine(t, keyring.Sealed)}
}

func (m *machine) in(t *testing.T) *machine { return &machine{m.In(t)} }

// get is a client, another process each time, that runs the plugin.
func (m *machine) get() lab.Command {
	const script = `KUBERNETES_EXEC_INFO="$0" "$@"; exit $?`
	c := m.Command("/bin/sh", "-c", script, m.ExecInfo(), lab.Plugin, "get", "--profile",
		m.Profile)
	c.PrintsToken = true
	return c
}

// mintsOne runs something and expects one TokenRequest for the account.
func (m *machine) mintsOne(do func()) {
	m.Helper()
	before := m.Minted(lab.Account)
	do()
	if after := m.Minted(lab.Account); after != before+1 {
		m.Errorf("%d tokens were minted", after-before)
	}
}

// files are the sealed ones, and what is left of others.
func (m *machine) files() []string {
	m.Helper()
	if _, err := os.Stat(m.dir()); err != nil {
		return nil
	}
	return lab.FilesBelow(m.T, m.dir())
}

func (m *machine) dir() string { return m.Path(".local", "state", "sa-exec-credential", "sealed") }

// keepsNothingOf expects that a profile was forgotten: no sealed file, and no token in front.
func (m *machine) keepsNothingOf(p lab.Profile) {
	m.Helper()
	if files := m.files(); len(files) > 0 || m.InFront(p.TokenKey()) {
		m.Errorf("it has left %q", files)
	}
}

// loseToken is what a restart does where nothing else changes.
func (m *machine) loseToken() {
	m.Helper()
	m.LoseFront(m.Configuration().TokenKey())
}
