//go:build linux

package rotate_test

import (
	"strconv"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// The ways in which a request can go wrong.
const (
	cutBefore  = "the connection breaks before request"
	cutAfter   = "the answer is lost of request"
	killBefore = "killed before request"
	killAfter  = "killed after request"
	broken     = "status 500 for request"
)

var requestKinds = []string{cutBefore, cutAfter, killBefore, killAfter, broken}

var strikes = map[string]lab.Strike{cutBefore: {}, cutAfter: {After: true},
	killBefore: {Kill: true}, killAfter: {After: true, Kill: true}, broken: {Fault: "500"}}

// interruptedAtRequest runs a command in which one request goes wrong, and names the kind if
// there was such a request.
func (m *machine) interruptedAtRequest(kind string, number int, args ...string) (struck string) {
	m.Helper()
	r, found := m.Struck(number, strikes[kind], args...)
	if !found {
		r.Succeeds()
		return ""
	}
	if strikes[kind].Kill && r.Code != lab.EndedBySignal {
		m.Errorf("it was killed, and ended with %d", r.Code)
	}
	return "request " + strconv.Itoa(number)
}

// recoversFrom expects that an interrupted rotate has cost no profile its life, and that the next
// one, of another profile, finishes it.
func (m *machine) recoversFrom(number int, canary string) {
	m.Helper()
	m.survives()
	m.allWork()
	m.Plugin("rotate", "--profile", m.profiles[(number+3)%len(m.profiles)]).Succeeds()
	m.allWork()
	m.isWhole()
	refused(m.T, canary)
}

func (m *machine) rotateOf(number int) []string {
	return []string{"rotate", "--profile", m.profiles[number%len(m.profiles)]}
}

func TestRotateInterruptedAtAnyRequest(t *testing.T) {
	t.Parallel()
	everywhere(t, 2, sevenProfiles, 10, requestKinds, func(m *machine, kind string,
		number int) string {
		canary := m.canary()
		struck := m.interruptedAtRequest(kind, number, m.rotateOf(number)...)
		m.recoversFrom(number, canary)
		return struck
	})
}
