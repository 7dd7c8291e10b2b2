package cache

import (
	"os"

	"golang.org/x/sys/unix"
)

// Parent returns the process that runs this one; Start is in microseconds.
func Parent() Caller {
	pid := os.Getppid()
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return Caller{PID: pid}
	}
	return Caller{PID: pid, Start: uint64(info.Proc.P_starttime.Sec)*1e6 + uint64(info.Proc.P_starttime.Usec)}
}
