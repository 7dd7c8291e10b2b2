//go:build linux

// Package sealed_test runs the program on machines whose store is sealed by a TPM, a simulator of
// one (swtpm) that is restarted, replaced, stopped and slowed down, or by systemd.
package sealed_test

import (
	"fmt"
	"os"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

func TestMain(m *testing.M) {
	lab.Main(m, lab.Options{Helpers: map[string]func([]string) int{"no keyctl": withoutKeyctl}})
}

// machine is one whose store is sealed.
type machine struct{ *lab.Machine }

// newMachine makes one with a TPM of its own, on which nothing is set up.
func newMachine(t *testing.T) *machine {
	t.Helper()
	return &machine{lab.NewMachine(t, keyring.Sealed)}
}

func (m *machine) in(t *testing.T) *machine { return &machine{m.In(t)} }

// get is a client, another process each time, that runs the plugin.
func (m *machine) get() lab.Command {
	const script = `KUBERNETES_EXEC_INFO="$0" "$@"; exit $?`
	c := m.Command("/bin/sh", "-c", script, m.ExecInfo(), lab.Plugin, "get", "--profile",
		m.Profile)
	c.PrintsToken = true
	return c
}

// mints counts the tokens that the API server has issued for a service account of the machine's
// namespace.
func (m *machine) mints(account string) (count int) {
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

// mintsOne runs something and expects one TokenRequest for the account.
func (m *machine) mintsOne(do func()) {
	m.Helper()
	before := m.mints(lab.Account)
	do()
	if after := m.mints(lab.Account); after != before+1 {
		m.Errorf("%d tokens were minted", after-before)
	}
}

// files are the sealed ones, and what is left of others.
func (m *machine) files() []string {
	m.Helper()
	if _, err := os.Stat(m.dir()); err != nil {
		return nil
	}
	return lab.FilesBelow(m.T, m.dir())
}

func (m *machine) dir() string { return m.Path(".local", "state", "sa-exec-credential", "sealed") }

// loseToken is what a restart does where nothing else changes.
func (m *machine) loseToken() {
	m.Helper()
	m.LoseFront(m.Configuration().TokenKey())
}

// withoutKeyctl becomes a program to which the kernel refuses the system calls of keyrings(7), as
// Docker's default profile does.
func withoutKeyctl(args []string) int {
	if err := refuseKeyctl(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Fprintln(os.Stderr, syscall.Exec(args[0], args, os.Environ()))
	return 1
}

func refuseKeyctl() error {
	statement := func(code uint16, k uint32) unix.SockFilter {
		return unix.SockFilter{Code: code, K: k}
	}
	// the call's number
	program := []unix.SockFilter{statement(unix.BPF_LD|unix.BPF_W|unix.BPF_ABS, 0)}
	for _, number := range []uint32{unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY, unix.SYS_KEYCTL} {
		program = append(program,
			unix.SockFilter{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1,
				K: number},
			statement(unix.BPF_RET|unix.BPF_K, unix.SECCOMP_RET_ERRNO|uint32(unix.EPERM)))
	}
	program = append(program, statement(unix.BPF_RET|unix.BPF_K, unix.SECCOMP_RET_ALLOW))
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
