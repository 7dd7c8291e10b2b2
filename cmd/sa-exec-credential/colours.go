package main

import (
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// colours says whether the result goes to a terminal that shows them.
type colours bool

// colours are for terminals only, and not for people who set NO_COLOR (no-color.org) or TERM=dumb.
func (e *environment) colours() colours {
	return colours(isTerminal(e.stdout) && e.getenv("NO_COLOR") == "" && e.getenv("TERM") != "dumb")
}

func isTerminal(w io.Writer) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

const (
	bold   = "\x1b[1m"
	red    = "\x1b[31m"
	green  = "\x1b[32m"
	yellow = "\x1b[33m"
	plain  = "\x1b[0m"
)

func (c colours) paint(colour, text string) string {
	if !c {
		return text
	}
	return colour + text + plain
}

// paintLines colours the lines of a status table after its columns have been laid out.
func (c colours) paintLines(table string, items []profileStatus) string {
	lines := strings.Split(table, "\n")
	lines[0] = c.paint(bold, lines[0])
	for i, item := range items {
		switch {
		case item.Error != "":
			lines[i+1] = c.paint(red, lines[i+1])
		case item.Bootstrap != nil && item.Bootstrap.State != "fresh":
			lines[i+1] = c.paint(yellow, lines[i+1])
		}
	}
	return strings.Join(lines, "\n")
}
