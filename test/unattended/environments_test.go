//go:build linux

package unattended_test

import (
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// environment is what starts a program: the variables that it sets, and whether the session keyring
// is one that does not lead to the user's.
type environment struct {
	name       string
	variables  func(home string) []string
	ownSession bool
}

// environments are those of the table in docs/servers.md. The variables are those that Debian's
// cron, systemd, sshd and sudo set.
var environments = []environment{
	{"a login", func(home string) []string {
		return []string{"HOME=" + home, "USER=jane", "LOGNAME=jane", "SHELL=/bin/bash",
			"XDG_RUNTIME_DIR=" + runtimeDir(), "XDG_SESSION_ID=3",
			"DBUS_SESSION_BUS_ADDRESS=unix:path=" + runtimeDir() + "/bus",
			"PATH=/usr/bin:/bin"}
	}, false},
	{"cron", func(home string) []string {
		return []string{"HOME=" + home, "LOGNAME=jane", "SHELL=/bin/sh", "PATH=/usr/bin:/bin"}
	}, true},
	{"a systemd service", func(home string) []string {
		return []string{"HOME=" + home, "USER=jane", "LOGNAME=jane", "SHELL=/bin/bash",
			"LANG=C.UTF-8", "INVOCATION_ID=2b1e3f4a5c6d47e8a1b2c3d4e5f60718",
			"JOURNAL_STREAM=8:12345", "SYSTEMD_EXEC_PID=4711",
			"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"}
	}, true},
	{"ssh without a session", func(home string) []string {
		return []string{"HOME=" + home, "USER=jane", "LOGNAME=jane", "SHELL=/bin/bash",
			"MAIL=/var/mail/jane", "SSH_CLIENT=192.0.2.1 50000 22",
			"SSH_CONNECTION=192.0.2.1 50000 192.0.2.2 22", "PATH=/usr/bin:/bin"}
	}, true},
	{"env -i", func(string) []string { return []string{} }, false}, // nil: the test's own
	{"sudo -u", func(home string) []string {
		return []string{"HOME=" + home, "USER=jane", "LOGNAME=jane", "SHELL=/bin/bash",
			"TERM=xterm", "SUDO_USER=root", "SUDO_UID=0", "SUDO_GID=0",
			"SUDO_COMMAND=/usr/bin/kubectl", "MAIL=/var/mail/jane",
			"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}
	}, true},
	{"su", func(home string) []string { // without -: what is not the shell's stays root's
		return []string{"HOME=" + home, "USER=jane", "LOGNAME=jane", "SHELL=/bin/bash",
			"XDG_RUNTIME_DIR=/run/user/4711", "PATH=/usr/bin:/bin"}
	}, true},
}

// command is a program in an environment.
func (m *machine) command(e environment, args ...string) lab.Command {
	m.Helper()
	c := lab.Command{Args: args, Env: e.variables(m.home), Dir: "/"}
	if e.ownSession {
		wrapper := lab.Helper(m.T, "own session")
		c.Args = append([]string{wrapper.Path}, args...)
		c.Env = append(c.Env, wrapper.Env...)
	}
	return c
}

// whoami is kubectl in an environment.
func (m *machine) whoami(e environment) lab.Result {
	m.Helper()
	return m.command(e, lab.Plane.Kubectl, "--kubeconfig",
		filepath.Join(m.home, ".kube", "config"), "auth", "whoami", "-o",
		"jsonpath={.status.userInfo.username}").Run(m.T)
}

// finds runs kubectl in an environment, which is to request some tokens.
func (m *machine) finds(e environment, requests int) {
	m.Helper()
	before := m.Minted(lab.Account)
	r := m.whoami(e).Succeeds().Silent()
	if r.Stdout != m.Username() {
		m.Errorf("it is %q", r.Stdout)
	}
	if n := m.Minted(lab.Account) - before; n != requests {
		m.Errorf("it has requested %d tokens, not %d", n, requests)
	}
}

// TestEveryEnvironmentFindsTheStoreOfSetup is the table of docs/servers.md, each cell a case: a
// profile that was set up in a login works in all of them, with the token that is kept, and by the
// bootstrap credential that the store has.
func TestEveryEnvironmentFindsTheStoreOfSetup(t *testing.T) {
	for _, store := range []struct {
		name     string
		kind     keyring.Kind
		machine  keyring.Kind
		flags    []string
		requests int // of each call
		behind   int // of one after the kernel has lost the token in front of the store
	}{
		{"Secret Service", keyring.Keyring, keyring.Keyring, nil, 0, 1},
		{"kernel", keyring.Kernel, keyring.Kernel, nil, 0, 0},
		{"sealed", keyring.Sealed, keyring.Sealed, nil, 0, 1},
		{"none", keyring.None, keyring.Kernel, []string{"--store", "none", "--bootstrap",
			"context=admin@test"}, 1, 0},
	} {
		t.Run(store.name, func(t *testing.T) {
			m := newMachine(t, store.machine)
			m.logIn()
			m.Prepare(store.flags...)
			for _, e := range environments {
				t.Run(e.name, func(t *testing.T) {
					m := m.in(t)
					m.finds(e, store.requests)
					if store.kind == keyring.Keyring || store.kind == keyring.Sealed {
						m.LoseFront(m.Configuration().TokenKey())
						m.finds(e, store.behind)
					}
				})
			}
		})
	}
}

// TestWhereNobodyIsLoggedInTheErrorNamesTheBus is the second column of the table: the Secret
// Service is the desktop's, and gone with it.
func TestWhereNobodyIsLoggedInTheErrorNamesTheBus(t *testing.T) {
	m := newMachine(t, keyring.Keyring)
	m.logIn()
	m.Prepare()
	m.logOut()
	for _, e := range environments[1:] {
		t.Run(e.name, func(t *testing.T) {
			m := m.in(t)
			m.finds(e, 0) // the token is in the kernel
		})
	}
	m.LoseFront(m.Configuration().TokenKey())
	for _, e := range environments[1:] {
		t.Run(e.name+", without a token", func(t *testing.T) {
			m := m.in(t)
			r := m.command(e, lab.Plugin, "token", "--profile", m.Profile).Run(t)
			r.OneError(6, "there is no session bus: DBUS_SESSION_BUS_ADDRESS is not set, "+
				"and \"", "/bus\" is not there",
				"it is there while the user of the profile is logged in; where nobody is, "+
					"set it up with another store: sa-exec-credential setup")
			m.whoami(e).Fails(1, "there is no session bus")
		})
	}
	r := m.command(environments[1], lab.Plugin, "token", "--profile", m.Profile).Run(t)
	m.Follow(r, "--store")
	m.whoami(environments[1]).Succeeds().Silent()
}

// TestProgramsWithAndWithoutVariablesWaitForEachOther is about the lock of a mint: a crowd of which
// half has a login's variables requests one token.
func TestProgramsWithAndWithoutVariablesWaitForEachOther(t *testing.T) {
	m, door := newMachine(t, keyring.Kernel), lab.NewDoor(t)
	m.Machine = m.Behind(door)
	m.logIn()
	m.Prepare()
	m.Forget()
	door.Lead(func(conn net.Conn) {
		time.Sleep(time.Second) // all of them are there before the first has its token
		lab.Pass(lab.Plane.Server)(conn)
	})
	before := m.Minted(lab.Account)
	var crowd []*lab.Started
	for range 4 {
		for _, e := range environments {
			c := m.command(e, lab.Plugin, "token", "--profile", m.Profile)
			c.PrintsToken = true
			crowd = append(crowd, c.Start(t))
		}
	}
	tokens := map[string]bool{}
	for _, one := range crowd {
		tokens[one.End().Succeeds().Silent().Stdout] = true
	}
	if n := m.Minted(lab.Account) - before; n != 1 || len(tokens) != 1 {
		t.Errorf("%d tokens were requested, and %d printed", n, len(tokens))
	}
}
