//go:build linux

package lab

import (
	"bytes"
	"fmt"
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
		for {
			shared.seen.lookAtProcesses()
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
			// What cannot be read has ended meanwhile, or keeps its environment to
			// itself, as the plugin does.
			if data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", pid,
				file)); err == nil {
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
		// proc(5): the name, in parentheses, the state, the parent. The name may hold
		// anything.
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
