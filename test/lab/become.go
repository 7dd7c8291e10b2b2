//go:build linux

package lab

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Become does something to this process and then runs a program in its place.
func Become(change func() error, args []string) int {
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

// JoinSession gives the process a session keyring in which the user's is not linked, as PAM and
// systemd do.
func JoinSession() error {
	_, _, errno := unix.Syscall(unix.SYS_KEYCTL, unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// RefuseKeyctl has the kernel answer the calls of keyrings(7) with EPERM, as it does in a container
// by Docker's own filter.
func RefuseKeyctl() error {
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
