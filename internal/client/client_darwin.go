package client

import (
	"os"

	"golang.org/x/sys/unix"
)

// Find returns the process that runs this one; Start is in microseconds.
func Find() Process {
	pid := os.Getppid()
	info, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return Process{PID: pid}
	}
	return Process{PID: pid,
		Start: uint64(info.Proc.P_starttime.Sec)*1e6 + uint64(info.Proc.P_starttime.Usec)}
}
