//go:build linux

package sealed_test

import (
	"os"
	"syscall"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// TestContainersOfTheSameUser shows who shares the kernel keyring. There is no TPM any more, so a
// token can come from nowhere else.
func TestContainersOfTheSameUser(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.Prepare()
	m.TPM.Stop()
	const container = syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWNET |
		syscall.CLONE_NEWIPC | syscall.CLONE_NEWUTS
	for _, test := range []struct {
		name   string
		flags  uintptr
		filter string // a helper that the kernel refuses something to; empty: none
		shares bool
	}{
		{"without a user namespace and with keyctl share it", container, "", true},
		{"with Docker's default filter do not", container, "no keyctl", false},
		{"with a user namespace of their own do not", container | syscall.CLONE_NEWUSER, "",
			false},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := m.in(t)
			cmd := lab.Helper(t, test.filter, lab.Plugin, "token", "--profile", m.Profile)
			if test.filter == "" {
				cmd.Path, cmd.Args = lab.Plugin, cmd.Args[1:]
			}
			cmd.Env = append(cmd.Env, m.Env()...)
			cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: test.flags}
			if test.flags&syscall.CLONE_NEWUSER != 0 {
				id := syscall.SysProcIDMap{ContainerID: os.Geteuid(), HostID: os.Geteuid(),
					Size: 1}
				cmd.SysProcAttr.UidMappings = []syscall.SysProcIDMap{id}
				cmd.SysProcAttr.GidMappings = []syscall.SysProcIDMap{
					{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
			}
			started := lab.Adopt(t, cmd)
			started.PrintsToken = true
			if r := started.End(); test.shares {
				r.Succeeds().Silent()
			} else {
				r.OneError(6, "there is no TPM at "+m.TPMPlace)
			}
		})
	}
}
