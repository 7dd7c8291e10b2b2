package controlplane

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
)

// program is what a process runs.
type program struct {
	name, path string
	args       []string
	dir        string // its working folder
	log        string // the file for its stdout and stderr, appended to
}

// process is a child that was started and perhaps has ended. A nil process is
// one that was never started.
type process struct {
	program
	cmd  *exec.Cmd
	done chan struct{} // closed when the child has been waited for
}

// ended is closed once the child is gone.
func (p *process) ended() <-chan struct{} {
	if p == nil {
		return nil
	}
	return p.done
}

// kill ends the child and waits for it. It asks for no graceful end, which would
// take the API server seconds: etcd has what was acknowledged, an audit event is
// written before the next thing happens, and the rest is thrown away.
func (p *process) kill() {
	if p == nil {
		return
	}
	_ = p.cmd.Process.Kill() // fails when it has ended already, which is the aim
	<-p.done
}

// failure describes the child by the end of its log, for a start that did not
// come to an end.
func (p *process) failure() error {
	if p == nil {
		return nil
	}
	state := "is not ready"
	select {
	case <-p.done:
		state = p.cmd.ProcessState.String()
	default:
	}
	return fmt.Errorf("%s: %s; the end of its log:\n%s", p.name, state, tail(p.log, 10))
}

// tail returns the last lines of a file, or what prevents it.
func tail(path string, lines int) []byte {
	data, err := os.ReadFile(path)
	if err != nil {
		return []byte(err.Error())
	}
	all := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	return bytes.Join(all[max(0, len(all)-lines):], []byte("\n"))
}

// starter starts children from one operating system thread that lives as long
// as the starter. Linux sends a parent-death signal when the *thread* that
// forked ends, and the Go runtime ends threads whenever it likes: a child
// started from just any goroutine could die with the rest of us alive.
type starter struct {
	jobs  chan func()
	close func()
	env   []string // of the children
}

func newStarter(env []string) *starter {
	s := &starter{jobs: make(chan func()), env: env}
	s.close = sync.OnceFunc(func() { close(s.jobs) })
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer prefer()()
		for job := range s.jobs {
			job()
		}
	}()
	return s
}

// start starts a child and collects it when it ends.
func (s *starter) start(prog program) (*process, error) {
	log, err := os.OpenFile(prog.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command(prog.path, prog.args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = prog.dir, log, log
	// etcd reads ETCD_*, everybody HTTPS_PROXY: none of ours is meant for a test. Collecting
	// garbage less often saves the API server a seventh of its processor time.
	cmd.Env = append([]string{"GOGC=400"}, s.env...)
	cmd.SysProcAttr = childAttributes()

	started := make(chan error)
	s.jobs <- func() { started <- cmd.Start() }
	if err := <-started; err != nil {
		return nil, fmt.Errorf("starting %s: %w", prog.name, err)
	}
	p := &process{program: prog, cmd: cmd, done: make(chan struct{})}
	go func() {
		_ = cmd.Wait() // ProcessState tells the same
		close(p.done)
	}()
	return p, nil
}
