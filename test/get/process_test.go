//go:build linux

package e2e_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
	"github.com/sa-exec-credential/sa-exec-credential/test/faultproxy"
)

// endedBySignal is the exit code that os/exec has for a process that a signal has ended.
const endedBySignal = -1

// started is a command that a test does something to while it runs. See command.run for all others.
type started struct {
	command
	cmd    *exec.Cmd
	stdout bytes.Buffer
	stderr buffer
	hangs  *time.Timer
}

func (c command) start(t *testing.T) *started {
	t.Helper()
	s := &started{command: c, cmd: exec.Command(c.args[0], c.args[1:]...)}
	s.cmd.Env = c.env
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	s.cmd.WaitDelay = 5 * time.Second
	s.cmd.Stdout, s.cmd.Stderr = &s.stdout, &s.stderr
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.hangs = time.AfterFunc(killAfter, func() { _ = syscall.Kill(-s.pid(), syscall.SIGKILL) })
	t.Cleanup(func() {
		if s.cmd.ProcessState == nil { // the test was over before end
			_ = syscall.Kill(-s.pid(), syscall.SIGKILL)
			_ = s.cmd.Wait()
		}
	})
	return s
}

func (s *started) pid() int { return s.cmd.Process.Pid }

// signal does nothing to a command that has ended.
func (s *started) signal(signal syscall.Signal) { _ = s.cmd.Process.Signal(signal) }

// end waits for the command's end, as run does, and has it searched.
func (s *started) end(t *testing.T) result {
	t.Helper()
	_ = s.cmd.Wait()
	r := result{command: s.command, stdout: s.stdout.String(), stderr: s.stderr.String(), code: s.cmd.ProcessState.ExitCode()}
	shared.seen.add(r)
	if s.printsToken {
		shared.secrets.note(r.stdout)
	}
	if !s.hangs.Stop() {
		t.Fatalf("%s hung\n%s", s, r.stderr)
	}
	return r
}

// getCommand is a get of this process's own, so that a signal comes to nobody else.
func (m *machine) getCommand() command {
	args := []string{shared.plugin, "get", "--profile", m.profile}
	return command{args: args, env: append(m.env(), "KUBERNETES_EXEC_INFO="+m.execInfo()), printsToken: true}
}

// kills is how often a get is killed on each store: at moments that are spread evenly over the time that it takes.
const kills = 20

