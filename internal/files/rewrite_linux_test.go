package files

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/sa-exec-credential/sa-exec-credential/internal/files/filestest"
)

func ownedByNobody(t *testing.T, paths ...string) {
	t.Helper()
	for _, path := range paths {
		if err := os.Chown(path, filestest.Nobody, filestest.Nobody); err != nil && os.Geteuid() == 0 {
			t.Fatal(err)
		}
	}
}

func wantContent(t *testing.T, path, want string) {
	t.Helper()
	if got, err := os.ReadFile(path); err != nil || string(got) != want {
		t.Errorf("%s holds %q, %v, want %q", path, got, err, want)
	}
}

// TestRewriteKeepsTheOwner as root, too, who would take the file over by replacing it.
func TestRewriteKeepsTheOwner(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "old", 0o640)
	ownedByNobody(t, path)
	before, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := Rewrite(path, []byte("new")); err != nil {
		t.Fatal(err)
	}
	wantContent(t, path, "new")
	after, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	was, is := before.Sys().(*syscall.Stat_t), after.Sys().(*syscall.Stat_t)
	if was.Uid != is.Uid || was.Gid != is.Gid || before.Mode() != after.Mode() {
		t.Errorf("it was %d:%d %v, is %d:%d %v", was.Uid, was.Gid, before.Mode(), is.Uid,
			is.Gid,
			after.Mode())
	}
	if was.Ino == is.Ino {
		t.Error("it was written in place, where a crash leaves half of it")
	}
	onlyFile(t, path)
}

// TestRewriteInPlace has what cannot be replaced by renaming.
func TestRewriteInPlace(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	write(t, path, "a longer old content", 0o600)
	ownedByNobody(t, path, dir)
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755), os.Chmod(dir,
		0o555)); err != nil {
		t.Fatal(err)
	}
	filestest.AsNobody(t, func() {
		if err := Rewrite(path, []byte("new")); err != nil {
			t.Errorf("in a directory that cannot be written to: %v", err)
		}
		if err := Rewrite(filepath.Join(dir, "missing"), nil); !errors.Is(err,
			os.ErrPermission) {
			t.Errorf("a new file there: %v", err)
		}
	})
	wantContent(t, path, "new")
	onlyFile(t, path)
}

// TestRewriteOfAMount writes what is mounted over a file, as containers mount a kubeconfig.
func TestRewriteOfAMount(t *testing.T) {
	if os.Geteuid() != 0 {
		return // only root mounts; the other way to the same code is tested above
	}
	dir, other := t.TempDir(), filepath.Join(t.TempDir(), "mounted")
	path := filepath.Join(dir, "f")
	write(t, path, "below", 0o600)
	write(t, other, "old", 0o600)
	mount := func() error {
		if err := syscall.Unshare(syscall.CLONE_FS | syscall.CLONE_NEWNS); err != nil {
			return err
		}
		private := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, "")
		return errors.Join(private, syscall.Mount(other, path, "", syscall.MS_BIND, ""))
	}
	filestest.OnThread(t, mount, func() {
		if err := Rewrite(path, []byte("new")); err != nil {
			t.Error(err)
		}
		wantContent(t, path, "new")
		onlyFile(t, path)
	})
	wantContent(t, other, "new")
	wantContent(t, path, "below")
}

// TestAnOverwriteThatFailsNamesTheCopy writes to a file that does not grow, as on a full disk.
func TestAnOverwriteThatFailsNamesTheCopy(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	fd, err := unix.MemfdCreate("f", unix.MFD_ALLOW_SEALING)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), "f")
	defer file.Close()
	if _, err := file.WriteString("old"); err != nil {
		t.Fatal(err)
	}
	if _, err := unix.FcntlInt(file.Fd(), unix.F_ADD_SEALS, unix.F_SEAL_GROW); err != nil {
		t.Fatal(err)
	}
	err = writeInPlace(fmt.Sprintf("/proc/self/fd/%d", fd), []byte("longer"))
	copies, _ := filepath.Glob(filepath.Join(temp, "*"))
	if err == nil || len(copies) != 1 || !strings.Contains(err.Error(), copies[0]) {
		t.Fatalf("error %v, copies %q", err, copies)
	}
	wantContent(t, copies[0], "old")
}
