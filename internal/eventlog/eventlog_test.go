package eventlog

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// writerVariable makes the test binary one of the processes that write to a file at once.
const writerVariable = "EVENTLOG_TEST_FILE"

func TestMain(m *testing.M) {
	if path := os.Getenv(writerVariable); path != "" {
		for i := range 100 {
			id := fmt.Sprintf("%d-%d", os.Getpid(), i)
			if err := To(path).Write(event(id)); err != nil {
				fmt.Fprintln(os.Stderr, err)
				os.Exit(1)
			}
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func event(id string) Event {
	return Event{At: time.Date(2026, 11, 30, 3, 14, 15, 0, time.UTC), Profile: "ci.build@prod",
		Name: "minted", ID: id, Expires: time.Date(2026, 11, 30, 4, 14, 15, 0, time.UTC)}
}

const line = "profile=ci.build@prod event=minted jti=4711 expires=2026-11-30T04:14:15Z"

func TestAnEventIsOneLine(t *testing.T) {
	failed := event("")
	failed.Name, failed.Expires, failed.Kind = "mint-failed", time.Time{}, "unreachable"
	failed.Error = "minting token for \"build/ci\":\nno\x1b[2J route a=b"
	tests := []struct {
		name, want string
		event      Event
	}{
		{"of what went well", line, event("4711")},
		{"of what did not, with what a terminal would obey", "profile=ci.build@prod " +
			`event=mint-failed kind=unreachable error="minting token for ` +
			`\"build/ci\": no?[2J route a=b"`, failed},
		{"that forges no field", `event="minted kind=x" jti="a=b"`,
			Event{Name: "minted kind=x", ID: "a=b"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if got := test.event.line(); got != test.want {
				t.Errorf("got\n%s\nwant\n%s", got, test.want)
			}
		})
	}
}

func TestAFileGrowsByWholeLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	const processes = 8
	var writers []*exec.Cmd
	for range processes {
		writer := exec.Command(os.Args[0])
		writer.Env = append(os.Environ(), writerVariable+"="+path)
		writer.Stderr = os.Stderr
		if err := writer.Start(); err != nil {
			t.Fatal(err)
		}
		writers = append(writers, writer)
	}
	for _, writer := range writers {
		if err := writer.Wait(); err != nil {
			t.Fatal(err)
		}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for got := range strings.Lines(string(data)) {
		_, rest, _ := strings.Cut(got, "jti=")
		id, _, _ := strings.Cut(rest, " ")
		if want := "2026-11-30T03:14:15Z " + strings.ReplaceAll(line, "4711", id) +
			"\n"; got != want {
			t.Fatalf("a line is %q, want %q", got, want)
		}
		seen[id] = true
	}
	if len(seen) != processes*100 {
		t.Errorf("there are %d lines", len(seen))
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("its mode is %v, %v", info.Mode(), err)
	}
}

// TestALogThatCannotBeWrittenIsAnErrorInTime is about Write and Check alike.
func TestALogThatCannotBeWrittenIsAnErrorInTime(t *testing.T) {
	dir := t.TempDir()
	silent := filepath.Join(dir, "silent")
	listener, err := net.Listen("unix", silent)
	if err != nil {
		t.Fatal(err)
	}
	listener.(*net.UnixListener).SetUnlinkOnClose(false)
	_ = listener.Close()
	tests := []struct {
		name string
		log  Log
	}{
		{"a directory that is not there", To(filepath.Join(dir, "none", "log"))},
		{"a directory", To(dir)},
		{"a device", To("/dev/null")},
		{"a journal that is not there", Log{target: Journald,
			journal: []string{filepath.Join(dir, "none")}}},
		{"a journal on which nobody listens", Log{target: Journald,
			journal: []string{silent}}},
		{"a syslog on which nobody listens", Log{target: Syslog,
			syslogs: []string{filepath.Join(dir, "none"), silent}}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for what, err := range map[string]error{"checking": test.log.Check(),
				"writing": test.log.Write(event("4711"))} {
				if !errors.Is(err, ErrWrite) || !strings.Contains(err.Error(),
					test.log.target) {
					t.Errorf("%s: got %v", what, err)
				}
			}
		})
	}
}

func TestCheckingAFileLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	if err := To(filepath.Join(dir, "log")).Check(); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("it left %v, %v", entries, err)
	}
	if err := (Log{}).Write(event("4711")); err != nil {
		t.Errorf("no log at all: %v", err)
	}
}
