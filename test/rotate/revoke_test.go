//go:build linux && amd64

package rotate_test

import (
	"slices"
	"strings"
	"testing"
)

// endsAfter expects that the next revoke leaves nothing of the device, however far the last one
// came. It names the same profile, which is the last one to go.
func (m *machine) endsAfter(canary string) {
	m.Helper()
	m.survives()
	name := m.profiles[0]
	isLeft := slices.ContainsFunc(m.files(),
		func(name string) bool { return strings.HasSuffix(name, ".yaml") })
	r := m.Plugin("revoke", "--profile", name)
	if isLeft {
		r.Succeeds()
	} else {
		const missing = 3
		r.Fails(missing)
	}
	m.isGone()
	refused(m.T, canary)
	m.setUp()
	m.allWork()
}

func TestRevokeKilledAtAnyRequest(t *testing.T) {
	t.Parallel()
	everywhere(t, 4, twoProfiles, 5, []string{killBefore, killAfter},
		func(m *machine, kind string, number int) string {
			canary := m.canary()
			struck := ""
			if number <= revokeRequests {
				struck = m.interruptedAtRequest(kind, number, "revoke", "--profile",
					m.profiles[0])
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
				m.interruptedAtRequest(cutAfter, 2, "rotate", "--profile",
					m.profiles[1])
			}
			struck := m.interruptedAtWrite(kind, number, "revoke", "--profile",
				m.profiles[0])
			m.endsAfter(canary)
			return struck
		})
}
