package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/files"
)

// ErrNoTarget is a directory that a program cannot be copied into.
var ErrNoTarget = errors.New("cannot copy this program there")

const (
	programMode fs.FileMode = 0o755
	// copyLimit bounds the wait for another copy into the same directory.
	copyLimit = time.Minute
)

// CopyProgram copies this program into a directory that exists, under its own name and in the place
// of an older one, and returns its path there. The program for hits goes along where it lies beside
// this one. What it returns otherwise is an ErrNoTarget.
func CopyProgram(ctx context.Context, dir string) (path string, err error) {
	defer func() {
		if err != nil {
			path, err = "", fmt.Errorf("%w: %w", ErrNoTarget, err)
		}
	}()
	self, err := os.Executable()
	if err != nil {
		return "", err
	}
	if dir, err = filepath.Abs(dir); err != nil {
		return "", err
	}
	if info, err := os.Stat(dir); err != nil {
		return "", err
	} else if !info.IsDir() {
		return "", fmt.Errorf("%q is not a directory", dir)
	}
	ctx, cancel := context.WithTimeout(ctx, copyLimit)
	defer cancel()
	if path, err = copyInto(ctx, dir, self); err != nil {
		return "", err
	}
	if quick := quickBeside(self); quick != self {
		_, err = copyInto(ctx, dir, quick)
	}
	return path, err
}

func copyInto(ctx context.Context, dir, program string) (path string, err error) {
	path = filepath.Join(dir, filepath.Base(program))
	release, err := files.Guard(ctx, path) // clears away what a copy that was killed has left
	if err != nil {
		return "", err
	}
	defer release()
	return path, files.Copy(program, path, programMode)
}
