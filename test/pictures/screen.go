package pictures

import (
	"regexp"
	"strings"
	"time"
)

// run is text of one look that appeared at once.
type run struct {
	column int
	text   string
	look   string // names of classes of the picture
	at     time.Duration
}

// line is a row of the screen.
type line []run

// sequence is what a terminal obeys, of which the program uses only those that change the look.
var sequence = regexp.MustCompile(`\x1b\[([0-9;]*)([A-Za-z])`)

// looks are the classes of those sequences (ECMA-48).
var looks = map[string]string{
	"":     "",
	"0":    "",
	"1":    "b",
	"2":    "f",
	"31":   "r",
	"32":   "g",
	"1;32": "g b",
	"33":   "y",
}

// Plain is text without what a terminal obeys.
func Plain(text string) string {
	return strings.ReplaceAll(sequence.ReplaceAllString(text, ""), "\r", "")
}

// lines are what is on the screen in the end, one below the other, broken where the terminal breaks
// them.
func (c *Cast) lines() []line {
	s := screen{columns: c.Columns, lines: []line{nil}}
	for _, e := range c.Events {
		text := strings.ReplaceAll(e.Text, "\r", "")
		for text != "" {
			next := sequence.FindStringSubmatchIndex(text)
			if next == nil {
				s.write(text, e.At)
				break
			}
			s.write(text[:next[0]], e.At)
			s.look = looks[text[next[2]:next[3]]]
			text = text[next[1]:]
		}
	}
	if n := len(s.lines); len(s.lines[n-1]) == 0 {
		return s.lines[:n-1]
	}
	return s.lines
}

type screen struct {
	columns int
	column  int
	look    string
	lines   []line
}

func (s *screen) write(text string, at time.Duration) {
	for i, part := range strings.Split(text, "\n") {
		if i > 0 {
			s.feed()
		}
		for runes := []rune(part); len(runes) > 0; {
			if s.column == s.columns {
				s.feed()
			}
			n := min(len(runes), s.columns-s.column)
			last := &s.lines[len(s.lines)-1]
			*last = append(*last, run{s.column, string(runes[:n]), s.look, at})
			s.column += n
			runes = runes[n:]
		}
	}
}

func (s *screen) feed() {
	s.column = 0
	s.lines = append(s.lines, nil)
}
