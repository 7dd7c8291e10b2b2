package eventlog

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// The severities of syslog(3) that events have.
const (
	warning = 4
	info    = 6
)

func (e Event) severity() int {
	if e.Kind != "" {
		return warning
	}
	return info
}

// journal is the event in the journal's native protocol
// (https://systemd.io/JOURNAL_NATIVE_PROTOCOL): no value has a line end.
func (e Event) journal() []byte {
	var b strings.Builder
	fmt.Fprintf(&b, "MESSAGE=%s\nPRIORITY=%d\nSYSLOG_IDENTIFIER=%s\nSYSLOG_PID=%d\n", e.line(),
		e.severity(), ui.Program, os.Getpid())
	for _, f := range e.fields() {
		fmt.Fprintf(&b, "SA_%s=%s\n", strings.ToUpper(f.name), f.value)
	}
	return []byte(b.String())
}

// facility is LOG_USER of syslog(3).
const facility = 1

// syslog is the event as a local daemon of syslog expects it (RFC 3164, without the name of the
// host).
func (e Event) syslog() []byte {
	return fmt.Appendf(nil, "<%d>%s %s[%d]: %s\n", facility*8+e.severity(),
		e.At.Local().Format(time.Stamp), ui.Program, os.Getpid(), e.line())
}

// send sends a datagram to the first of the sockets on which somebody listens, or a line where it
// takes a stream. Without a message it only connects.
func send(sockets []string, message []byte) error {
	var problem error
	for _, path := range sockets {
		for _, network := range []string{"unixgram", "unix"} {
			conn, err := net.DialTimeout(network, path, limit)
			if err == nil {
				defer conn.Close()
				_ = conn.SetDeadline(time.Now().Add(limit))
				if len(message) > 0 {
					_, err = conn.Write(message)
				}
				return err
			}
			if problem == nil || errors.Is(problem, fs.ErrNotExist) {
				problem = err
			}
		}
	}
	return problem
}
