package ui

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf8"

	"k8s.io/apimachinery/pkg/util/duration"
)

// Table has a header and rows whose columns are aligned. Cells come from files and servers, and
// are made printable.
type Table struct {
	Header []string
	// Spare are columns that are left out where a terminal is too narrow for all, in this
	// order. All of them are there where it is none.
	Spare []string
	rows  []row
}

type row struct {
	colour string
	cells  []string
	note   string
}

// Row appends a row; colour may be empty.
func (t *Table) Row(colour string, cells ...string) {
	t.rows = append(t.rows, row{colour: colour, cells: cells})
}

// Note says more about the last row: below it on a terminal, and elsewhere at the end of its line.
func (t *Table) Note(text string) {
	last := &t.rows[len(t.rows)-1]
	if last.note != "" {
		text = last.note + "; " + text
	}
	last.note = text
}

// Text is the table with its header in bold.
func (t *Table) Text(look Look) []byte {
	rows := append([]row{{colour: Bold, cells: t.Header}}, t.rows...)
	if look.Width == 0 {
		rows = noted(rows)
	}
	rows = t.narrowed(rows, look.Width)
	var b strings.Builder
	for i, line := range columns("", rows...) {
		line = cut(strings.TrimRight(line, " "), look.Width)
		b.WriteString(look.Colours.Paint(rows[i].colour, line) + "\n")
		if rows[i].note == "" || look.Width == 0 {
			continue
		}
		for _, line := range Broken(Printable(rows[i].note), look.Width-len(noteIndent)) {
			b.WriteString(noteIndent + look.Colours.Paint(rows[i].colour, line) + "\n")
		}
	}
	return []byte(b.String())
}

const noteIndent = "  "

// noted has the notes in the last cells.
func noted(rows []row) []row {
	for i, r := range rows {
		if last := len(r.cells) - 1; r.note != "" {
			rows[i].cells = slices.Clone(r.cells)
			rows[i].cells[last] = strings.TrimPrefix(r.cells[last]+"; "+r.note, "; ")
		}
	}
	return rows
}

// narrowed are rows without the spare columns for which there is no room. One that has given way to no
// avail, because a wider one has to go as well, stays.
func (t *Table) narrowed(rows []row, width int) []row {
	var hidden []string
	for _, spare := range t.Spare {
		if fit(without(rows, hidden), width) {
			break
		}
		hidden = append(hidden, spare)
	}
	for i := len(hidden) - 2; i >= 0; i-- {
		if less := slices.Delete(slices.Clone(hidden), i, i+1); fit(without(rows, less), width) {
			hidden = less
		}
	}
	return without(rows, hidden)
}

func fit(rows []row, width int) bool {
	return width == 0 || !slices.ContainsFunc(columns("", rows...), func(line string) bool {
		return utf8.RuneCountInString(strings.TrimRight(line, " ")) > width
	})
}

// without is rows that lack some columns, by the names in the first of them.
func without(rows []row, hidden []string) []row {
	var left []row
	for _, r := range rows {
		var cells []string
		for i, cell := range r.cells {
			if !slices.Contains(hidden, rows[0].cells[i]) {
				cells = append(cells, cell)
			}
		}
		r.cells = cells
		left = append(left, r)
	}
	return left
}

// cut is a line as far as the terminal shows it without breaking it.
func cut(line string, width int) string {
	runes := []rune(line)
	if width == 0 || len(runes) <= width {
		return line
	}
	return string(runes[:width-1]) + "…"
}

// columns aligns the cells of rows, two spaces apart, and indents every line.
func columns(indent string, rows ...row) []string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	for _, r := range rows {
		cells := make([]string, len(r.cells))
		for i, cell := range r.cells {
			cells[i] = Printable(cell)
		}
		_, _ = fmt.Fprintln(w, indent+strings.Join(cells, "\t"))
	}
	_ = w.Flush()
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n")
}

// Date is a time to the minute, in the zone of whoever reads it.
func Date(t time.Time) string { return t.Local().Format("2006-01-02 15:04") }

// Age is a duration as kubectl shows ages, such as 59m or 29d.
func Age(d time.Duration) string { return duration.HumanDuration(max(d, 0)) }

// Plural is a count and its noun.
func Plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// QuotedList is names in quotes with commas between them.
func QuotedList(names []string) string {
	quoted := make([]string, len(names))
	for i, name := range names {
		quoted[i] = fmt.Sprintf("%q", name)
	}
	return strings.Join(quoted, ", ")
}
