//go:build linux

// Package unattended_test is about machines that nobody watches: programs that cron, systemd, sshd
// and sudo start with few variables and a session of their own, containers that are refused the
// kernel's keyring, timers, and what is to be read afterwards of what happened at night.
//
// Its tests put buses and homes where a system has them, so none of them is parallel.
package unattended_test

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

func TestMain(m *testing.M) { lab.Main(m, lab.Options{}) }

// machine is a lab's machine, with its home where the user database says that it is.
type machine struct {
	*lab.Machine
	home string // as its programs know it
}

func newMachine(t *testing.T, kind keyring.Kind) *machine {
	t.Helper()
	m := &machine{Machine: lab.NewMachine(t, kind)}
	self, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	m.home = self.HomeDir
	m.mount(m.Home, m.home)
	m.Variables = []string{"HOME=" + m.home}
	return m
}

// mount puts a directory in the place of another one, in the tests' own mount namespace.
func (m *machine) mount(from, to string) {
	m.Helper()
	if err := syscall.Mount(from, to, "", syscall.MS_BIND, ""); err != nil {
		m.Fatalf("mounting %s on %s: %v", from, to, err)
	}
	m.Cleanup(func() {
		if err := syscall.Unmount(to, syscall.MNT_DETACH); err != nil {
			m.Error(err)
		}
	})
}

// runtimeDir is the user's, as systemd creates it.
func runtimeDir() string { return filepath.Join("/run/user", fmt.Sprint(os.Geteuid())) }

// logIn creates the user's runtime directory, with the bus in it.
func (m *machine) logIn() {
	m.Helper()
	if err := os.MkdirAll(runtimeDir(), 0o700); err != nil {
		m.Fatal(err)
	}
	m.Cleanup(m.logOut)
	if m.Service == nil {
		return
	}
	if err := os.Symlink(m.Service.Socket(), filepath.Join(runtimeDir(), "bus")); err != nil {
		m.Fatal(err)
	}
}

// logOut removes it again, as systemd does when the user's last session is over.
func (m *machine) logOut() {
	if err := os.RemoveAll(runtimeDir()); err != nil {
		m.Error(err)
	}
}

// in is the machine for a subtest.
func (m *machine) in(t *testing.T) *machine { return &machine{m.In(t), m.home} }
