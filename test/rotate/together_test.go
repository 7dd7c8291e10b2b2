//go:build linux

package rotate_test

import (
	"fmt"
	"os/exec"
	"sync"
	"testing"
)

// atOnce runs commands at the same time, each to its end.
func atOnce(commands ...*exec.Cmd) []*result {
	results := make([]*result, len(commands))
	var group sync.WaitGroup
	for i, cmd := range commands {
		group.Go(func() { results[i] = finish(cmd) })
	}
	group.Wait()
	return results
}

func (m *machine) togetherSucceed(commands ...*exec.Cmd) {
	m.Helper()
	for _, r := range atOnce(commands...) {
		r.succeeds(m.T)
	}
}

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
			m.togetherSucceed(m.command("rotate", "--profile", "long"), m.command("rotate", "--profile", "kernel"))
		})
	}
}

// TestRotateTogetherWithSetup has the new profile in a store of its own, so that nothing of the others'
// serves it.
func TestRotateTogetherWithSetup(t *testing.T) {
	t.Parallel()
	for i := range 4 {
		t.Run(fmt.Sprint(i+1), func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, []string{"long", "brief", "outside"})
			m.profiles = append(m.profiles, "recovers")
			m.rotateTogether(func() {
				m.togetherSucceed(m.command(m.setup("recovers", flags["recovers"]...)...), m.command("rotate", "--profile", "long"))
			})
		})
	}
}

// TestRotateTogetherWithACrowdOfGets starts some gets, which find no token, at each request of a rotate.
func TestRotateTogetherWithACrowdOfGets(t *testing.T) {
	t.Parallel()
	const atOnce, least = 3, 20
	m := newMachine(t, sevenProfiles)
	for range 2 {
		for _, name := range m.profiles {
			m.run("logout", "--profile", name).succeeds(t)
		}
		m.rotateTogether(func() {
			var crowd sync.WaitGroup
			var results []*result
			m.gate.onEach(func() {
				for range atOnce {
					cmd, r := m.get(m.profiles[len(results)%len(m.profiles)]), &result{}
					results = append(results, r)
					crowd.Go(func() { *r = *finish(cmd) })
				}
			})
			m.run("rotate", "--profile", "outside").succeeds(t)
			m.gate.onEach(nil)
			crowd.Wait()
			for _, r := range results {
				r.tokenOf(t)
			}
			if len(results) < least {
				t.Errorf("there were only %d gets", len(results))
			}
		})
	}
}

// TestRevokeTogetherWithSetup has a setup whose proof may find the device gone. From there another one
// goes on.
func TestRevokeTogetherWithSetup(t *testing.T) {
	t.Parallel()
	m := newMachine(t, twoProfiles)
	canary := m.canary()
	results := atOnce(m.command("revoke", "--profile", "long"), m.command(m.setup("recovers", flags["recovers"]...)...))
	results[0].succeeds(t)
	refused(t, canary)
	m.setUp()
	m.allWork()
	m.isWhole()
}
