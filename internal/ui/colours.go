package ui

import (
	"io"
	"os"

	"golang.org/x/term"
)

// Colours says whether the result goes to a terminal that shows them.
type Colours bool

// ColoursFor are for terminals only, and not for people who set NO_COLOR (no-color.org) or
// TERM=dumb.
func ColoursFor(w io.Writer, getenv func(string) string) Colours {
	return Colours(IsTerminal(w) && getenv("NO_COLOR") == "" && getenv("TERM") != "dumb")
}

// IsTerminal reports whether what is written to w is shown to a person at once.
func IsTerminal(w any) bool {
	file, ok := w.(*os.File)
	return ok && term.IsTerminal(int(file.Fd()))
}

// narrowest is the width below which breaking lines makes them no easier to read.
const narrowest = 60

// Width is that of the terminal in columns; 0 where lines are not broken.
func Width(w io.Writer) int {
	if file, ok := w.(*os.File); ok && IsTerminal(w) {
		if width, _, err := term.GetSize(int(file.Fd())); err == nil && width >= narrowest {
			return width
		}
	}
	return 0
}

// The sequences that a terminal obeys (ECMA-48).
const (
	Bold   = "\x1b[1m"
	Faint  = "\x1b[2m"
	Red    = "\x1b[31m"
	Green  = "\x1b[32m"
	Proof  = "\x1b[1;32m" // of what a command has come to
	Yellow = "\x1b[33m"
	plain  = "\x1b[0m"
)

// Paint puts text into a colour, or leaves it as it is.
func (c Colours) Paint(colour, text string) string {
	if !c || colour == "" {
		return text
	}
	return colour + text + plain
}
