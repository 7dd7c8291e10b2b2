// Package ui is what a person reads: lines on standard error, tables, colours, and commands quoted
// for a shell. It takes writers and strings, and imports nothing of this module.
package ui

import (
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"unicode"
	"unicode/utf8"
)

// The output policy: standard output belongs to the result, which is encoded to a buffer and
// written at once, or not at all. Everything else goes to standard error, in lines that begin with
// the program's name: error, then hint; warning; and with -v what is being done. A get that
// succeeds writes nothing there without -v.

// Program is the name that begins every line.
const Program = "sa-exec-credential"

// Kind is what a line on standard error is about, the word after the program's name.
type Kind string

// The kinds that every command uses. A step has the command's name instead, and so has what it has
// come to.
const (
	Step    Kind = ""
	Done    Kind = "done"
	Warning Kind = "warning"
	Hint    Kind = "hint"
	Login   Kind = "login" // a person has to do something elsewhere
	failure Kind = "error"
	debug   Kind = "debug"
)

// Report takes what a use case has to say while it is at work. Packages below cmd print nothing.
type Report func(kind Kind, text string)

// Log writes the lines for standard error.
type Log struct {
	Out     io.Writer
	Verbose bool

	own  bool // the terminal is the command's own
	look Look
	said atomic.Bool
}

// OnTerminal finds out whether this command has a terminal for itself, because both of its outputs
// are one: its lines then do without the name of the program, which nobody else could be.
func (l *Log) OnTerminal(result io.Writer, getenv func(string) string) {
	l.own = IsTerminal(l.Out) && IsTerminal(result)
	l.look = LookFor(l.Out, getenv)
}

// Line writes one line of a kind.
func (l *Log) Line(kind Kind, text string) { l.write(kind, string(kind), text) }

// Reporter writes what it is told to standard error; steps get the name of the command.
func (l *Log) Reporter(command string) Report {
	return func(kind Kind, text string) {
		word := string(kind)
		if kind == Step || kind == Done {
			word = command
		}
		l.write(kind, word, text)
	}
}

func (l *Log) write(kind Kind, word, text string) {
	if kind == Hint {
		text = AsTyped(text)
	}
	text = Printable(text)
	if l.own {
		text = l.look.line(kind, text)
	} else {
		text = fmt.Sprintf("%s: %s: %s", Program, word, text)
	}
	l.said.Store(true)
	_, _ = fmt.Fprintln(l.Out, text)
}

// Gap sets off what comes now from what was said, on a terminal.
func (l *Log) Gap() {
	if l.own && l.said.Load() {
		_, _ = fmt.Fprintln(l.Out)
	}
}

// Quiet shows steps only with -v, and everything else as it is.
func (l *Log) Quiet(kind Kind, text string) {
	if kind == Step || kind == Done {
		l.Debug(text)
		return
	}
	l.Line(kind, text)
}

// Warn writes an error that did not keep the command from its result.
func (l *Log) Warn(err error) { l.Line(Warning, err.Error()) }

// Debug prints a message and pairs of names and values. A secret.String shows as REDACTED.
func (l *Log) Debug(message string, details ...any) {
	if !l.Verbose {
		return
	}
	var b strings.Builder
	b.WriteString(message)
	for i := 0; i+1 < len(details); i += 2 {
		if details[i+1] != nil {
			fmt.Fprintf(&b, " %v=%v", details[i], details[i+1])
		}
	}
	l.Line(debug, b.String())
}

// Failure writes an error, and what to do about it. Errors that were joined get a line each.
func (l *Log) Failure(err error, hint string) {
	for _, e := range Unjoin(err) {
		l.Line(failure, e.Error())
	}
	if hint != "" {
		l.Line(Hint, hint)
	}
}

// Unjoin lists what errors.Join has put together, which reads as one error a line.
func Unjoin(err error) []error {
	joined, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	lines := make([]string, 0, 8)
	for _, e := range joined.Unwrap() {
		lines = append(lines, e.Error())
	}
	if err.Error() != strings.Join(lines, "\n") {
		return []error{err} // fmt.Errorf with several %w
	}
	var list []error
	for _, e := range joined.Unwrap() {
		list = append(list, Unjoin(e)...)
	}
	return list
}

// Lines are a result that is read line by line.
func Lines(lines []string) []byte {
	var b strings.Builder
	for _, line := range lines {
		b.WriteString(Printable(line) + "\n")
	}
	return []byte(b.String())
}

// Printable keeps text to one line and takes out what a terminal would obey, or show in another
// order than it is written in: parts of it may come from files and servers.
func Printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r), unicode.In(r, unicode.Bidi_Control, unicode.Zl,
			unicode.Zp),
			r == utf8.RuneError:
			return '?'
		}
		return r
	}, text)
}
