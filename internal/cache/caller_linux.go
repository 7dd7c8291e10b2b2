package cache

import (
	"bytes"
	"os"
	"strconv"
)

// startField is the index of starttime among the fields after the command's name in /proc/PID/stat (proc(5): field 22,
// in clock ticks since boot).
const startField = 19

// Parent returns the process that runs this one.
func Parent() Caller {
	pid := os.Getppid()
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return Caller{PID: pid}
	}
	// The command's name may itself hold spaces and parentheses; what follows the last one is plain.
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
	if len(fields) <= startField {
		return Caller{PID: pid}
	}
	start, _ := strconv.ParseUint(string(fields[startField]), 10, 64)
	return Caller{PID: pid, Start: start}
}
