//go:build unix

package host

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// CheckDescriptors makes sure that a file can be opened. Go's runtime needs two more files for
// the first one, and without them ends the program with a stack trace.
func CheckDescriptors() error {
	for range 3 {
		fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			return fmt.Errorf("opening files: %w", err)
		}
		defer unix.Close(fd)
	}
	return nil
}
