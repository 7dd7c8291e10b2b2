package yamledit

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/sa-exec-credential/sa-exec-credential/internal/files"
)

// ErrReadOnly is a file that may not be changed, or a directory in which none can be created.
var ErrReadOnly = errors.New("cannot be written to")

// Check is the error that Edit would give for what the files hold now, without writing anything:
// for those who have more to do before.
func Check(paths []string, kind Kind, change func([]*File) error) (err error) {
	defer func() { err = refused(err) }()
	resolved, err := resolveAll(paths)
	if err != nil {
		return err
	}
	all, err := openAll(resolved, kind)
	if err != nil {
		return err
	}
	if err := change(all); err != nil {
		return err
	}
	_, err = encodeAll(all)
	return err
}

// refused gives an error of the operating system's words of this package, and quotes.
func refused(err error) error {
	if errors.Is(err, syscall.ENOTDIR) {
		return fmt.Errorf("%w: %w", ErrReadOnly, Quoted(err))
	}
	return Quoted(err)
}

func openAll(resolved []string, kind Kind) ([]*File, error) {
	all := make([]*File, len(resolved))
	for i, path := range resolved {
		f, err := Open(path, kind)
		if err != nil {
			return nil, err
		}
		all[i] = f
	}
	return all, nil
}

// encodeAll is what is to be written to those files that mean something else now, all of which can
// be written to.
func encodeAll(all []*File) (encoded map[*File][]byte, err error) {
	encoded = map[*File][]byte{}
	for _, f := range all {
		if !f.changed() {
			continue
		}
		if err := checkWritable(f.path); err != nil {
			return nil, err
		}
		if encoded[f], err = f.encode(); err != nil {
			return nil, err
		}
	}
	return encoded, nil
}

// checkWritable respects a file's mode as kubectl does, although a rename would not have to.
func checkWritable(path string) error {
	file, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err == nil {
		return file.Close()
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%q %w: %w", path, ErrReadOnly, errors.Unwrap(err))
	}
	dir := filepath.Dir(path)
	info, err := os.Stat(dir)
	for errors.Is(err, fs.ErrNotExist) && dir != filepath.Dir(dir) {
		dir = filepath.Dir(dir) // what is missing is created
		info, err = os.Stat(dir)
	}
	switch {
	case err != nil:
		return err
	case !info.IsDir():
		return fmt.Errorf("%q is not a directory: %q %w", dir, path, ErrReadOnly)
	}
	if err := files.CheckCreate(dir); err != nil {
		return fmt.Errorf("%q %w: in %q no file can be created: %w", path, ErrReadOnly, dir,
			err)
	}
	return nil
}
