//go:build linux

package get_test

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/test/faultproxy"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// loudest makes the Go runtime say all that it knows, and end in a way that dumps core where that
// is allowed.
var loudest = []string{"GOTRACEBACK=crash",
	"GODEBUG=http2debug=2,netdns=go+2,inittrace=1,gctrace=1,dontfreezetheworld=1"}

// willing runs a program where it may dump core, in a folder of its own.
func willing(folder string, args ...string) []string {
	const script = `cd "$1" && ulimit -c "$(ulimit -H -c)" && shift && exec "$@"`
	return slices.Concat(powerless(), []string{"/bin/sh", "-c", script, "sh", folder}, args)
}

// powerless is what runs a program without what root may do beyond the user that root is, too.
func powerless() []string {
	if os.Geteuid() != 0 {
		return nil
	}
	return []string{"/usr/bin/setpriv", "--bounding-set=-all", "--inh-caps=-all"}
}

func TestAProgramThatIsWillingToDumpCoreDoes(t *testing.T) {
	folder := lab.Dir(t, "core")
	crash := lab.Command{Args: willing(folder, "/bin/sh", "-c", "kill -ABRT $$")}.Start(t)
	if r := crash.End(); r.Code != lab.EndedBySignal {
		t.Fatalf("exit code %d\n%s", r.Code, r.Stderr)
	}
	files := lab.FilesBelow(t, folder)
	if coresAreFiles(t) && (len(files) == 0 || !crash.DumpedCore()) {
		t.Errorf("core is dumped: %v, the files are %q", crash.DumpedCore(), files)
	}
}

// coresAreFiles reports whether a core comes into the folder of the process. Elsewhere a program
// of the machine's own gets it (core(5)), or nobody.
func coresAreFiles(t *testing.T) bool {
	t.Helper()
	pattern, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	if err != nil {
		t.Fatal(err)
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_CORE, &limit); err != nil {
		t.Fatal(err)
	}
	return limit.Max != 0 && !strings.ContainsAny(string(pattern[:1]), "|@/")
}

func TestAGetThatCrashesWithACredentialInMemoryGivesNothingAway(t *testing.T) {
	t.Parallel()
	door := lab.NewDoor(t)
	m := newMachine(t, keyring.Kernel, door)
	m.Prepare()
	m.Forget()
	m.Variables = loudest // which is in the names of locks
	m.get().Token()
	before := lab.FilesBelow(t, m.Home)
	m.Variables = nil
	m.Forget()
	m.Variables = loudest
	proxy := leadToProxy(t, door)
	proxy.setFault(faultproxy.Hang)
	for _, signal := range []syscall.Signal{syscall.SIGQUIT, syscall.SIGABRT, syscall.SIGSEGV} {
		for _, verbose := range []bool{false, true} {
			t.Run(fmt.Sprintf("%v, verbose: %v", signal, verbose), func(t *testing.T) {
				m := m.in(t)
				folder := lab.Dir(t, "core")
				get := m.startMinting(proxy, folder, verbose)
				plugin := get.Child()
				m.checkHardened(plugin)
				if err := syscall.Kill(plugin, signal); err != nil {
					t.Error(err)
				}
				m.checkCrash(get, signal)
				if left := append(without(lab.FilesBelow(t, m.Home), before),
					lab.FilesBelow(t, folder)...); len(left) > 0 {
					t.Errorf("it has left %q", left)
				}
			})
		}
	}
	proxy.setFault(faultproxy.None)
	m.Variables = nil
	m.get().Silent().Token()
}

// startMinting returns when the server has got the request for a token, and with it the bootstrap
// credential.
func (m *machine) startMinting(proxy *proxy, folder string, verbose bool) *lab.Started {
	m.Helper()
	asked := proxy.Faults()[faultproxy.Hang]
	get := m.getFromClient("")
	if verbose {
		get.Args = append(get.Args, "-v")
	}
	plugin := slices.Index(get.Args, lab.Plugin)
	get.Args = slices.Concat(get.Args[:plugin], willing(folder, get.Args[plugin:]...))
	minting := get.Start(m.T)
	lab.Eventually(m.T, "the server hangs",
		func() bool { return proxy.Faults()[faultproxy.Hang] > asked })
	return minting
}

var coreLimit = regexp.MustCompile(`(?m)^Max core file size .*$`)

// checkHardened makes sure that neither a core file nor another program of the user gets to see
// the memory. A program of the same kind that is not hardened can be looked into.
func (m *machine) checkHardened(pid int) {
	m.Helper()
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", pid))
	if err != nil {
		m.Fatal(err)
	}
	if limit := coreLimit.Find(limits); !slices.Equal(strings.Fields(string(limit)),
		strings.Fields("Max core file size 0 0 bytes")) {
		m.Errorf("it may dump core: %q", limit)
	}
	if m.canLookInto(pid) {
		m.Error("another program of the user can look into it")
	}
	plain := lab.Command{Args: append(powerless(), "/bin/sleep", "60")}.Start(m.T)
	lab.Eventually(m.T, "a program that is not hardened can be looked into",
		func() bool { return m.canLookInto(plain.PID()) })
	plain.Signal(syscall.SIGKILL)
	plain.End()
}

// canLookInto asks for the addresses at which things are in the memory of another process, which
// are for those who may read the memory itself.
func (m *machine) canLookInto(pid int) bool {
	m.Helper()
	return lab.Command{Args: append(powerless(), "/bin/cat", fmt.Sprintf("/proc/%d/maps",
		pid))}.Run(m.T).Code == 0
}

// checkCrash looks at how it ended, which is how the runtime ends what a signal has told to, and
// at what it said then.
func (m *machine) checkCrash(get *lab.Started, signal syscall.Signal) {
	m.Helper()
	r := get.End()
	if r.Code != ended(syscall.SIGABRT) || strings.Contains(r.Stderr, "core dumped") {
		m.Errorf("after %v: exit code %d\n%s", signal, r.Code, r.Stderr)
	}
	if r.Stdout != "" {
		m.Errorf("standard output is not empty: %s", r.Shown())
	}
	if !strings.Contains(r.Stderr, "goroutine ") {
		m.Errorf("the runtime did not say all that it knows:\n%s", r.Stderr)
	}
	if found := lab.Leak(r.Stderr); found != "" {
		m.Errorf("standard error holds %s", found)
	}
}
