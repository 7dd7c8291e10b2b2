//go:build !linux && !darwin && !windows

package cache

import "os"

// Parent returns the process that runs this one.
func Parent() Caller { return Caller{PID: os.Getppid()} }
