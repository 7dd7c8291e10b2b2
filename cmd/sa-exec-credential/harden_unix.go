//go:build unix

package main

import "golang.org/x/sys/unix"

// harden keeps the process's memory, in which tokens are for some milliseconds, out of core dumps.
func harden() {
	_ = unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{})
	hardenFurther()
}
