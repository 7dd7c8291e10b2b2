package controlplane

import "syscall"

// childAttributes keep Ctrl-C in a terminal from reaching the children before
// us, and end them when we are killed without a chance to do it ourselves.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
