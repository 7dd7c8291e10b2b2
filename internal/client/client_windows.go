package client

import (
	"os"

	"golang.org/x/sys/windows"
)

// Find returns the process that runs this one; Start is in units of 100 ns.
func Find() Process {
	pid := os.Getppid()
	process, err := windows.OpenProcess(windows.PROCESS_QUERY_LIMITED_INFORMATION, false,
		uint32(pid))
	if err != nil {
		return Process{PID: pid}
	}
	defer func() { _ = windows.CloseHandle(process) }()
	var created, exited, kernel, user windows.Filetime
	if err := windows.GetProcessTimes(process, &created, &exited, &kernel, &user); err != nil {
		return Process{PID: pid}
	}
	return Process{PID: pid, Start: uint64(created.HighDateTime)<<32 | uint64(created.LowDateTime)}
}
