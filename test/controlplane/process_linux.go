package controlplane

import "syscall"

// childAttributes keep Ctrl-C in a terminal from reaching the children before
// us, and end them when we are killed without a chance to do it ourselves.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}

// preferred is the nice value of servers, where it can be given: tests that run beside one another
// all wait for them, and calls of the program under test have deadlines.
const preferred = -10

// prefer has what is started from this thread go first, until it is ended. Who may not do so goes
// without.
func prefer() (end func()) {
	if syscall.Setpriority(syscall.PRIO_PROCESS, syscall.Gettid(), preferred) != nil {
		return func() {}
	}
	return func() { _ = syscall.Setpriority(syscall.PRIO_PROCESS, syscall.Gettid(), 0) }
}
