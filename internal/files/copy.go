package files

import (
	"io"
	"io/fs"
	"os"
)

// Copy is Replace with the content of another regular file, also one of another file system. Who
// has the old file open, or runs it, keeps it.
func Copy(from, path string, mode fs.FileMode) error {
	source, err := os.Open(from)
	if err != nil {
		return err
	}
	defer source.Close()
	content := func(_ string, temp *os.File) error {
		_, err := io.Copy(temp, source)
		return err
	}
	return replace(path, nil, mode, content, (*os.File).Chmod)
}
