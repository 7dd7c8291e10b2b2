//go:build linux

// Package setup_test prepares accounts: with the program, as an administrator does it for one
// account or a pod, by the manuals that it replaces, and interrupted anywhere; and with
// internal/cluster alone. What it looks at is what those manuals look at: kubectl, curl, the
// cluster's objects, the files left behind.
package setup_test

import (
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

func TestMain(m *testing.M) { lab.Main(m, lab.Options{}) }

// machine is a lab's machine on which somebody runs setup.
type machine struct{ *lab.Machine }

// newMachine makes one on which nothing is set up.
func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{lab.NewMachine(t, keyring.Keyring)}
	m.Profile = "it"
	return m
}

// in is the machine for a subtest.
func (m *machine) in(t *testing.T) *machine { return &machine{m.In(t)} }
