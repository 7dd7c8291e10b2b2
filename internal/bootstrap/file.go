package bootstrap

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

// fromFile reads a token file. It is read anew each time, because kubelet and others replace it
// while it is in use.
func fromFile(path string) (secret.String, error) {
	// A named pipe would be waited for without end, a device read without end.
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return secret.String{}, fmt.Errorf("%w: %q is not a regular file", ErrSource, path)
	}
	file, err := os.Open(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return secret.String{}, fmt.Errorf("%w: there is no file %q", ErrMissing, path)
	case err != nil:
		return secret.String{}, fmt.Errorf("%w: %q cannot be opened", ErrSource, path)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, secret.MaxToken+1))
	if err != nil {
		return secret.String{}, fmt.Errorf("%w: %q cannot be read", ErrSource, path)
	}
	return clean(string(data), fmt.Sprintf("file %q", path))
}

// Mounted reads the token of the pod that this process runs in.
func Mounted(system System) (secret.String, error) { return fromFile(system.MountedToken) }
