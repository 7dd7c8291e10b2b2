package client

import (
	"bytes"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/sa-exec-credential/sa-exec-credential/internal/execcred"
)

const (
	// maxWrappers is how many scripts may stand between a client and this program.
	maxWrappers = 16
	// maxEnviron bounds what is read of another process's environment, in bytes. Linux lets no
	// process be started with more than 6 MiB of arguments and environment (execve(2)).
	maxEnviron = 8 << 20
)

// Find returns the client. A process that was started with exec info is none: the client sets that
// for its plugin, so it is a wrapper, whose environment a kubeconfig has had its hands in, and
// which is another one at each call.
func Find() Process {
	// of the namespace that /proc shows, which need not be getppid's
	parent := stat("self").parent
	pid := parent
	for range maxWrappers {
		environment := environ(pid)
		fields := stat(strconv.Itoa(pid))
		if !slices.ContainsFunc(environment, isExecInfo) {
			return Process{PID: pid, Start: fields.start, Environment: environment}
		}
		if fields.parent < 1 {
			break
		}
		pid = fields.parent
	}
	return Process{PID: parent, Start: stat(strconv.Itoa(parent)).start}
}

func isExecInfo(setting string) bool {
	return strings.HasPrefix(setting, execcred.EnvironmentVariable+"=")
}

// environ is nil when it cannot be read, or not as a whole: exec info may be at its end (proc(5),
// /proc/pid/environ).
func environ(pid int) []string {
	file, err := os.Open("/proc/" + strconv.Itoa(pid) + "/environ")
	if err != nil {
		return nil
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxEnviron))
	if err != nil || len(data) == maxEnviron {
		return nil
	}
	return strings.Split(string(data), "\x00")
}

// status is a part of /proc/pid/stat.
type status struct {
	parent int
	start  uint64 // in clock ticks since boot
}

// The indexes of ppid and starttime among the fields after the command's name (proc(5): fields 4
// and 22).
const (
	parentField = 1
	startField  = 19
)

// stat is the zero value when it cannot be read.
func stat(pid string) (s status) {
	line, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return s
	}
	// The command's name may itself hold spaces and parentheses; what follows the last one is
	// plain.
	fields := bytes.Fields(line[bytes.LastIndexByte(line, ')')+1:])
	if len(fields) <= startField {
		return s
	}
	s.parent, _ = strconv.Atoi(string(fields[parentField]))
	s.start, _ = strconv.ParseUint(string(fields[startField]), 10, 64)
	return s
}
