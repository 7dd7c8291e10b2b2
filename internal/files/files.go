// Package files reads and replaces the small files that decide what this program does. Replacing is
// atomic, so a kill at any moment leaves the old file or the new one; reading refuses what somebody
// else could have written.
//
// It imports nothing of this module.
package files

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Modes of what this program creates, whatever the umask says.
const (
	PrivateFile fs.FileMode = 0o600
	PrivateDir  fs.FileMode = 0o700
)

// tempSuffix ends the names of files that become others by a rename.
const tempSuffix = ".tmp"

// ErrUntrusted is wrapped by errors about files that another user could have written, or that are
// no regular files.
var ErrUntrusted = errors.New("file is not trusted")

// ErrNoModes is a file system that keeps no owners and modes, as those of Windows drives do (drvfs,
// vfat): chmod is refused there, or does nothing, and others can write to what is created.
var ErrNoModes = errors.New("the file system keeps no owners and modes")

// CreatePrivateDir creates path with mode 0700, in a directory that exists and that every user
// cannot write to. One that is there already is left as it is. It is an ErrUntrusted when path, or
// the directory that it would be created in, belongs to another user, when others can write to it,
// or when it is no directory, and an ErrNoModes when that is what the file system is like.
func CreatePrivateDir(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return createIn(filepath.Dir(path), path)
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%w: %q is not a directory", ErrUntrusted, path)
	}
	return explained(path, checkPrivate(path, info))
}

// explained is an ErrNoModes in the place of an error about a directory's mode, where no mode of
// it could be another.
func explained(dir string, err error) error {
	if err == nil {
		return nil
	}
	return cmp.Or(CheckModes(dir), err)
}

func createIn(base, path string) error {
	info, err := statOwn(base)
	if err != nil {
		return err
	}
	if err := explained(base, checkShared(base, info)); err != nil {
		return err
	}
	err = os.Mkdir(path, PrivateDir)
	if errors.Is(err, fs.ErrExist) {
		return CreatePrivateDir(path) // another process was quicker
	}
	if err != nil {
		return err
	}
	if err := setMode(path, PrivateDir); err != nil { // whatever the umask says
		_ = os.Remove(path)
		return err
	}
	return nil
}

// setMode is an ErrNoModes where what this process has just created cannot have a mode.
func setMode(path string, mode fs.FileMode) error {
	if kept, err := keepsMode(path, mode); !kept && err != nil {
		return noModes(path, err)
	} else if err != nil {
		return err
	}
	return nil
}

// keepsMode sets a mode, and reports whether it is there then; if not, the error says why.
func keepsMode(path string, mode fs.FileMode) (kept bool, err error) {
	err = os.Chmod(path, mode)
	if errors.Is(err, fs.ErrPermission) || errors.Is(err, errors.ErrUnsupported) {
		return false, err
	}
	if err != nil {
		return true, err
	}
	info, err := os.Lstat(path)
	if err == nil && !hasMode(info, mode) {
		return false, fmt.Errorf("mode %04o instead of %04o", info.Mode().Perm(), mode)
	}
	return true, err
}

// noModes is an ErrNoModes at a path.
func noModes(path string, err error) error {
	var refused *fs.PathError
	if errors.As(err, &refused) {
		err = refused.Err
	}
	return fmt.Errorf("%w: %q: %w", ErrNoModes, path, err)
}

// CheckModes is an ErrNoModes when a file in a directory, or in the nearest one above it that
// exists, would keep no mode. It creates one for that, and removes it.
func CheckModes(dir string) error {
	for {
		_, err := os.Stat(dir)
		if !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			break
		}
		dir = filepath.Dir(dir)
	}
	file, err := os.CreateTemp(dir, ".*"+tempSuffix)
	if err != nil {
		return nil // that is for whoever wants to write there
	}
	defer os.Remove(file.Name())
	_ = file.Close()
	if kept, err := keepsMode(file.Name(), PrivateFile); !kept {
		return noModes(dir, err)
	}
	return nil
}

// CreateBelow creates the directories of a path below one that exists, where they are missing, with
// mode 0700, as other programs do with those in the home directory.
func CreateBelow(existing string, names ...string) error {
	if info, err := os.Stat(existing); err != nil {
		return err
	} else if !info.IsDir() {
		return fmt.Errorf("%w: %q is not a directory", ErrUntrusted, existing)
	}
	return os.MkdirAll(filepath.Join(append([]string{existing}, names...)...), PrivateDir)
}

