//go:build linux

// Package lifecycle_test is about what happens to a profile after setup, up to its end, and to a
// static token that becomes one.
package lifecycle_test

import (
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

func TestMain(m *testing.M) { lab.Main(m, lab.Options{}) }

// newMachine makes one on which nothing is set up.
func newMachine(t *testing.T) *lab.Machine {
	t.Helper()
	m := lab.NewMachine(t, keyring.Keyring)
	m.Profile = "it"
	return m
}
