//go:build !linux

package filtertest

import (
	"errors"
	"syscall"
)

// RefuseKeyctl has nothing to refuse here.
func RefuseKeyctl(syscall.Errno) error { return errors.ErrUnsupported }
