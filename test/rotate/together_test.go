//go:build linux

package rotate_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// atOnce runs commands of the program at the same time, each to its end.
func (m *machine) atOnce(commands ...[]string) []lab.Result {
	m.Helper()
	var started []*lab.Started
	for _, args := range commands {
		started = append(started, m.Command(append([]string{lab.Plugin},
			args...)...).Start(m.T))
	}
	var results []lab.Result
	for _, program := range started {
		results = append(results, program.End())
	}
	return results
}

func rotate(profile string) []string { return []string{"rotate", "--profile", profile} }

// rotateTogether expects that everything works after a rotate and whatever comes at the same time.
func (m *machine) rotateTogether(with func()) {
	m.Helper()
	canary := m.canary()
	with()
	m.allWork()
	m.isWhole()
	refused(m.T, canary)
}

func TestRotateTogetherWithAnotherRotate(t *testing.T) {
	t.Parallel()
	m := newMachine(t, sevenProfiles)
	for range 3 {
		m.rotateTogether(func() {
			for _, r := range m.atOnce(rotate("long"), rotate("kernel")) {
				r.Succeeds()
			}
		})
	}
}

// TestRotateTogetherWithSetup has the new profile in a store of its own, so that nothing of the
// others' serves it.
func TestRotateTogetherWithSetup(t *testing.T) {
	t.Parallel()
	for i := range 4 {
		t.Run(fmt.Sprint(i+1), func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, []string{"long", "brief", "outside"})
			m.profiles = append(m.profiles, "recovers")
			m.rotateTogether(func() {
				for _, r := range m.atOnce(m.setup("recovers"), rotate("long")) {
					r.Succeeds()
				}
			})
		})
	}
}

// TestRotateTogetherWithACrowdOfGets starts some gets, which find no token, at each request of a
// rotate.
func TestRotateTogetherWithACrowdOfGets(t *testing.T) {
	t.Parallel()
	const atOnce, least = 3, 20
	m := newMachine(t, sevenProfiles)
	for range 2 {
		for _, name := range m.profiles {
			m.Plugin("logout", "--profile", name).Succeeds()
		}
		m.rotateTogether(func() {
			var crowd []*lab.Started
			m.Gate.OnEach(func(r *http.Request) {
				isOfGet := len(r.TLS.PeerCertificates) == 0 ||
					r.URL.Path == lab.TokenOf(m.Namespace, lab.Account)
				if isOfGet {
					return
				}
				for range atOnce {
					crowd = append(crowd, m.get(m.profiles[len(crowd)%len(m.profiles)]).Start(t))
				}
			})
			m.Plugin("rotate", "--profile", "outside").Succeeds()
			m.Gate.OnEach(nil)
			for _, get := range crowd {
				get.End().Token()
			}
			if len(crowd) < least {
				t.Errorf("there were only %d gets", len(crowd))
			}
		})
	}
}

// TestRevokeTogetherWithSetup has a setup whose proof may find the device gone. From there
// another one goes on.
func TestRevokeTogetherWithSetup(t *testing.T) {
	t.Parallel()
	m := newMachine(t, twoProfiles)
	canary := m.canary()
	results := m.atOnce([]string{"revoke", "--profile", "long"}, m.setup("recovers"))
	results[0].Succeeds()
	refused(t, canary)
	m.setUp()
	m.allWork()
	m.isWhole()
}
