//go:build linux

package lab

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// EndedBySignal is the exit code that os/exec has for a process that a signal has ended.
const EndedBySignal = -1

// Command is a program to run. Its environment is Env and nothing else.
type Command struct {
	Args  []string
	Env   []string
	Dir   string
	Stdin string
	// PrintsToken says that its standard output is where a token belongs. Nowhere else may
	// one be.
	PrintsToken bool
	// Heard is called each time that it has said something on standard error.
	Heard func(*Started)
}

// Result is a command that has ended.
type Result struct {
	Command
	T              *testing.T
	Stdout, Stderr string
	Code           int
}

// String is the command line.
func (c Command) String() string { return strings.Join(c.Args, " ") }

// Run runs the command to its end. One that hangs is killed and fails the test.
func (c Command) Run(t *testing.T) Result {
	t.Helper()
	return c.Start(t).End()
}

// Started is a command that a test does something to while it runs.
type Started struct {
	Command
	Stdout, Stderr Buffer

	t     *testing.T
	cmd   *exec.Cmd
	hangs *time.Timer
}

// Start starts the command, with what it starts in a process group of their own.
func (c Command) Start(t *testing.T) *Started {
	t.Helper()
	cmd := exec.Command(c.Args[0], c.Args[1:]...)
	cmd.Env, cmd.Dir, cmd.Stdin = c.Env, c.Dir, strings.NewReader(c.Stdin)
	return start(t, c, cmd)
}

// Adopt starts a command that is more than a Command, and treats it as one.
func Adopt(t *testing.T, cmd *exec.Cmd) *Started {
	t.Helper()
	return start(t, Command{Args: cmd.Args, Env: cmd.Env}, cmd)
}

// AdoptFor is Adopt for a command that takes so long by itself.
func AdoptFor(t *testing.T, cmd *exec.Cmd, lasts time.Duration) *Started {
	t.Helper()
	s := Adopt(t, cmd)
	s.hangs.Reset(lasts + Limit)
	return s
}

func start(t *testing.T, c Command, cmd *exec.Cmd) *Started {
	t.Helper()
	s := &Started{Command: c, t: t, cmd: cmd}
	if c.Heard != nil {
		s.Stderr.heard = func() { c.Heard(s) }
	}
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Setpgid = true
	cmd.WaitDelay = Limit / 4 // what it has started can hold the pipes
	cmd.Stdout, cmd.Stderr = &s.Stdout, &s.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.hangs = time.AfterFunc(Limit, s.killAll)
	t.Cleanup(func() {
		if cmd.ProcessState == nil { // the test was over before End
			s.killAll()
			_ = cmd.Wait()
		}
	})
	return s
}

// killAll kills the command and what it has started.
func (s *Started) killAll() { _ = syscall.Kill(-s.PID(), syscall.SIGKILL) }

// PID is the id of the command's process.
func (s *Started) PID() int { return s.cmd.Process.Pid }

// Child is the process id of what a shell that was started runs, or 0 when the shell has ended.
func (s *Started) Child() (pid int) {
	for pid == 0 {
		// Of one that has ended there is no command line (proc(5)).
		if line, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline",
			s.PID())); len(line) == 0 {
			return 0
		}
		children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%[1]d/children", s.PID()))
		_, _ = fmt.Sscan(string(children), &pid)
	}
	return pid
}

// Signal does nothing to a command that has ended.
func (s *Started) Signal(signal syscall.Signal) { _ = s.cmd.Process.Signal(signal) }

// DumpedCore reports whether the command, which has ended, has dumped core.
func (s *Started) DumpedCore() bool {
	return s.cmd.ProcessState.Sys().(syscall.WaitStatus).CoreDump()
}

// End waits for the command's end, and has all that it said searched when the tests are over.
func (s *Started) End() Result {
	s.t.Helper()
	err := s.cmd.Wait()
	r := Result{Command: s.Command, T: s.t, Stdout: s.Stdout.String(),
		Stderr: s.Stderr.String(),
		Code:   s.cmd.ProcessState.ExitCode()}
	shared.seen.add(r)
	if s.PrintsToken {
		shared.tokens.note(r.Stdout)
	}
	if !s.hangs.Stop() {
		s.t.Fatalf("%s hung\n%s", s, r.Stderr)
	}
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) {
		s.t.Fatalf("%s: %v\n%s", s, err, r.Stderr)
	}
	return r
}

// Succeeds fails the test unless the command has ended well.
func (r Result) Succeeds() Result {
	r.T.Helper()
	if r.Code != 0 {
		r.T.Fatalf("%s: exit code %d\nstdout: %s\nstderr: %s", r, r.Code, r.Shown(),
			r.Stderr)
	}
	return r
}

// Silent fails the test when the command has said anything but its result.
func (r Result) Silent() Result {
	r.T.Helper()
	if r.Stderr != "" {
		r.T.Errorf("%s: standard error is not empty:\n%s", r, r.Stderr)
	}
	return r
}

// Fails expects an exit code and words on standard error, and nothing on standard output.
func (r Result) Fails(code int, words ...string) Result {
	r.T.Helper()
	if r.Code != code {
		r.T.Errorf("%s: exit code %d, not %d\n%s\n%s", r, r.Code, code, r.Shown(), r.Stderr)
	}
	if r.Stdout != "" {
		r.T.Errorf("%s: it failed and printed\n%s", r, r.Shown())
	}
	Has(r.T, r.String(), r.Stderr, words...)
	return r
}

// OneError expects a failure that says what is wrong on one line, and on another what to do.
func (r Result) OneError(code int, words ...string) Result {
	r.T.Helper()
	r.Fails(code, words...)
	kinds := []string{}
	for line := range strings.Lines(r.Stderr) {
		kind, _ := strings.CutPrefix(line, "sa-exec-credential: ")
		kind, _, _ = strings.Cut(kind, ":")
		kinds = append(kinds, kind)
	}
	if !slices.Equal(kinds, []string{"error", "hint"}) {
		r.T.Errorf("%s: not one error and one hint:\n%s", r, r.Stderr)
	}
	return r
}

// Shown is the standard output, unless it holds a token.
func (r Result) Shown() string {
	if r.PrintsToken {
		return "(a token)"
	}
	return r.Stdout
}

// Has fails the test unless text holds every part.
func Has(t *testing.T, what, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s does not say %q:\n%s", what, part, text)
		}
	}
}

// Buffer is a bytes.Buffer that can be read while it is written to.
type Buffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
	heard  func()
}

// Write implements io.Writer.
func (b *Buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	b.buffer.Write(p)
	b.mu.Unlock()
	if b.heard != nil {
		b.heard()
	}
	return len(p), nil
}

// String returns what has been written.
func (b *Buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}
