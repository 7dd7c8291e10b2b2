//go:build linux

package get_test

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/test/faultproxy"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// kills is how often a get is killed on each store: at moments that are spread evenly over the
// time that it takes.
const kills = 20

// TestAGetThatIsKilledAtAnyMomentLeavesNothingBehind is for users who lose their patience, and
// for machines that lose their memory. It looks at all that is in the kernel keyring, so no test
// that uses it may run beside.
func TestAGetThatIsKilledAtAnyMomentLeavesNothingBehind(t *testing.T) {
	bothStores(t, func(t *testing.T, kind keyring.Kind) {
		m := newMachine(t, kind, nil)
		m.Prepare()
		long := m.undisturbed()
		before := m.inventory()
		m.checkRuntimeFolder()
		interrupted, restarts := 0, 0
		for i := range kills {
			signal := []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM}[i%2]
			after := long * time.Duration(i) / (kills - 1)
			t.Run(fmt.Sprintf("%v at moment %d of %d", signal, i, kills),
				func(t *testing.T) {
					m := m.in(t)
					m.Forget()
					if m.killedGet(signal, after).Code == ended(signal) {
						interrupted++
					}
					if m.keyringEnded(signal) {
						restarts++
					}
					m.checkAfterKill(before)
				})
		}
		if interrupted == 0 {
			t.Error("each get was over before it was killed")
		}
		t.Logf("a get takes %v; of %d, %d were killed; gnome-keyring was started again "+
			"%d times", long, kills, interrupted, restarts)
	})
}

// undisturbed is how long a get with an empty cache takes.
func (m *machine) undisturbed() time.Duration {
	m.Helper()
	m.Forget()
	began := time.Now()
	m.getFromClient("").Run(m.T).Silent().Token()
	return time.Since(began)
}

// said is what the shell says of a program that a signal has ended.
var said = map[syscall.Signal]string{syscall.SIGKILL: "Killed\n", syscall.SIGTERM: "Terminated\n"}

// killedGet looks at what a get that was killed has said: all or nothing.
func (m *machine) killedGet(signal syscall.Signal, after time.Duration) lab.Result {
	m.Helper()
	began := time.Now()
	get := m.getFromClient("").Start(m.T)
	plugin := get.Child()
	time.Sleep(after - time.Since(began))
	if plugin != 0 {
		_ = syscall.Kill(plugin, signal) // it may have ended meanwhile
	}
	r := get.End()
	if r.Stderr != "" && r.Stderr != said[signal] {
		m.Errorf("standard error has more than the shell's word: %q", r.Stderr)
	}
	if r.Code != 0 && r.Code != ended(signal) {
		m.Errorf("exit code %d", r.Code)
	}
	if r.Stdout != "" {
		whole := r
		whole.Code = 0
		whole.Token()
	}
	return r
}

// keyringEnded reports whether gnome-keyring has ended, and starts it again. A client that is
// killed in the middle of an exchange can end it
// (https://gitlab.gnome.org/GNOME/gnome-keyring/-/issues/190), about which a client can do
// nothing. One that is told to end can: it ends after the exchange.
func (m *machine) keyringEnded(signal syscall.Signal) bool {
	m.Helper()
	if m.Service == nil || m.keyringRuns() {
		return false
	}
	if signal != syscall.SIGKILL {
		m.Errorf("%v has ended gnome-keyring", signal)
	}
	m.RestartKeyring()
	return true
}

// keyringRuns waits until gnome-keyring has dealt with what a client that is gone has left it
// with. Messages come to it in their order, and what it asks the bus about a client is answered
// before the second ping.
func (m *machine) keyringRuns() (runs bool) {
	m.Helper()
	conn, err := m.Service.Connect()
	if err != nil {
		m.Fatal(err)
	}
	defer conn.Close()
	for range 2 {
		conn.Object("org.freedesktop.secrets",
			"/org/freedesktop/secrets").Call("org.freedesktop.DBus.Peer.Ping", 0)
	}
	if err := conn.BusObject().Call("org.freedesktop.DBus.NameHasOwner", 0,
		"org.freedesktop.secrets").Store(&runs); err != nil {
		m.Fatal(err)
	}
	return runs
}

