//go:build linux

package lab

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring/filtertest"
)

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
func refuseKeyctl() error { return filtertest.RefuseKeyctl(unix.EPERM) }
