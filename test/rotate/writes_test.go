//go:build linux && amd64

package rotate_test

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// The ways in which a write can go wrong.
const (
	killed = "killed before write"
	failed = "EIO for write"
	full   = "ENOSPC for write"
)

var faults = map[string]lab.Tracer{
	killed: {},
	failed: {Fault: unix.EIO},
	full:   {Fault: unix.ENOSPC, Only: []string{"openat", "write", "fsync", "renameat"}},
}

// interruptedAtWrite runs a command in which one write goes wrong, and names it if there was one.
func (m *machine) interruptedAtWrite(kind string, number int, args ...string) (struck string) {
	m.Helper()
	tr := faults[kind]
	tr.At = number
	err := tr.Run(m.Command(append([]string{lab.Plugin}, args...)...))
	if tr.What == "" && err != nil {
		m.Fatal(err)
	}
	if tr.What != "" && tr.Fault == 0 && err == nil {
		m.Error("it was killed, and ended well")
	}
	return tr.What
}

func TestRotateInterruptedAtAnyWrite(t *testing.T) {
	t.Parallel()
	everywhere(t, 4, sevenProfiles, 12,
		[]string{killed, failed, full}, func(m *machine, kind string, number int) string {
			canary := m.canary()
			struck := m.interruptedAtWrite(kind, number, m.rotateOf(number)...)
			m.recoversFrom(number, canary)
			return struck
		})
}
