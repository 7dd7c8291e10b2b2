//go:build unix

package bootstrap

import (
	"os/exec"
	"syscall"
)

// endWithChildren ends the program's whole process group when its time is over.
func endWithChildren(command *exec.Cmd) {
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	command.Cancel = func() error { return syscall.Kill(-command.Process.Pid, syscall.SIGKILL) }
}
