package files

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// TestReplaceSurvivesAPowerCut looks at what there is whenever something is synced: the whole new
// file before it takes the place of the old one, and then the directory that names it.
func TestReplaceSurvivesAPowerCut(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "old", 0o600)
	var synced []string
	err := watchingSyncs(t, func(what string) syscall.Errno {
		synced = append(synced, what)
		wanted := "old"
		if what == filepath.Dir(path) {
			wanted = "new"
		} else if got, err := os.ReadFile(what); err != nil || string(got) != "new" {
			t.Errorf("synced %q, %v", got, err)
		}
		if got, err := os.ReadFile(path); err != nil || string(got) != wanted {
			t.Errorf("while %q is synced, the file holds %q, %v", what, got, err)
		}
		return 0
	}, func() error { return Replace(path, []byte("new"), 0) })
	if err != nil {
		t.Fatal(err)
	}
	synced = slices.Compact(synced)
	if len(synced) != 2 || filepath.Dir(synced[0]) != filepath.Dir(path) ||
		synced[1] != filepath.Dir(path) {
		t.Errorf("synced %q", synced)
	}
}

func TestReplaceKeepsTheOldFileWhenTheDiskFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "old", 0o600)
	err := watchingSyncs(t, func(string) syscall.Errno { return syscall.EIO },
		func() error { return Replace(path, []byte("new"), 0) })
	if got, readErr := os.ReadFile(path); !errors.Is(err, syscall.EIO) || readErr != nil ||
		string(got) != "old" {
		t.Errorf("error %v; the file holds %q, %v", err, got, readErr)
	}
	onlyFile(t, path)
}

func TestReplaceSaysThatTheDirectoryIsNotSynced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	err := watchingSyncs(t, func(what string) syscall.Errno {
		if what == filepath.Dir(path) {
			return syscall.EIO
		}
		return 0
	}, func() error { return Replace(path, []byte("new"), 0) })
	if !errors.Is(err, syscall.EIO) {
		t.Errorf("error %v", err)
	}
}

// The structures of seccomp_unotify(2).
type (
	notification struct {
		id         uint64
		pid, flags uint32
		call       int32
		arch       uint32
		pointer    uint64
		arguments  [6]uint64
	}
	response struct {
		id    uint64
		value int64
		err   int32
		flags uint32
	}
)

// watchingSyncs runs do on a thread whose calls of fsync(2) wait for an answer: zero lets them
// through, anything else is what they fail with. The kernel asks by way of seccomp's notifications.
// The thread is never given back to the runtime.
func watchingSyncs(t *testing.T, answer func(path string) syscall.Errno, do func() error) error {
	t.Helper()
	listener, problem, done := make(chan int), make(chan error, 1), make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		fd, err := listenForSyncs()
		if err != nil {
			problem <- err
			return
		}
		listener <- fd
		done <- do()
	}()
	var fd int
	select {
	case err := <-problem:
		t.Fatal(err)
	case fd = <-listener:
	}
	defer unix.Close(fd)
	for {
		select {
		case err := <-done:
			return err
		default:
		}
		if err := answerSync(fd, answer); err != nil {
			t.Fatal(err)
		}
	}
}

// listenForSyncs has the calling thread's calls of fsync reported to the file that it returns.
func listenForSyncs() (fd int, err error) {
	filter := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_W | unix.BPF_ABS}, // seccomp_data.nr
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, K: unix.SYS_FSYNC, Jf: 1},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_USER_NOTIF},
		{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW},
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return 0, fmt.Errorf("no new privileges: %w", err)
	}
	program := unix.SockFprog{Len: uint16(len(filter)), Filter: &filter[0]}
	listener, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_NEW_LISTENER, uintptr(unsafe.Pointer(&program)))
	if errno != 0 {
		return 0, fmt.Errorf("seccomp: %w", errno)
	}
	return int(listener), nil
}

// answerSync answers one call, if there is one within a hundredth of a second.
func answerSync(fd int, answer func(path string) syscall.Errno) error {
	const pollTime = 10 // milliseconds
	polled := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	if n, err := unix.Poll(polled, pollTime); n < 1 || polled[0].Revents&unix.POLLIN == 0 {
		if errors.Is(err, unix.EINTR) {
			return nil
		}
		return err
	}
	var asked notification
	if err := control(fd, unix.SECCOMP_IOCTL_NOTIF_RECV, unsafe.Pointer(&asked)); err != nil {
		return fmt.Errorf("receiving: %w", err)
	}
	path, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", asked.arguments[0]))
	if err != nil {
		return err
	}
	given := response{id: asked.id, flags: unix.SECCOMP_USER_NOTIF_FLAG_CONTINUE}
	if errno := answer(path); errno != 0 {
		given = response{id: asked.id, err: -int32(errno)}
	}
	if err := control(fd, unix.SECCOMP_IOCTL_NOTIF_SEND, unsafe.Pointer(&given)); err != nil {
		return fmt.Errorf("answering: %w", err)
	}
	return nil
}

func control(fd int, request uintptr, argument unsafe.Pointer) error {
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request,
		uintptr(argument)); errno != 0 {
		return errno
	}
	return nil
}
