package files

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// errOwner is a file whose owner and group a new one cannot get.
var errOwner = errors.New("the owner cannot be kept")

// Rewrite is Replace for a file that others have made: it keeps its mode, owner and group. Where it
// cannot be replaced at once, because it is a mount of its own, or lies in a directory that
// cannot be written to, or belongs to somebody else, it is written in place; what it held is kept
// in a copy until the new content is whole, and an error names the copy. A file system that keeps
// no modes is no reason not to write.
func Rewrite(path string, data []byte) error {
	err := replace(path, data, 0, keepOwner, chmodIfKept)
	if _, missing := os.Lstat(path); missing != nil || !needsPlace(err) {
		return err
	}
	return writeInPlace(path, data)
}

// chmodIfKept is for a file that this process has created: a refusal is the file system's.
func chmodIfKept(file *os.File, mode fs.FileMode) error {
	if err := file.Chmod(mode); !errors.Is(err, fs.ErrPermission) {
		return err
	}
	return nil
}

func needsPlace(err error) bool {
	return errors.Is(err, errOwner) || errors.Is(err, syscall.EBUSY) ||
		errors.Is(err, syscall.EXDEV) || errors.Is(err, syscall.EROFS) ||
		errors.Is(err, fs.ErrPermission)
}

func writeInPlace(path string, data []byte) (err error) {
	old, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	kept, err := keepCopy(path, old)
	if err != nil {
		return err
	}
	err = overwrite(file, data)
	if err != nil {
		return fmt.Errorf("%w; what it held is in %q", err, kept)
	}
	return os.Remove(kept)
}

func overwrite(file *os.File, data []byte) error {
	if _, err := file.WriteAt(data, 0); err != nil {
		return err
	}
	if err := file.Truncate(int64(len(data))); err != nil {
		return err
	}
	return file.Sync()
}

// keepCopy writes a copy beside a file, or where nothing can be created there, among the temporary
// files.
func keepCopy(path string, data []byte) (kept string, err error) {
	pattern := filepath.Base(path) + ".*.old"
	file, err := os.CreateTemp(filepath.Dir(path), pattern)
	if err != nil {
		file, err = os.CreateTemp("", pattern)
	}
	if err != nil {
		return "", err
	}
	return file.Name(), writeSynced(file, data, PrivateFile, chmodIfKept)
}
