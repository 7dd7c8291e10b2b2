//go:build unix

package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

func checkPrivate(path string, info fs.FileInfo) error { return check(path, info, 0o022) }

// checkShared is checkPrivate for what the user's group can write to.
func checkShared(path string, info fs.FileInfo) error { return check(path, info, 0o002) }

// check refuses what another user owns, or what has one of the bits of a mode.
func check(path string, info fs.FileInfo, writable fs.FileMode) error {
	if err := checkOwner(path, info); err != nil {
		return err
	}
	if info.Mode().Perm()&writable != 0 {
		return fmt.Errorf("%w: %q can be written by others (mode %04o)", ErrUntrusted, path,
			info.Mode().Perm())
	}
	return nil
}

func checkOwner(path string, info fs.FileInfo) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("%w: the owner of %q is unknown", ErrUntrusted, path)
	}
	if stat.Uid != 0 && int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("%w: %q belongs to user %d", ErrUntrusted, path, stat.Uid)
	}
	return nil
}

func hasMode(info fs.FileInfo, mode fs.FileMode) bool { return info.Mode().Perm() == mode }

// syncFolder makes a rename survive a power cut.
func syncDir(path string) error {
	dir, err := os.Open(path)
	if err != nil {
		return err
	}
	defer dir.Close()
	return dir.Sync()
}

// CheckCreate is an error when no file can be created in a directory. It creates none.
func CheckCreate(dir string) error {
	const writable, searchable = 2, 1 // W_OK and X_OK, access(2)
	return syscall.Access(dir, writable|searchable)
}

// keepOwner gives a new file the owner and the group of the one that it will replace.
func keepOwner(path string, temp *os.File) error {
	old, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	info, err := temp.Stat()
	if err != nil {
		return err
	}
	was, known := old.Sys().(*syscall.Stat_t)
	is, alsoKnown := info.Sys().(*syscall.Stat_t)
	if !known || !alsoKnown || was.Uid == is.Uid && was.Gid == is.Gid {
		return nil
	}
	if err := temp.Chown(int(was.Uid), int(was.Gid)); err != nil {
		return fmt.Errorf("%w: %w", errOwner, err)
	}
	return nil
}
