//go:build linux

package lab

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
)

// Terminal is a program that has a pseudo-terminal for itself, and what is on its screen.
type Terminal struct {
	Command
	Screen Buffer // as it is written, with what a terminal obeys

	t     *testing.T
	cmd   *exec.Cmd
	file  *os.File
	ended chan struct{}
}

// InTerminal starts the command in a terminal of so many columns, which shows colours.
func (c Command) InTerminal(t *testing.T, columns int) *Terminal {
	t.Helper()
	s := &Terminal{Command: c, t: t, cmd: exec.Command(c.Args[0], c.Args[1:]...),
		ended: make(chan struct{})}
	s.cmd.Dir = c.Dir
	s.cmd.Env = append([]string{"TERM=xterm-256color"}, c.Env...)
	file, err := pty.StartWithSize(s.cmd, &pty.Winsize{Rows: 50, Cols: uint16(columns)})
	if err != nil {
		t.Fatal(err)
	}
	s.file = file
	hangs := time.AfterFunc(Limit, func() { _ = s.cmd.Process.Kill() })
	go func() { // up to EIO, which is what a terminal without programs answers
		defer close(s.ended)
		defer hangs.Stop()
		data := make([]byte, 1<<12)
		for {
			n, err := file.Read(data)
			_, _ = s.Screen.Write(data[:n])
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = s.cmd.Process.Kill()
		_ = file.Close()
	})
	return s
}

// See waits for a text on the screen.
func (s *Terminal) See(text string) {
	s.t.Helper()
	Eventually(s.t, "the terminal shows "+text, func() bool {
		return strings.Contains(s.Screen.String(), text)
	})
}

// Type presses keys.
func (s *Terminal) Type(keys string) {
	s.t.Helper()
	if _, err := s.file.WriteString(keys); err != nil {
		s.t.Fatal(err)
	}
}

// HasEnded reports whether the screen is complete.
func (s *Terminal) HasEnded() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// End waits for the program's end. What was on the screen is the result's standard output, with
// the ends of lines that a program writes.
func (s *Terminal) End() Result {
	s.t.Helper()
	<-s.ended
	err := s.cmd.Wait()
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	r := Result{Command: s.Command, T: s.t, Code: s.cmd.ProcessState.ExitCode(),
		Stdout: strings.ReplaceAll(s.Screen.String(), "\r\n", "\n")}
	shared.seen.add(r)
	return r
}

// InTerminal starts the program under test in a terminal of so many columns.
func (m *Machine) InTerminal(columns int, args ...string) *Terminal {
	m.Helper()
	return m.plugin(args...).InTerminal(m.T, columns)
}
