//go:build unix

package host

import "golang.org/x/sys/unix"

// Harden keeps the process's memory, in which tokens are for some milliseconds, out of core dumps.
func Harden() {
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	hardenFurther()
}
