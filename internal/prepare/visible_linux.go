package prepare

import "golang.org/x/sys/unix"

// showEnvironment lets the plugin that the proof runs see what this process was started with, as
// it sees that of kubectl: from a hardened process the kernel hides it together with the memory.
// Core dumps stay forbidden.
func showEnvironment() { _ = unix.Prctl(unix.PR_SET_DUMPABLE, 1, 0, 0, 0) }
