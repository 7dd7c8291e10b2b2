package bootstrap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

// CommandLimit bounds a bootstrap command. It leaves time to touch a security key.
const CommandLimit = 20 * time.Second

// pipeLimit is how long a command's pipes may stay open after it has ended, because of a child that it left behind.
const pipeLimit = 500 * time.Millisecond

// fromCommand runs the command that the user agreed to at setup, with the environment of then and no shell. What it
// says on standard error is dropped: a full-screen client would be smeared, and it may name secrets.
func fromCommand(ctx context.Context, b profile.Bootstrap, within string) (secret.String, error) {
	ctx, cancel := context.WithTimeout(ctx, CommandLimit)
	defer cancel()
	name := b.Command[0]
	output := &boundedBuffer{limit: secret.MaxToken + 1}
	command := exec.CommandContext(ctx, name, b.Command[1:]...)
	command.Env = append(Environment(b), within)
	command.Dir = "/"
	command.Stdout = output
	command.WaitDelay = pipeLimit
	endWithChildren(command)
	err := command.Run()
	if errors.Is(err, exec.ErrWaitDelay) {
		err = nil // the command itself is done; a child that it left behind is not waited for
	}
	switch {
	case ctx.Err() != nil:
		return secret.String{}, fmt.Errorf("%w: %q took longer than %v", ErrSource, name, CommandLimit)
	case err != nil:
		return secret.String{}, fmt.Errorf("%w: running %q: %s", ErrSource, name, commandProblem(err))
	}
	return clean(output.String(), fmt.Sprintf("the output of %q", name))
}

func commandProblem(err error) string {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ProcessState.String()
	}
	line, _, _ := strings.Cut(err.Error(), "\n")
	return line
}

// Environment is what programs that a bootstrap source runs get to see: what the profile holds and nothing of this
// process's own, which the calling kubeconfig may have forged.
func Environment(b profile.Bootstrap) []string {
	list := make([]string, 0, len(b.Environment))
	for name, value := range b.Environment {
		list = append(list, name+"="+value)
	}
	slices.Sort(list)
	return list
}

// boundedBuffer keeps the first limit bytes and passes over the rest, so that a command that never stops printing
// costs no memory.
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
