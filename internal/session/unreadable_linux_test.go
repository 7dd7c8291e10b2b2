package session

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// TestSharingIsUnknownWhileAProfileCannotBeRead has a profile that may name the device. A rotate
// that went on without it would leave it with a device that is deleted.
func TestSharingIsUnknownWhileAProfileCannotBeRead(t *testing.T) {
	h, _, s := machine(t)
	profiles, err := h.Profiles()
	if err != nil {
		t.Fatal(err)
	}
	other := s.Profile
	other.Name = "other"
	if err := profiles.Save(other); err != nil {
		t.Fatal(err)
	}
	open(t, h.Getenv("HOME"))
	if err := os.Chmod(filepath.Join(string(profiles), "other.yaml"), 0); err != nil {
		t.Fatal(err)
	}
	unprivileged(func() { _, err = Sharing(h, s.Profile.Device) })
	if !errors.Is(err, profile.ErrUnreadable) {
		t.Errorf("got %v, want that a profile cannot be read", err)
	}
}

// open lets every user read what is in a test's directory.
func open(t *testing.T, home string) {
	t.Helper()
	err := filepath.WalkDir(filepath.Dir(home), func(path string, entry fs.DirEntry,
		err error) error {
		if err != nil {
			return err
		}
		return os.Chmod(path, 0o755)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// unprivileged runs a function for which the modes of files count, also when the tests run as root.
func unprivileged(run func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked: the thread ends with its file system user
		const nobody = 65534
		if os.Geteuid() == 0 {
			_ = unix.Setfsuid(nobody)
		}
		run()
	}()
	<-done
}