// TestAGetThatIsKilledAtAnyMomentLeavesNothingBehind is for users who lose their patience, and for machines that lose
// their memory. It looks at all that is in the kernel keyring, so no test that uses it may run beside.
func TestAGetThatIsKilledAtAnyMomentLeavesNothingBehind(t *testing.T) {
	bothStores(t, func(t *testing.T, kind keyring.Kind) {
		m := newMachine(t, kind, nil)
		m.setup()
		long := m.undisturbed()
		before := m.inventory()
		m.checkRuntimeFolder()
		interrupted, restarts := 0, 0
		for i := range kills {
			signal := []syscall.Signal{syscall.SIGKILL, syscall.SIGTERM}[i%2]
			after := long * time.Duration(i) / (kills - 1)
			t.Run(fmt.Sprintf("%v at moment %d of %d", signal, i, kills), func(t *testing.T) {
				m := m.in(t)
				m.forget()
				if m.killedGet(signal, after).code == endedBySignal {
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
		t.Logf("a get takes %v; of %d, %d were killed; gnome-keyring was started again %d times", long, kills, interrupted, restarts)
	})
}

// undisturbed is how long a get with an empty cache takes.
func (m *machine) undisturbed() time.Duration {
	m.Helper()
	m.forget()
	began := time.Now()
	m.getCommand().start(m.T).end(m.T).silent(m.T).token(m.T)
	return time.Since(began)
}

// killedGet looks at what a get that was killed has said: all or nothing.
func (m *machine) killedGet(signal syscall.Signal, after time.Duration) result {
	m.Helper()
	get := m.getCommand().start(m.T)
	time.Sleep(after)
	get.signal(signal)
	r := get.end(m.T).silent(m.T)
	if r.code != 0 && r.code != endedBySignal {
		m.Errorf("exit code %d", r.code)
	}
	if r.stdout != "" {
		whole := r
		whole.code = 0
		whole.token(m.T)
	}
	return r
}

// keyringEnded reports whether gnome-keyring has ended, and starts it again. A client that is killed in the middle of an
// exchange can end it (https://gitlab.gnome.org/GNOME/gnome-keyring/-/issues/190), about which a client can do nothing.
// One that is told to end can: it ends after the exchange.
func (m *machine) keyringEnded(signal syscall.Signal) bool {
	m.Helper()
	if m.service == nil || m.keyringRuns() {
		return false
	}
	if signal != syscall.SIGKILL {
		m.Errorf("%v has ended gnome-keyring", signal)
	}
	m.service.StopKeyring()
	if err := m.service.StartKeyring(true); err != nil {
		m.Fatal(err)
	}
	return true
}

// keyringRuns waits until gnome-keyring has dealt with what a client that is gone has left it with. Messages come to it in
// their order, and what it asks the bus about a client is answered before the second ping.
func (m *machine) keyringRuns() (runs bool) {
	m.Helper()
	conn, err := m.service.Connect()
	if err != nil {
		m.Fatal(err)
	}
	defer conn.Close()
	for range 2 {
		conn.Object("org.freedesktop.secrets", "/org/freedesktop/secrets").Call("org.freedesktop.DBus.Peer.Ping", 0)
	}
	if err := conn.BusObject().Call("org.freedesktop.DBus.NameHasOwner", 0, "org.freedesktop.secrets").Store(&runs); err != nil {
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
	token := m.get().silent(m.T).token(m.T)
	if !m.accepted(keyring.Entry{Token: secret.New(token)}) {
		m.Error("the next get answers with a token that the API server refuses")
	}
	if m.entry(m.configuration().TokenKey()).Token.Reveal() != token {
		m.Error("the next get's token is not the stored one")
	}
	now := m.inventory()
	if strange, missing := without(now, before), without(before, now); len(strange)+len(missing) > 0 {
		m.Errorf("after the next get, %q is there and %q is not", strange, missing)
	}
}

// inventory are the names of all files and entries on a machine.
type inventory []string

func (m *machine) inventory() inventory {
	m.Helper()
	keys, err := m.store().Keys(context.Background())
	if err != nil {
		m.Fatal(err)
	}
	files := slices.DeleteFunc(filesBelow(m.T, m.home), func(name string) bool {
		return strings.HasPrefix(name, ".kube/cache/") // kubectl's
	})
	return append(files, keys...)
}

// without are the names that are not among others.
func without(names, others inventory) inventory {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return slices.Contains(others, name) })
}

// filesBelow lists all that is no folder, by its name below the folder.
func filesBelow(t *testing.T, folder string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			names = append(names, strings.TrimPrefix(path, folder+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// checkRuntimeFolder makes sure that of a get there are a lock and a record of calls, and nothing else.
func (m *machine) checkRuntimeFolder() {
	m.Helper()
	folder := filepath.Join(m.home, ".cache", "sa-exec-credential")
	if m.service != nil {
		folder = filepath.Join(m.home, "run", "sa-exec-credential")
	}
	base := strings.ReplaceAll(m.configuration().TokenKey(), ":", "-")
	want := []string{base + ".calls", base + ".lock"}
	if files := filesBelow(m.T, folder); !slices.Equal(files, want) {
		m.Errorf("the files are %q, not %q", files, want)
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
	door := newDoor(t)
	m := newMachine(t, kind, door)
	m.setup()
	m.forget()
	proxy := door.leadToProxy(t)
	proxy.setFault(faultproxy.Hang)
	holder := m.getCommand().start(t)
	eventually(t, "the server hangs", func() bool { return proxy.Faults()[faultproxy.Hang] == 1 })
	waiters := m.startWaiters()
	proxy.setFault(faultproxy.None)
	holder.signal(signal)
	if r := holder.end(t).silent(t); r.code != endedBySignal || r.stdout != "" {
		t.Errorf("the one that was killed: exit code %d, %s", r.code, r.shown())
	}
	tokens := map[string]bool{}
	for _, waiter := range waiters {
		tokens[waiter.end(t).token(t)] = true
	}
	if minted := proxy.Minted(m.namespace, account); len(tokens) != 1 || minted != 1 {
		t.Errorf("%d different tokens, of %d that were minted", len(tokens), minted)
	}
	if asked := proxy.Faults()[faultproxy.Hang]; asked != 1 {
		t.Errorf("%d did not wait", asked-1)
	}
	if m.keyringEnded(signal) {
		t.Error("gnome-keyring has ended, although nobody was talking to it")
	}
	m.get().silent(t).token(t)
}

// startWaiters returns when all of them have found the store empty: what they say with -v comes right before they look at
// the lock. Each is run by a shell, as by a client of its own.
func (m *machine) startWaiters() (waiters []*started) {
	m.Helper()
	for range waiting {
		waiters = append(waiters, m.getFromClient("", "-v").start(m.T))
	}
	for _, waiter := range waiters {
		eventually(m.T, "it looks into the store", func() bool { return strings.Contains(waiter.stderr.String(), "read the store") })
	}
	return waiters
}
