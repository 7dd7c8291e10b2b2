package host

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// inMemory is the path of a file that has no name and is in memory only: a kubeconfig can hold
// secrets. No other program of this process's gets it.
func inMemory(data []byte) (path string, err error) {
	fd, err := unix.MemfdCreate("kubeconfig", unix.MFD_CLOEXEC)
	if err != nil {
		return "", err
	}
	for rest := data; len(rest) > 0; {
		n, err := unix.Write(fd, rest)
		if err != nil {
			return "", err
		}
		rest = rest[n:]
	}
	return fmt.Sprintf("/proc/self/fd/%d", fd), nil
}
