package profile

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// otherUser is nobody: modes count for it.
const otherUser = 65534

func TestWhatCannotBeReadIsUnreadable(t *testing.T) {
	for _, tt := range []struct {
		name   string
		closed func(Dir) string
		lists  bool // the names can be listed all the same
	}{
		{"a profile", func(f Dir) string { return f.path("p") }, true},
		{"the directory of profiles", func(f Dir) string { return string(f) }, false},
		{"the directory above it", func(f Dir) string { return filepath.Dir(string(f)) },
			false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := publicProfile(t)
			chmod(t, tt.closed(dir), 0)
			defer chmod(t, tt.closed(dir), 0o700) // so that it can be removed
			var loadErr, namesErr error
			unprivileged(t, func() {
				_, loadErr = dir.Load("p")
				_, namesErr = dir.Names()
			})
			wantUnreadable(t, dir, loadErr)
			if !tt.lists {
				wantUnreadable(t, dir, namesErr)
			} else if namesErr != nil {
				t.Errorf("listing: %v", namesErr)
			}
		})
	}
}

func wantUnreadable(t *testing.T, dir Dir, err error) {
	t.Helper()
	if !errors.Is(err, ErrUnreadable) ||
		!strings.Contains(err.Error(), strings.TrimSuffix(strconv.Quote(string(dir)),
			`"`)) {
		t.Errorf("got %v, want ErrUnreadable with the path in quotes", err)
	}
}

// publicProfile is a profile that every user can read, in directories that every user can enter;
// t.TempDir's is closed.
func publicProfile(t *testing.T) Dir {
	t.Helper()
	base, err := os.MkdirTemp("", "profile")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(base) })
	dir := DirIn(base)
	p := example(t)
	p.Name = "p"
	if err := dir.Save(p); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{base, filepath.Dir(string(dir)), string(dir)} {
		chmod(t, path, 0o755)
	}
	chmod(t, dir.path("p"), 0o644)
	return dir
}

// unprivileged does something for which modes count, also when the tests run as root: on a thread
// of its own, which opens files as another user and ends afterwards, because it is never given back
// to the runtime.
func unprivileged(t *testing.T, do func()) {
	t.Helper()
	if os.Geteuid() != 0 {
		do()
		return
	}
	done := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := unix.Setfsuid(otherUser)
		do()
		done <- err
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}
