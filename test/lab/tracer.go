//go:build linux && amd64

package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// Tracer runs a program and interrupts it at one of its writes, to files or to a store: it kills
// the process before the system does what was asked, or has the system call fail.
//
// strace can do the same, but counts the calls of each thread by itself, and a Go program goes on
// now in this thread and now in that.
type Tracer struct {
	At    int        // the number of the write, from 1
	Fault unix.Errno // 0: the process is killed
	// Only are the system calls that the fault can come from; empty: all.
	Only []string
	seen int
	What string // the system call that was struck, empty: none was

	pid     int
	files   map[int]bool                // descriptors of files that were opened for writing
	buses   map[int]bool                // descriptors of Unix sockets: of the Secret Service
	pending map[int]*syscall.PtraceRegs // system calls that were entered, by thread
	failing map[int]bool                // those of them that are made to fail
}

const (
	syscallStop = unix.SIGTRAP | 0x80
	dead        = ^uint64(0) // the number of no system call
)

// Run returns when the program has ended, and an error unless that was well.
func (tr *Tracer) Run(c Command) error {
	result := make(chan error)
	go func() {
		// never unlocked: who traces is one thread, which ends with the goroutine
		runtime.LockOSThread()
		result <- tr.trace(c)
	}()
	return <-result
}

func (tr *Tracer) trace(c Command) error {
	// A file and not a pipe: nobody has to wait for the process but this. It stays, to be
	// searched.
	output, err := os.CreateTemp(c.Dir, "output")
	if err != nil {
		return err
	}
	defer output.Close()
	cmd := exec.Command(c.Args[0], c.Args[1:]...)
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = c.Env, c.Dir, output, output
	if c.PrintsToken {
		cmd.Stdout = nil
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{Ptrace: true, Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	defer func() { _ = cmd.Process.Release() }()
	tr.pid = cmd.Process.Pid
	tr.files, tr.buses = map[int]bool{}, map[int]bool{}
	tr.pending, tr.failing = map[int]*syscall.PtraceRegs{}, map[int]bool{}
	status, err := tr.follow()
	if err != nil {
		_ = cmd.Process.Kill()
		return err
	}
	if !status.Exited() || status.ExitStatus() != 0 {
		said, _ := os.ReadFile(output.Name())
		return fmt.Errorf("%s: wait status %#x\n%s", c, int(status), said)
	}
	return nil
}

// follow goes from stop to stop until the process is gone.
func (tr *Tracer) follow() (status unix.WaitStatus, err error) {
	started := false
	for {
		// The group, because this thread may have started other programs, for which
		// others wait.
		tid, err := unix.Wait4(-tr.pid, &status, unix.WALL|unix.WNOTHREAD, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return status, os.NewSyscallError("wait4", err)
		}
		if !status.Stopped() {
			if tid == tr.pid {
				return status, nil
			}
			continue
		}
		if !started {
			started = true
			err = unix.PtraceSetOptions(tid,
				unix.PTRACE_O_TRACESYSGOOD|unix.PTRACE_O_TRACECLONE|unix.PTRACE_O_EXITKILL)
			if err != nil {
				return status, os.NewSyscallError("ptrace", err)
			}
		}
		// A thread that was killed meanwhile is gone: that is reported next.
		if err := unix.PtraceSyscall(tid, tr.stopped(tid, status)); err != nil &&
			!errors.Is(err, unix.ESRCH) {
			return status, os.NewSyscallError("ptrace", err)
		}
	}
}

// stopped deals with a stop, and returns the signal that the thread goes on with.
func (tr *Tracer) stopped(tid int, status unix.WaitStatus) (signal int) {
	switch stop := status.StopSignal(); stop {
	case syscallStop:
		tr.syscall(tid)
		return 0
	case unix.SIGTRAP, unix.SIGSTOP: // the exec, a new thread, and that thread's first stop
		return 0
	default:
		return int(stop)
	}
}

func (tr *Tracer) syscall(tid int) {
	var regs syscall.PtraceRegs
	if err := syscall.PtraceGetRegs(tid, &regs); err != nil {
		return // it was killed
	}
	if entered := tr.pending[tid]; entered != nil {
		delete(tr.pending, tid)
		tr.left(tid, entered, &regs)
		return
	}
	tr.pending[tid] = &regs
	name := tr.writes(&regs)
	if name == "" || len(tr.Only) > 0 && !slices.Contains(tr.Only, name) {
		return
	}
	if tr.seen++; tr.seen != tr.At {
		return
	}
	tr.What = name
	if tr.Fault == 0 {
		_ = unix.Kill(tr.pid, unix.SIGKILL)
		return
	}
	skipped := regs
	skipped.Orig_rax = dead
	tr.failing[tid] = syscall.PtraceSetRegs(tid, &skipped) == nil
}

// left is the other side of a system call: where it fails, or says what a descriptor is for.
func (tr *Tracer) left(tid int, entered, regs *syscall.PtraceRegs) {
	if tr.failing[tid] {
		delete(tr.failing, tid)
		regs.Rax = uint64(-int64(tr.Fault))
		_ = syscall.PtraceSetRegs(tid, regs)
		return
	}
	fd := int(int64(regs.Rax))
	switch {
	case fd < 0:
	case entered.Orig_rax == unix.SYS_OPENAT:
		tr.files[fd], tr.buses[fd] = entered.Rdx&(unix.O_WRONLY|unix.O_RDWR) != 0, false
	case entered.Orig_rax == unix.SYS_SOCKET:
		tr.files[fd], tr.buses[fd] = false, entered.Rdi == unix.AF_UNIX
	}
}

// writes names a system call that changes a file or a store.
func (tr *Tracer) writes(regs *syscall.PtraceRegs) string {
	fd := int(int32(regs.Rdi))
	switch regs.Orig_rax {
	case unix.SYS_OPENAT:
		return only(regs.Rdx&unix.O_CREAT != 0, "openat")
	case unix.SYS_WRITE:
		return only(tr.files[fd], "write")
	case unix.SYS_CONNECT: // each call of the Secret Service is a connection of its own
		return only(tr.buses[fd], "connect")
	case unix.SYS_KEYCTL:
		changes := map[uint64]string{unix.KEYCTL_SETPERM: "setperm",
			unix.KEYCTL_SET_TIMEOUT: "set_timeout",
			unix.KEYCTL_REVOKE:      "revoke", unix.KEYCTL_UNLINK: "unlink"}
		return changes[regs.Rdi]
	}
	return map[uint64]string{unix.SYS_MKDIRAT: "mkdirat", unix.SYS_FCHMOD: "fchmod",
		unix.SYS_FCHMODAT: "fchmodat",
		unix.SYS_FSYNC:    "fsync", unix.SYS_RENAMEAT: "renameat",
		unix.SYS_UNLINKAT: "unlinkat",
		unix.SYS_FLOCK:    "flock", unix.SYS_ADD_KEY: "add_key"}[regs.Orig_rax]
}

func only(yes bool, name string) string {
	if yes {
		return name
	}
	return ""
}
