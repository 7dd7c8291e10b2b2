package main

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/sa-exec-credential/sa-exec-credential/internal/doctor"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// page is how doctor's findings are shown to a person.
type page struct {
	colours ui.Colours
	width   int // columns of the terminal; 0: lines are not broken
}

func pageFor(h *host.Host) page {
	return page{colours: h.Colours(), width: ui.Width(h.Stdout)}
}

// render shows the machine, then the profiles. Of several profiles those that are well take one
// line each.
func (p page) render(items []doctor.Finding, names []string) []byte {
	var b strings.Builder
	for i := 0; i < len(items); {
		group := groupAt(items, i)
		i += len(group)
		name := group[0].Profile
		switch {
		case name == "":
			p.group(&b, "This machine", group)
		case len(names) > 1 && isOK(group):
			fmt.Fprintf(&b, "%s %s\n", p.heading("Profile "+name+":"),
				p.colours.Paint(ui.Green, "ok, "+ui.Plural(len(group), "check")))
		default:
			p.group(&b, "Profile "+name, group)
		}
	}
	b.WriteString(p.summary(items, len(names)))
	return []byte(b.String())
}

// groupAt is the findings from i on that are about the same profile.
func groupAt(items []doctor.Finding, i int) []doctor.Finding {
	end := i + 1
	for end < len(items) && items[end].Profile == items[i].Profile {
		end++
	}
	return items[i:end]
}

func isOK(group []doctor.Finding) bool {
	for _, item := range group {
		if item.Result != doctor.OK {
			return false
		}
	}
	return true
}

func (p page) heading(text string) string { return p.colours.Paint(ui.Bold, text) }

// The columns of a finding: result and check.
const (
	resultWidth = 9
	checkWidth  = 12
	indent      = 2
)

func (p page) group(w io.Writer, heading string, group []doctor.Finding) {
	_, _ = fmt.Fprintln(w, p.heading(heading))
	margin := strings.Repeat(" ", indent+resultWidth+checkWidth)
	for _, item := range group {
		lines := broken(item.Detail, p.width-len(margin))
		result := p.colours.Paint(colourOf(item.Result), string(item.Result)) +
			strings.Repeat(" ", resultWidth-len(item.Result))
		_, _ = fmt.Fprintf(w, "%*s%s%-*s%s\n", indent, "", result, checkWidth, item.Check,
			strings.Join(lines, "\n"+margin))
		if item.Fix != "" {
			// In one piece, so that it can be copied.
			_, _ = fmt.Fprintf(w, "%*sfix: %s\n", indent+resultWidth, "",
				p.heading(item.Fix))
		}
	}
}

func colourOf(r doctor.Result) string {
	return map[doctor.Result]string{doctor.OK: ui.Green, doctor.Warning: ui.Yellow,
		doctor.Failed: ui.Red}[r]
}

func (p page) summary(items []doctor.Finding, profiles int) string {
	count := map[doctor.Result]int{}
	for _, item := range items {
		count[item.Result]++
	}
	text, colour := "Nothing is wrong", ui.Green
	switch {
	case count[doctor.Failed] > 0:
		text, colour = fmt.Sprintf("%d failed, %s", count[doctor.Failed],
			ui.Plural(count[doctor.Warning], "warning")), ui.Red
	case count[doctor.Warning] > 0:
		text, colour = "Nothing failed, "+ui.Plural(count[doctor.Warning], "warning"),
			ui.Yellow
	}
	if profiles == 0 {
		return p.colours.Paint(colour, text) +
			". There are no profiles yet; setup creates one.\n"
	}
	return p.colours.Paint(colour, text) + " (" + ui.Plural(profiles, "profile") + ").\n"
}

// broken cuts text at spaces into lines of at most width columns, or leaves it whole when width
// is not positive. A word that is longer, such as a path, gets a line of its own.
func broken(text string, width int) []string {
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
