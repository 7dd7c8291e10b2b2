//go:build linux

package lab

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"strconv"
	"sync"
	"time"
)

// Search has a text searched at the end that no Command has printed, such as the log of a script.
func Search(what, text string) {
	shared.seen.add(Result{Command: Command{Args: []string{what}}, Stdout: text})
}

// record is all that was run, for the search in the end.
type record struct {
	mu      sync.Mutex
	results []Result
	seen    map[string]bool // what the watcher saw of processes
}

func (r *record) add(result Result) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.results = append(r.results, result)
}

// watcher looks at the command lines and environments of all processes that the tests have
// started, again and again.
type watcher struct {
	ending chan struct{}
	ended  chan struct{}
}

// watchEvery is often enough to see every kubectl and a part of the calls of the plugin; a test
// of its own looks at every single call.
const watchEvery = 100 * time.Millisecond

func watch() *watcher {
	shared.seen.seen = map[string]bool{}
	watcher := &watcher{ending: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(watcher.ended)
		tick := time.NewTicker(watchEvery)
		defer tick.Stop()
		for all := (processes{}); ; {
			shared.seen.lookAtProcesses(all)
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

// processes are all that run, by their ids.
type processes map[int]*process

type process struct {
	parent int
	line   string // the command line, of those that the tests have started
}

// lookAtProcesses looks at those that run something else than what is known of them: an
// environment stays what it was, and most processes live for long.
func (r *record) lookAtProcesses(all processes) {
	self, buffer := os.Getpid(), make([]byte, 256<<10)
	all.update()
	for pid, process := range all {
		if !all.descends(pid, self) {
			continue
		}
		// What cannot be read has ended meanwhile, or keeps its environment to itself, as
		// the plugin does.
		line, err := inOneRead(fmt.Sprintf("/proc/%d/cmdline", pid), buffer)
		if err != nil || line == process.line {
			continue
		}
		process.line = line
		environ, _ := inOneRead(fmt.Sprintf("/proc/%d/environ", pid), buffer)
		r.mu.Lock()
		r.seen[line], r.seen[environ] = true, true
		r.mu.Unlock()
	}
}

// inOneRead reads what a process was given. A process that ends between two reads leaves the
// beginning alone, in which half a permitted token looks like another one.
func inOneRead(path string, buffer []byte) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	n, err := file.Read(buffer)
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return string(buffer[:n]), err
}

// update forgets those that are gone, and adds new ones.
func (all processes) update() {
	entries, _ := os.ReadDir("/proc")
	now := map[int]bool{}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if now[pid] = true; err != nil || all[pid] != nil {
			continue
		}
		// proc(5): the name, in parentheses, the state, the parent. The name may hold
		// anything.
		stat, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:])
		if len(fields) > 1 {
			parent, _ := strconv.Atoi(string(fields[1]))
			all[pid] = &process{parent: parent}
		}
	}
	maps.DeleteFunc(all, func(pid int, _ *process) bool { return !now[pid] })
}

// descends reports whether a process has another one among its ancestors.
func (all processes) descends(pid, ancestor int) bool {
	for range len(all) { // a pid that was given again may close a circle
		if all[pid] == nil || all[pid].parent == ancestor {
			break
		}
		pid = all[pid].parent
	}
	return all[pid] != nil
}
