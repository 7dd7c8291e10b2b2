package eventlog

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// heard is what a daemon on a socket has got.
func heard(t *testing.T, network string) (path string, next func() string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "socket")
	if network == "unixgram" {
		conn, err := net.ListenPacket(network, path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
		return path, func() string {
			b := make([]byte, 64<<10)
			n, _, err := conn.ReadFrom(b)
			if err != nil {
				t.Fatal(err)
			}
			return string(b[:n])
		}
	}
	listener, err := net.Listen(network, path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return path, func() string {
		conn, err := listener.Accept()
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		b := make([]byte, 64<<10)
		n, _ := conn.Read(b)
		return string(b[:n])
	}
}

func TestTheJournalGetsFields(t *testing.T) {
	path, next := heard(t, "unixgram")
	log := Log{target: Journald, journal: []string{path}}
	e := event("4711")
	e.Kind, e.Error = "unreachable", "no route\nMESSAGE=forged"
	if err := log.Write(e); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("MESSAGE=%s kind=unreachable error=\"no route MESSAGE=forged\"\n"+
		"PRIORITY=4\nSYSLOG_IDENTIFIER=sa-exec-credential\nSYSLOG_PID=%d\n"+
		"SA_PROFILE=ci.build@prod\nSA_EVENT=minted\nSA_JTI=4711\n"+
		"SA_EXPIRES=2026-11-30T04:14:15Z\nSA_KIND=unreachable\n"+
		"SA_ERROR=no route MESSAGE=forged\n", line, os.Getpid())
	if got := next(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestSyslogGetsALineByEitherKindOfSocket(t *testing.T) {
	for _, network := range []string{"unixgram", "unix"} {
		t.Run(network, func(t *testing.T) {
			path, next := heard(t, network)
			log := Log{target: Syslog, syslogs: []string{path + ".none", path}}
			if err := log.Write(event("4711")); err != nil {
				t.Fatal(err)
			}
			want := fmt.Sprintf("<14>%s sa-exec-credential[%d]: %s\n",
				event("").At.Local().Format(time.Stamp), os.Getpid(), line)
			if got := next(); got != want {
				t.Errorf("got %q, want %q", got, want)
			}
		})
	}
}

// TestADaemonThatReadsNothingIsGivenUp fills its queue first.
func TestADaemonThatReadsNothingIsGivenUp(t *testing.T) {
	path, _ := heard(t, "unixgram")
	conn, err := net.Dial("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for err == nil {
		_ = conn.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
		_, err = conn.Write([]byte("x"))
	}
	log := Log{target: Journald, journal: []string{path}}
	if err := log.Write(event("4711")); !errors.Is(err, ErrWrite) {
		t.Errorf("got %v", err)
	}
}

// TestAPipeIsNotWaitedFor is about opening one that nobody reads.
func TestAPipeIsNotWaitedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{To(path).Write(event("4711")), To(path).Check()} {
		if !errors.Is(err, ErrWrite) || !strings.Contains(err.Error(), "not a regular") {
			t.Errorf("got %v", err)
		}
	}
}
