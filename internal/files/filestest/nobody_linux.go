package filestest

import (
	"os"
	"runtime"
	"syscall"
	"testing"
)

// OnThread runs a function on a thread that ends with it, after what changes the thread alone.
func OnThread(t *testing.T, change func() error, function func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked
		err := change()
		if err == nil {
			function()
		}
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// AsNobody runs a function as a user for whom modes count.
func AsNobody(t *testing.T, function func()) {
	t.Helper()
	OnThread(t, func() error {
		if os.Geteuid() != 0 {
			return nil // they count for this user as it is
		}
		if _, _, failed := syscall.RawSyscall(syscall.SYS_SETRESUID, Nobody, Nobody,
			Nobody); failed != 0 {
			return failed
		}
		return nil
	}, function)
}
