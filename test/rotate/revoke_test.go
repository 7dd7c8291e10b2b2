//go:build linux && amd64

package rotate_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// endsAfter expects that the next revoke leaves nothing of the device, however far the last one came. It
// names the same profile, which is the last one to go.
func (m *machine) endsAfter(canary string) {
	m.Helper()
	m.survives()
	name := m.profiles[0]
	_, err := os.Stat(filepath.Join(m.home, ".config", "sa-exec-credential", "profiles", name+".yaml"))
	record := len(m.records())
	r := m.run("revoke", "--profile", name)
	if err == nil || record > 0 {
		r.succeeds(m.T)
	} else if !errors.Is(err, fs.ErrNotExist) || r.err == nil {
		m.Errorf("nothing was left, and revoke ended with %v", r.err)
	}
	m.isGone()
	refused(m.T, canary)
	m.setUp()
	m.allWork()
}

func (m *machine) records() []string {
	m.Helper()
	records, err := filepath.Glob(filepath.Join(m.home, ".config", "sa-exec-credential", "devices", "*.yaml"))
	if err != nil {
		m.Fatal(err)
	}
	return records
}

func TestRevokeKilledAtAnyRequest(t *testing.T) {
	t.Parallel()
	everywhere(t, 4, twoProfiles, 5, []string{killBefore, killAfter},
		func(m *machine, kind string, number int) string {
			canary := m.canary()
			struck := ""
			if number <= revokeRequests {
				struck = m.interruptedAtRequest(kind, number, "revoke", "--profile", m.profiles[0])
			}
			m.endsAfter(canary)
			return struck
		})
}

// revokeRequests are those of a revoke until it waits for the refusal, which takes more or fewer.
const revokeRequests = 6

func TestRevokeKilledAtAnyWrite(t *testing.T) {
	t.Parallel()
	everywhere(t, 4, twoProfiles, 12, []string{killed},
		func(m *machine, kind string, number int) string {
			canary := m.canary()
			if number%2 == 0 { // with a device that a rotate was about to create, too
				m.interruptedAtRequest(cutAfter, 2, "rotate", "--profile", m.profiles[1])
			}
			struck := m.interruptedAtWrite(kind, number, "revoke", "--profile", m.profiles[0])
			m.endsAfter(canary)
			return struck
		})
}