// CheckOwner is an ErrUntrusted when what info describes belongs to another user than this one or
// root.
func CheckOwner(path string, info fs.FileInfo) error { return checkOwner(path, info) }

// CheckDir is an ErrUntrusted when path is a directory that another user owns or can write to.
// It can be a symbolic link, but not another user's.
func CheckDir(path string) error {
	info, err := statOwn(path)
	if err != nil {
		return err
	}
	return checkPrivate(path, info)
}

// statOwn describes a directory, also one that a link leads to if that is not another user's.
func statOwn(path string) (fs.FileInfo, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode()&fs.ModeSymlink != 0 {
		if err := checkOwner(path, info); err != nil {
			return nil, err
		}
		if info, err = os.Stat(path); err != nil {
			return nil, err
		}
	}
	if !info.IsDir() {
		return nil, fmt.Errorf("%w: %q is not a directory", ErrUntrusted, path)
	}
	return info, nil
}

// ReadTrusted reads a regular file that nobody but its owner, the current user or root, can write
// to. At most limit bytes are read; a longer file is an error. The checks are made on the open
// file, so nobody can exchange it between check and use.
func ReadTrusted(path string, limit int64) ([]byte, error) {
	if info, err := os.Lstat(path); err != nil {
		return nil, err
	} else if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %q is not a regular file", ErrUntrusted, path)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %q is not a regular file", ErrUntrusted, path)
	}
	if err := checkPrivate(path, info); err != nil {
		return nil, err
	}
	return readAtMost(file, path, limit)
}

func readAtMost(r io.Reader, path string, limit int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%q is longer than %d bytes", path, limit)
	}
	return data, nil
}

// CheckWritable is an error when no file can be created in a directory. It leaves none.
func CheckWritable(dir string) error {
	temp, err := os.CreateTemp(dir, ".*"+tempSuffix)
	if err != nil {
		return err
	}
	return errors.Join(temp.Close(), os.Remove(temp.Name()))
}

// Replace writes data to path through a temporary file in the same directory, synced and renamed
// over path. An existing path must be a regular file; it keeps its mode when mode is 0, and a new
// one then gets 0600.
func Replace(path string, data []byte, mode fs.FileMode) error {
	asIs := func(string, *os.File) error { return nil }
	return replace(path, data, mode, asIs, (*os.File).Chmod)
}

// replace lets adapt change the new file before it takes the place of the old one. chmod sets its
// mode.
func replace(path string, data []byte, mode fs.FileMode,
	adapt func(path string, temp *os.File) error, chmod func(*os.File, fs.FileMode) error,
) (err error) {
	mode, err = modeOf(path, mode)
	if err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*"+tempSuffix)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = temp.Close()
			_ = os.Remove(temp.Name())
		}
	}()
	if err := adapt(path, temp); err != nil {
		return err
	}
	if err := writeSynced(temp, data, mode, chmod); err != nil {
		return err
	}
	if err := os.Rename(temp.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func modeOf(path string, mode fs.FileMode) (fs.FileMode, error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if mode == 0 {
			mode = PrivateFile
		}
		return mode, nil
	case err != nil:
		return 0, err
	case !info.Mode().IsRegular():
		return 0, fmt.Errorf("%w: %q is not a regular file", ErrUntrusted, path)
	case mode == 0:
		return info.Mode().Perm(), nil
	}
	return mode, nil
}

func writeSynced(file *os.File, data []byte, mode fs.FileMode,
	chmod func(*os.File, fs.FileMode) error) error {
	// CreateTemp created it with 0600: nobody reads it before its final mode is set on purpose.
	switch err := chmod(file, mode); {
	case errors.Is(err, fs.ErrPermission):
		return noModes(file.Name(), err)
	case err != nil && !errors.Is(err, errors.ErrUnsupported):
		return err
	}
	if _, err := file.Write(data); err != nil {
		return err
	}
	if err := file.Sync(); err != nil {
		return err
	}
	return file.Close()
}

// ReadMounted reads at most limit bytes of a regular file that may be reached through links, as
// kubelet's mounts are. Whoever could have written it is not looked at.
func ReadMounted(path string, limit int64) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%q is not a regular file", path)
	}
	return readAtMost(file, path, limit)
}

// Remove deletes a file, so that it stays deleted after a power cut. One that is not there is no
// error.
func Remove(path string) error {
	err := os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}
