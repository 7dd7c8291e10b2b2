package main

import (
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"
)

// The output policy: standard output belongs to the result, which is encoded to a buffer and written at once, or not at
// all. Everything else goes to standard error, in lines that begin with the program's name: error, then hint; warning;
// and with -v what is being done. A get that succeeds without trouble writes nothing there.

const program = "sa-exec-credential"

// logger writes the lines for standard error.
type logger struct {
	out     io.Writer
	verbose bool
}

func (l *logger) line(kind, text string) {
	_, _ = fmt.Fprintf(l.out, "%s: %s: %s\n", program, kind, printable(text))
}

func (l *logger) warning(err error) { l.line("warning", err.Error()) }

// debug prints a message and pairs of names and values. A secret.String shows as REDACTED.
func (l *logger) debug(message string, details ...any) {
	if !l.verbose {
		return
	}
	var b strings.Builder
	b.WriteString(message)
	for i := 0; i+1 < len(details); i += 2 {
		if details[i+1] != nil {
			fmt.Fprintf(&b, " %v=%v", details[i], details[i+1])
		}
	}
	l.line("debug", b.String())
}

func (l *logger) failure(err error, hint string) {
	l.line("error", err.Error())
	if hint != "" {
		l.line("hint", hint)
	}
}

// printable keeps text to one line and takes out what a terminal would obey, or show in another order than it is written
// in: parts of it may come from files and servers.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case unicode.IsControl(r), unicode.In(r, unicode.Bidi_Control, unicode.Zl, unicode.Zp), r == utf8.RuneError:
			return '?'
		}
		return r
	}, text)
}

// write gives the result to standard output in one piece. A reader who has gone is an error like any other, and not the end
// by a signal that Go makes of it; to be notified of the signal, unlike to ignore it, is nothing that a child inherits.
func (e *environment) write(result []byte) error {
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE)
	defer signal.Stop(broken)
	if _, err := e.stdout.Write(result); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	return nil
}
