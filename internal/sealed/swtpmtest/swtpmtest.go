//go:build linux

// Package swtpmtest starts TPM 2.0 simulators (swtpm) for tests.
package swtpmtest

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"time"
)

// TPM is a simulator, its state and its socket.
type TPM struct {
	Socket string
	state  string
	ended  chan error // of the process that runs; nil when none does
	cmd    *exec.Cmd
}

// startLimit bounds the wait for a simulator.
const startLimit = 30 * time.Second

// Start starts a simulator that has never been used. Its socket is in dir, the path of which has to
// be short.
func Start(dir string) (*TPM, error) {
	t := &TPM{Socket: filepath.Join(dir, "tpm.sock"), state: filepath.Join(dir, "tpm")}
	return t, t.Replace()
}

// Place is how the program is told where the simulator is.
func (t *TPM) Place() string { return "unix:" + t.Socket }

// Stop ends the simulator and leaves its state.
func (t *TPM) Stop() {
	if t.ended == nil {
		return
	}
	_ = t.cmd.Process.Kill()
	<-t.ended
	t.ended = nil
	_ = os.Remove(t.Socket)
}

// Restart is what a restart of the machine does to its TPM.
func (t *TPM) Restart() error {
	t.Stop()
	return t.run()
}

// Replace puts another TPM in the place of this one.
func (t *TPM) Replace() error {
	t.Stop()
	if err := errors.Join(os.RemoveAll(t.state), os.MkdirAll(t.state, 0o700)); err != nil {
		return err
	}
	return t.run()
}

func (t *TPM) run() error {
	cmd := exec.Command("swtpm", "socket", "--tpm2", "--tpmstate", "dir="+t.state,
		"--server", "type=unixio,mode=0666,path="+t.Socket, "--flags", "not-need-init,startup-clear")
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started, ended := make(chan error, 1), make(chan error, 1)
	go func() {
		runtime.LockOSThread() // Pdeathsig is about the thread
		err := cmd.Start()
		started <- err
		if err == nil {
			ended <- cmd.Wait()
		}
	}()
	if err := <-started; err != nil {
		return fmt.Errorf("this test needs the package swtpm: %w", err)
	}
	t.cmd, t.ended = cmd, ended
	for deadline := time.Now().Add(startLimit); ; time.Sleep(5 * time.Millisecond) {
		conn, err := net.Dial("unix", t.Socket)
		if err == nil {
			return conn.Close()
		}
		select {
		case <-ended:
			t.ended = nil
			return fmt.Errorf("swtpm has ended: %s", said.String())
		default:
		}
		if time.Now().After(deadline) {
			t.Stop()
			return fmt.Errorf("swtpm does not answer: %w", err)
		}
	}
}
