package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
)

// opened is what a hit opens, in this order, beside what Go's runtime does before main. PID is that
// of strace, which is no client because it has exec info, and then the client's.
var opened = []string{
	"/proc/self/stat",
	"/proc/PID/environ", "/proc/PID/stat", "/proc/PID/environ", "/proc/PID/stat",
	"HOME/.config/sa-exec-credential/profiles/p.yaml",
	"HOME/.config/sa-exec-credential/devices/RECORD.yaml",
	"HOME/run/sa-exec-credential/TOKEN.calls",
}

// maxThreads is what Go's runtime starts for a program that does one thing after the other, its
// first one and the monitor among them. How many it needs differs from run to run.
const maxThreads = 8

var (
	openCall   = regexp.MustCompile(`^\d+ +openat\(\w+, "([^"]*)"`)
	socketCall = regexp.MustCompile(`^\d+ +(socket|connect)\(`)
	execCall   = regexp.MustCompile(`^\d+ +execve\(`)
	forkCall   = regexp.MustCompile(`^\d+ +(v?fork|clone3?)\(`)
	keyCall    = regexp.MustCompile(`^\d+ +(keyctl|add_key|request_key)\(`)
	record     = regexp.MustCompile(`/devices/[^/]+\.yaml$`)
	calls      = regexp.MustCompile(`/token-[0-9a-f-]+\.calls$`)
)

// trace is what strace saw of a hit, a line a system call.
func (m *machine) trace(t *testing.T) []string {
	t.Helper()
	path, err := exec.LookPath("strace")
	if err != nil {
		t.Fatal("there is no strace: make deps installs it")
	}
	file := filepath.Join(m.home, "trace")
	output, err := m.client([]string{path, "-f", "-o", file}, "get", "--profile",
		"p").CombinedOutput()
	if err != nil || !strings.Contains(string(output), token) {
		t.Fatalf("%v: %s", err, output)
	}
	data, err := os.ReadFile(file)
	m.must(err)
	return strings.Split(string(data), "\n")
}

// TestWhatAHitCosts counts what a clock could not tell on a busy machine.
func TestWhatAHitCosts(t *testing.T) {
	for _, store := range []keyring.Kind{keyring.Kernel, keyring.Keyring, keyring.Sealed} {
		t.Run(string(store), func(t *testing.T) {
			m := newMachine(t, store, time.Minute)
			m.trace(t) // the first call creates the record of calls
			var files []string
			sockets, programs, processes, threads, keys := 0, 0, 0, 1, 0
			for _, line := range m.trace(t) {
				if found := openCall.FindStringSubmatch(line); found != nil {
					files = append(files, m.nameOf(found[1]))
				}
				sockets += count(socketCall, line)
				programs += count(execCall, line)
				keys += count(keyCall, line)
				if forkCall.MatchString(line) {
					if strings.Contains(line, "CLONE_THREAD") {
						threads++
					} else {
						processes++
					}
				}
			}
			files = slices.DeleteFunc(files, isRuntimes)
			if !slices.Equal(files, opened) {
				t.Errorf("opens %q\nnot   %q", files, opened)
			}
			if sockets > 0 || programs > 1 || processes > 0 || threads > maxThreads {
				t.Errorf("%d sockets, %d further programs, %d processes, %d threads",
					sockets, programs-1, processes, threads)
			}
			if keys != 3 { // find, describe, read
				t.Errorf("asks the kernel keyring %d times", keys)
			}
		})
	}
}

func count(call *regexp.Regexp, line string) int {
	if call.MatchString(line) {
		return 1
	}
	return 0
}

// nameOf is a path without what differs from run to run.
func (m *machine) nameOf(path string) string {
	path = strings.Replace(path, m.home, "HOME", 1)
	path = record.ReplaceAllString(path, "/devices/RECORD.yaml")
	path = calls.ReplaceAllString(path, "/TOKEN.calls")
	parts := strings.Split(path, "/")
	for i, part := range parts {
		if _, err := strconv.Atoi(part); err == nil && i == 2 {
			parts[i] = "PID"
		}
	}
	return strings.Join(parts, "/")
}

// isRuntimes reports whether Go's runtime opens a file by itself, for the size of huge pages and
// the limits of a container.
func isRuntimes(path string) bool {
	return strings.HasPrefix(path, "/sys/") || path == "/proc/self/cgroup" ||
		path == "/proc/self/mountinfo" || strings.HasPrefix(path, "/proc/self/auxv")
}
