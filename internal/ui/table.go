package ui

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"
	"text/tabwriter"
	"time"

	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/yaml"
)

// Version names the shape of what -o json and -o yaml print. It changes when a field changes its
// meaning or goes.
const Version = "sa-exec-credential/v1"

// Encode writes a list as -o json or -o yaml prints it. Texts in it come from files and servers,
// and are made printable: the encoders leave in what a terminal obeys, or whoever decodes it gets
// it.
func Encode(format string, list any) ([]byte, error) {
	list = printableValue(reflect.ValueOf(list)).Interface()
	if format == "yaml" {
		return yaml.Marshal(list)
	}
	encoded, err := json.MarshalIndent(list, "", "  ")
	return append(encoded, '\n'), err
}

// Table has a header and rows whose columns are aligned. Cells come from files and servers, and
// are made printable.
type Table struct {
	Header []string
	Width  int // columns of the terminal, at which lines are cut; 0: they are not
	rows   []row
}

type row struct {
	colour string
	cells  []string
}

// Row appends a row; colour may be empty.
func (t *Table) Row(colour string, cells ...string) {
	t.rows = append(t.rows, row{colour, cells})
}

// Text is the table with its header in bold.
func (t *Table) Text(colours Colours) []byte {
	lines := columns("", append([]row{{Bold, t.Header}}, t.rows...)...)
	for i, line := range lines {
		line = t.cut(line)
		colour := Bold
		if i > 0 {
			colour = t.rows[i-1].colour
		}
		lines[i] = colours.Paint(colour, line)
	}
	return []byte(strings.Join(lines, "\n") + "\n")
}

// cut is a line as far as the terminal shows it without breaking it.
func (t *Table) cut(line string) string {
	runes := []rune(line)
	if t.Width == 0 || len(runes) <= t.Width {
		return line
	}
	return string(runes[:t.Width-1]) + "…"
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

// Pairs aligns names and values, leaving out pairs without a value.
func Pairs(pairs [][2]string) []string {
	var rows []row
	for _, pair := range pairs {
		if pair[1] != "" {
			rows = append(rows, row{cells: []string{pair[0], pair[1]}})
		}
	}
	return columns("  ", rows...)
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
