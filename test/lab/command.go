//go:build linux

package e2e_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// killAfter is when a program is taken to hang. No program under test should need half of it, also on a busy machine.
const killAfter = time.Minute

// command is a program to run. Its environment is env and nothing else.
type command struct {
	args  []string
	env   []string
	stdin string
	// printsToken says that its standard output is where a token belongs. Nowhere else may one be.
	printsToken bool
}

// result is a command that has ended.
type result struct {
	command
	stdout, stderr string
	code           int
}

// record is all that was run, for the search in the end.
type record struct {
	mu      sync.Mutex
	results []result
	seen    map[string]bool // what the watcher saw of processes
}

func (r *record) add(result result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.results = append(r.results, result)
}

// run runs the command to its end. One that hangs is killed and fails the test.
func (c command) run(t *testing.T) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), killAfter)
	defer cancel()
	cmd := exec.CommandContext(ctx, c.args[0], c.args[1:]...)
	cmd.Env = c.env
	cmd.Stdin = strings.NewReader(c.stdin)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) } // what it has started, too
	cmd.WaitDelay = 5 * time.Second
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	r := result{command: c, stdout: stdout.String(), stderr: stderr.String(), code: cmd.ProcessState.ExitCode()}
	shared.seen.add(r)
	if c.printsToken {
		shared.secrets.note(r.stdout)
	}
	if exit := (*exec.ExitError)(nil); err != nil && !errors.As(err, &exit) || ctx.Err() != nil {
		t.Fatalf("%s: %v\n%s", c, errors.Join(err, ctx.Err()), r.stderr)
	}
	return r
}

// String is the command line.
func (c command) String() string { return strings.Join(c.args, " ") }

// succeeded fails the test unless the command has ended well.
func (r result) succeeded(t *testing.T) result {
	t.Helper()
	if r.code != 0 {
		t.Fatalf("%s: exit code %d\nstdout: %s\nstderr: %s", r, r.code, r.shown(), r.stderr)
	}
	return r
}

// silent fails the test when the command has said anything but its result.
func (r result) silent(t *testing.T) result {
	t.Helper()
	if r.stderr != "" {
		t.Errorf("%s: standard error is not empty:\n%s", r, r.stderr)
	}
	return r
}

// shown is the standard output, unless it holds a token.
func (r result) shown() string {
	if r.printsToken {
		return "(a token)"
	}
	return r.stdout
}

// watcher looks at the command lines and environments of all processes that the tests have started, again and again.
type watcher struct {
	ending chan struct{}
	ended  chan struct{}
}

// watchEvery is often enough to see every kubectl and a part of the calls of the plugin; a test of its own looks at
// every single call.
const watchEvery = 50 * time.Millisecond

func (w *world) watch() *watcher {
	w.seen.seen = map[string]bool{}
	watcher := &watcher{ending: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(watcher.ended)
		tick := time.NewTicker(watchEvery)
		defer tick.Stop()
		for {
			w.seen.lookAtProcesses()
			select {
			case <-watcher.ending:
				return
			case <-tick.C:
			}
		}
	}()
	return watcher
}

func (w *watcher) stop() {
	close(w.ending)
	<-w.ended
}

func (r *record) lookAtProcesses() {
	parents := parents()
	for pid := range parents {
		if !descends(pid, parents) {
			continue
		}
		for _, file := range []string{"cmdline", "environ"} {
			// What cannot be read has ended meanwhile, or keeps its environment to itself, as the plugin does.
			if data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid, file)); err == nil {
				r.mu.Lock()
				r.seen[string(data)] = true
				r.mu.Unlock()
			}
		}
	}
}

// parents are the parents of all processes.
func parents() map[int]int {
	parents := map[int]int{}
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil {
			continue
		}
		// proc(5): the name, in parentheses, the state, the parent. The name may hold anything.
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) > 1 {
			parents[pid], _ = strconv.Atoi(string(fields[1]))
		}
	}
	return parents
}

// descends reports whether a process has this one among its ancestors.
func descends(pid int, parents map[int]int) bool {
	for range len(parents) {
		if pid = parents[pid]; pid == os.Getpid() {
			return true
		}
	}
	return false
}