// checkAfterKill looks at what a killed get has left, and at what the next one makes of it.
func (m *machine) checkAfterKill(before inventory) {
	m.Helper()
	if strange := without(m.inventory(), before); len(strange) > 0 {
		m.Errorf("it has left %q", strange)
	}
	token := m.get().Silent().Token()
	if !lab.Accepts(m.T, token) {
		m.Error("the next get answers with a token that the API server refuses")
	}
	if m.Entry(m.Configuration().TokenKey()).Token.Reveal() != token {
		m.Error("the next get's token is not the stored one")
	}
	now := m.inventory()
	if strange, missing := without(now, before), without(before,
		now); len(strange)+len(missing) > 0 {
		m.Errorf("after the next get, %q is there and %q is not", strange, missing)
	}
}

// inventory are the names of all files and entries on a machine.
type inventory []string

func (m *machine) inventory() inventory {
	m.Helper()
	keys := m.StoreKeys()
	files := slices.DeleteFunc(lab.FilesBelow(m.T, m.Home), func(name string) bool {
		return strings.HasPrefix(name, ".kube/cache/") // kubectl's
	})
	return append(files, keys...)
}

// without are the names that are not among others.
func without(names, others inventory) inventory {
	return slices.DeleteFunc(slices.Clone(names),
		func(name string) bool { return slices.Contains(others, name) })
}

// checkRuntimeFolder makes sure that of a get there are a lock and a record of calls, and nothing
// else.
func (m *machine) checkRuntimeFolder() {
	m.Helper()
	folder := m.Path(".cache", "sa-exec-credential")
	if m.Service != nil {
		folder = m.Path("run", "sa-exec-credential")
	}
	base := strings.ReplaceAll(m.Configuration().TokenKey(), ":", "-")
	files := lab.FilesBelow(m.T, folder) // their names end with a hash of the way to the token
	if len(files) != 2 || !strings.HasPrefix(files[0], base+"-") || !strings.HasPrefix(files[1],
		base+"-") ||
		filepath.Ext(files[0]) != ".calls" || filepath.Ext(files[1]) != ".lock" {
		m.Errorf("the files are %q, not the two of %q", files, base)
	}
}

// waiting is how many wait for the one that mints.
const waiting = 4

func TestWhoWaitsForAGetThatIsKilledInTheMiddleOfItsMintGoesOn(t *testing.T) {
	t.Parallel()
	for _, signal := range []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			bothStores(t, func(t *testing.T, kind keyring.Kind) {
				t.Parallel()
				checkWaiting(t, kind, signal)
			})
		})
	}
}

func checkWaiting(t *testing.T, kind keyring.Kind, signal syscall.Signal) {
	door := lab.NewDoor(t)
	m := newMachine(t, kind, door)
	m.Prepare()
	m.Forget()
	proxy := leadToProxy(t, door)
	proxy.setFault(faultproxy.Hang)
	holder := m.getFromClient("").Start(t)
	lab.Eventually(t, "the server hangs", func() bool { return proxy.Faults()[faultproxy.Hang] == 1 })
	waiters := m.startWaiters()
	proxy.setFault(faultproxy.None)
	if err := syscall.Kill(holder.Child(), signal); err != nil {
		t.Error(err)
	}
	if r := holder.End(); r.Code != ended(signal) || r.Stdout != "" ||
		r.Stderr != said[signal] {
		t.Errorf("the one that was killed: exit code %d, %s, %q", r.Code, r.Shown(),
			r.Stderr)
	}
	tokens := map[string]bool{}
	for _, waiter := range waiters {
		tokens[waiter.End().Token()] = true
	}
	if minted := proxy.Minted(m.Namespace, account); len(tokens) != 1 || minted != 1 {
		t.Errorf("%d different tokens, of %d that were minted", len(tokens), minted)
	}
	if asked := proxy.Faults()[faultproxy.Hang]; asked != 1 {
		t.Errorf("%d did not wait", asked-1)
	}
	if m.keyringEnded(signal) {
		t.Error("gnome-keyring has ended, although nobody was talking to it")
	}
	m.get().Silent().Token()
}

// startWaiters returns when all of them have found the store empty: what they say with -v comes
// right before they look at the lock. Each is run by a shell, as by a client of its own.
func (m *machine) startWaiters() (waiters []*lab.Started) {
	m.Helper()
	for range waiting {
		waiters = append(waiters, m.getFromClient("", "-v").Start(m.T))
	}
	for _, waiter := range waiters {
		lab.Eventually(m.T, "it looks into the store",
			func() bool {
				return strings.Contains(waiter.Stderr.String(),
					"read the store")
			})
	}
	return waiters
}
