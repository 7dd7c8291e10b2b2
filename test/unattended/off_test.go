//go:build linux

package unattended_test

import (
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/test/faultproxy"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// TestDoctorWarnsBeforeAMachineWasOffForTooLong and names what ends the warning.
func TestDoctorWarnsBeforeAMachineWasOffForTooLong(t *testing.T) {
	m := newMachine(t, keyring.Keyring)
	m.logIn()
	m.Prepare()
	for _, step := range []struct {
		name  string
		spent float64
		warns bool
	}{
		{"half of its life is over", 0.5, false},
		{"a little more than a fifth is left", 0.78, false},
		{"a little less than a fifth is left", 0.82, true},
	} {
		t.Run(step.name, func(t *testing.T) {
			m := m.in(t)
			key := m.Configuration().BootstrapKey()
			fresh := m.Entry(key)
			m.Age(m.Configuration().BootstrapKey(), step.spent)
			r := m.Plugin("doctor").Succeeds()
			warns := strings.Contains(r.Stdout, "the bootstrap credential has 5d9h left of 720h")
			if warns != step.warns {
				t.Errorf("doctor says\n%s", r.Stdout)
			}
			if step.warns {
				m.Follow(r, "renew")
				r = m.Plugin("doctor").Succeeds()
				if strings.Contains(r.Stdout, "left of 720h") {
					t.Errorf("doctor still says\n%s", r.Stdout)
				}
			}
			m.SetEntry(key, fresh)
		})
	}
}

// TestDoctorNoticesThatTheServerHasBegunToGrantLess to a credential that was renewed since.
func TestDoctorNoticesThatTheServerHasBegunToGrantLess(t *testing.T) {
	m, door := newMachine(t, keyring.Kernel), lab.NewDoor(t)
	m.Machine = m.Behind(door)
	m.Prepare()
	var isShort atomic.Bool
	proxy := lab.Proxy(t, faultproxy.Options{Lifetime: func(account string) time.Duration {
		if isShort.Load() && account != lab.Account {
			return 24 * time.Hour
		}
		return 0
	}})
	door.LeadTo(proxy.URL)
	const grants = "the API server grants bootstrap credentials of 24h, not the 720h asked for"
	if r := m.Plugin("doctor").Succeeds(); strings.Contains(r.Stdout, grants) {
		t.Errorf("doctor says\n%s", r.Stdout)
	}
	isShort.Store(true)
	m.Age(m.Configuration().BootstrapKey(), 0.6)
	m.renew().Succeeds().Silent()
	r := m.Plugin("doctor").Succeeds()
	lab.Has(t, "doctor", r.Stdout, grants)
}
