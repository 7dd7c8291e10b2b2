package bootstrap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"time"
)

// CommandLimit bounds a program that a source runs. It leaves time to touch a security key.
const CommandLimit = 20 * time.Second

// pipeLimit is how long a program's pipes can stay open after it has ended, because of a child that
// it left behind.
const pipeLimit = 500 * time.Millisecond

// program is what a source runs: in an environment of its own, without a shell, without input, and
// in no directory of the caller's. Its standard error is dropped: a full-screen client would be
// smeared, and it may name secrets.
type program struct {
	path  string
	args  []string
	env   []string // all of it
	limit int      // bytes of output that are kept
}

// run returns what the program printed. Its errors hold nothing of that.
func (p program) run(ctx context.Context) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, CommandLimit)
	defer cancel()
	output := &boundedBuffer{limit: p.limit}
	command := exec.CommandContext(ctx, p.path, p.args...)
	command.Env = p.env
	command.Dir = "/"
	command.Stdout = output
	command.WaitDelay = pipeLimit
	endWithChildren(command)
	err := command.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		// the program itself is done; a child that it left behind is not waited for
		err = nil
	}
	switch {
	case ctx.Err() != nil:
		return "", fmt.Errorf("%q took longer than %v", p.path, CommandLimit)
	case err != nil:
		return "", fmt.Errorf("running %q: %s", p.path, programProblem(err))
	}
	return output.String(), nil
}

func programProblem(err error) string {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ProcessState.String()
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// boundedBuffer keeps the first limit bytes and passes over the rest, so that a program that never
// stops printing costs no memory.
type boundedBuffer struct {
	bytes.Buffer
	limit int
}

// Write implements io.Writer.
func (b *boundedBuffer) Write(p []byte) (int, error) {
	if room := b.limit - b.Len(); room > 0 {
		b.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}
