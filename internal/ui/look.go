package ui

import (
	"io"
	"strings"
	"unicode/utf8"
)

// Look is how something is shown. Nothing of it is set where that is no terminal.
type Look struct {
	Colours Colours
	Width   int // columns, at which lines are broken; 0: they are not
}

// LookFor is that of a writer.
func LookFor(w io.Writer, getenv func(string) string) Look {
	return Look{Colours: ColoursFor(w, getenv), Width: Width(w)}
}

// Broken cuts text at spaces into lines of at most width columns, or leaves it whole when width
// is not positive. A word that is longer, such as a path, gets a line of its own.
func Broken(text string, width int) []string {
	if width <= 0 {
		return []string{text}
	}
	var lines []string
	line := ""
	for word := range strings.SplitSeq(text, " ") {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > width {
			lines = append(lines, line)
			line = word
			continue
		}
		line = strings.TrimPrefix(line+" "+word, " ")
	}
	return append(lines, line)
}

// Beside is text that begins behind margin columns which hold something else, and goes on below
// that. A word too long for what is left, such as a path, stays in one piece: it gets a line of its
// own, which begins as far to the left as it has to.
func (l Look) Beside(margin int, text string) string {
	var b strings.Builder
	for i, line := range Broken(text, l.Width-margin) {
		indent := margin
		if over := margin + utf8.RuneCountInString(line) - l.Width; l.Width > 0 && over > 0 {
			indent = max(len(hanging), margin-over)
		}
		if i > 0 || indent < margin {
			b.WriteString("\n" + strings.Repeat(" ", indent))
		}
		b.WriteString(line)
	}
	return b.String()
}

// Pairs are names and values, leaving out pairs without a value: the names in a column of their
// own, and the values beside it, however long they are.
func (l Look) Pairs(pairs [][2]string) []string {
	column := 0
	for _, pair := range pairs {
		if pair[1] != "" {
			column = max(column, utf8.RuneCountInString(Printable(pair[0])))
		}
	}
	var lines []string
	for _, pair := range pairs {
		if pair[1] == "" {
			continue
		}
		name := Printable(pair[0])
		gap := strings.Repeat(" ", column+2-utf8.RuneCountInString(name))
		lines = append(lines, "  "+l.Colours.Paint(Faint, name)+gap+
			l.Beside(column+4, Printable(pair[1])))
	}
	return lines
}
