//go:build linux

// Package hostile_test is about somebody who gives the user a kubeconfig, with which they run
// kubectl, or sits on the way.
package hostile_test

import (
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

func TestMain(m *testing.M) { lab.Main(m, lab.Options{}) }

const account = lab.Account

// machine is a lab's machine whose user is given kubeconfigs.
type machine struct{ *lab.Machine }

// newMachine makes one on which nothing is set up. It reaches the API server through door, or
// directly when that is nil.
func newMachine(t *testing.T, kind keyring.Kind, door *lab.Door) *machine {
	t.Helper()
	return &machine{lab.NewMachine(t, kind).Behind(door)}
}

// in is the machine for a subtest.
func (m *machine) in(t *testing.T) *machine { return &machine{m.In(t)} }
