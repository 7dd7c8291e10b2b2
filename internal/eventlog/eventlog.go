// Package eventlog writes down what happened while nobody watched: one line for each event, to the
// journal, to syslog or to a file. Nothing in it is a secret.
//
// It knows neither profiles nor what the events mean, and imports nothing of this module but
// internal/ui, to keep a line a line.
package eventlog

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// The targets that are no files.
const (
	Journald = "journald"
	Syslog   = "syslog"
)

// ErrWrite is a log that is not there, or does not take an event.
var ErrWrite = errors.New("the log cannot be written")

// limit bounds a write: somebody waits for the token that it is about, and a file system or a
// daemon can hang.
const limit = time.Second

// Event is something that happened. Fields that are empty are left out.
type Event struct {
	At      time.Time
	Profile string
	Name    string    // what it was, in one word
	ID      string    // JTI of the token that it is about
	Expires time.Time // of that token
	Kind    string    // of error, in one word; empty: it went well
	Error   string
}

// Log is where events go. The zero value is no log.
type Log struct {
	target           string
	journal, syslogs []string // sockets, in the order in which they are tried
}

// To is the log of a target: Journald, Syslog or the absolute path of a file. Empty: none.
func To(target string) Log {
	return Log{target: target, journal: []string{"/run/systemd/journal/socket"},
		syslogs: []string{"/dev/log", "/var/run/syslog", "/var/run/log"}}
}

// Write adds an event's line. It is an ErrWrite when that does not work, or not in time.
func (l Log) Write(e Event) error {
	return l.try(func() error {
		switch l.target {
		case Journald:
			return send(l.journal, e.journal())
		case Syslog:
			return send(l.syslogs, e.syslog())
		}
		return appendTo(l.target, []byte(e.At.UTC().Format(time.RFC3339)+" "+e.line()+"\n"))
	})
}

// Check finds out whether the log could be written, and writes nothing to it.
func (l Log) Check() error {
	return l.try(func() error {
		switch l.target {
		case Journald:
			return send(l.journal, nil)
		case Syslog:
			return send(l.syslogs, nil)
		}
		return checkFile(l.target)
	})
}

// try gives up what takes too long; it is left behind, and ends with the process.
func (l Log) try(what func() error) error {
	if l.target == "" {
		return nil
	}
	done := make(chan error, 1)
	go func() { done <- what() }()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	var err error
	select {
	case err = <-done:
	case <-timer.C:
		err = fmt.Errorf("no answer within %v", limit)
	}
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrWrite, l.target, err)
	}
	return nil
}

// fields are what an event holds beside its time, with the name that each has in the journal.
func (e Event) fields() (list []field) {
	expires := ""
	if !e.Expires.IsZero() {
		expires = e.Expires.UTC().Format(time.RFC3339)
	}
	for _, f := range []field{{"profile", e.Profile}, {"event", e.Name}, {"jti", e.ID},
		{"expires", expires}, {"kind", e.Kind}, {"error", e.Error}} {
		if f.value = ui.Printable(f.value); f.value != "" {
			list = append(list, f)
		}
	}
	return list
}

type field struct{ name, value string }

// line is the event as NAME=VALUE, quoted where a value has more than one word.
func (e Event) line() string {
	var words []string
	for _, f := range e.fields() {
		if strings.ContainsAny(f.value, ` "=\`) {
			f.value = fmt.Sprintf("%q", f.value)
		}
		words = append(words, f.name+"="+f.value)
	}
	return strings.Join(words, " ")
}
