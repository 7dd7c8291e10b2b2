//go:build linux

// Package unattended_test is about machines that nobody watches: programs that cron, systemd, sshd
// and sudo start with few variables and a session of their own, containers that are refused the
// kernel's keyring, timers, and what is to be read afterwards of what happened at night.
//
// Its tests put buses and homes where a system has them, so none of them is parallel.
package unattended_test

import (
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

func TestMain(m *testing.M) {
	lab.Main(m, lab.Options{Helpers: map[string]func([]string) int{
		"own session": func(args []string) int { return become(joinSession, args) },
		"no keyctl":   func(args []string) int { return become(refuseKeyctl, args) },
	}})
}

// become does something to this process and then runs a program in its place.
func become(change func() error, args []string) int {
	runtime.LockOSThread() // a session keyring is a thread's, and exec takes over the caller's
	err := change()
	if err == nil {
		environment := slices.DeleteFunc(os.Environ(), func(setting string) bool {
			return strings.HasPrefix(setting, "LAB_")
		})
		err = syscall.Exec(args[0], args, environment)
	}
	fmt.Fprintln(os.Stderr, err)
	return 127
}

// joinSession gives the process a session keyring in which the user's is not linked, as PAM and
// systemd do.
func joinSession() error {
	_, _, errno := unix.Syscall(unix.SYS_KEYCTL, unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// refuseKeyctl has the kernel answer the calls of keyrings(7) with EPERM, as it does in a container
// by Docker's own filter.
func refuseKeyctl() error {
	program := []unix.SockFilter{{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}}
	for _, number := range []uint32{unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_KEYCTL} {
		program = append(program,
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1,
				K: number},
			unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K,
				K: unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)})
	}
	program = append(program, unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K,
		K: unix.SECCOMP_RET_ALLOW})
	filter := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return err
	}
	_, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&filter)))
	if errno != 0 {
		return errno
	}
	return nil
}

// machine is a lab's machine, with its home where the user database says that it is.
type machine struct {
	*lab.Machine
	home string // as its programs know it
}

func newMachine(t *testing.T, kind keyring.Kind) *machine {
	t.Helper()
	m := &machine{Machine: lab.NewMachine(t, kind)}
	self, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	m.home = self.HomeDir
	m.mount(m.Home, m.home)
	m.Variables = []string{"HOME=" + m.home}
	return m
}

// mount puts a directory in the place of another one, in the tests' own mount namespace.
func (m *machine) mount(from, to string) {
	m.Helper()
	if err := syscall.Mount(from, to, "", syscall.MS_BIND, ""); err != nil {
		m.Fatalf("mounting %s on %s: %v", from, to, err)
	}
	m.Cleanup(func() {
		if err := syscall.Unmount(to, syscall.MNT_DETACH); err != nil {
			m.Error(err)
		}
	})
}

// runtimeDir is the user's, as systemd creates it.
func runtimeDir() string { return filepath.Join("/run/user", fmt.Sprint(os.Geteuid())) }

// logIn creates the user's runtime directory, with the bus in it.
func (m *machine) logIn() {
	m.Helper()
	if err := os.MkdirAll(runtimeDir(), 0o700); err != nil {
		m.Fatal(err)
	}
	m.Cleanup(m.logOut)
	if m.Service == nil {
		return
	}
	if err := os.Symlink(m.Service.Socket(), filepath.Join(runtimeDir(), "bus")); err != nil {
		m.Fatal(err)
	}
}

// logOut removes it again, as systemd does when the user's last session is over.
func (m *machine) logOut() {
	if err := os.RemoveAll(runtimeDir()); err != nil {
		m.Error(err)
	}
}

// in is the machine for a subtest.
func (m *machine) in(t *testing.T) *machine { return &machine{m.In(t), m.home} }

// minted counts the tokens that the API server has issued for a service account of the machine's
// namespace.
func (m *machine) minted(account string) (count int) {
	m.Helper()
	events, err := lab.Plane.AuditEvents()
	if err != nil {
		m.Fatal(err)
	}
	for _, event := range events {
		if event.IsTokenRequest(m.Namespace, account) && event.ResponseStatus.Code == 201 {
			count++
		}
	}
	return count
}
