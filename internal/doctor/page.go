package doctor

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// Page is how findings are shown to a person.
type Page struct {
	ui.Look
	Profiles string // where they were looked for
}

// Render shows the machine, then the profiles. Of several profiles those that are well take one
// line each.
func (p Page) Render(items []Finding, names []string) []byte {
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
				p.Colours.Paint(ui.Green, "ok, "+ui.Plural(len(group), "check")))
		default:
			p.group(&b, "Profile "+name, group)
		}
	}
	b.WriteString(p.summary(items, len(names)))
	return []byte(b.String())
}

// groupAt is the findings from i on that are about the same profile.
func groupAt(items []Finding, i int) []Finding {
	end := i + 1
	for end < len(items) && items[end].Profile == items[i].Profile {
		end++
	}
	return items[i:end]
}

func isOK(group []Finding) bool {
	for _, item := range group {
		if item.Result != OK {
			return false
		}
	}
	return true
}

func (p Page) heading(text string) string { return p.Colours.Paint(ui.Bold, text) }

// The columns of a finding: result and check.
const (
	resultWidth = 9
	checkWidth  = 12
	indent      = 2
)

func (p Page) group(w io.Writer, heading string, group []Finding) {
	_, _ = fmt.Fprintln(w, p.heading(heading))
	for _, item := range group {
		detail := p.Beside(indent+resultWidth+checkWidth, item.Detail)
		result := p.Colours.Paint(colourOf(item.Result), string(item.Result)) +
			strings.Repeat(" ", resultWidth-len(item.Result))
		_, _ = fmt.Fprintf(w, "%*s%s%-*s%s\n", indent, "", result, checkWidth, item.Check,
			detail)
		if item.Fix != "" {
			// In one piece, so that it can be copied.
			_, _ = fmt.Fprintf(w, "%*sfix: %s\n", indent+resultWidth, "",
				p.heading(item.Fix))
		}
	}
}

func colourOf(r Result) string {
	return map[Result]string{OK: ui.Green, Warning: ui.Yellow, Failed: ui.Red}[r]
}

func (p Page) summary(items []Finding, profiles int) string {
	count := map[Result]int{}
	for _, item := range items {
		count[item.Result]++
	}
	text, colour := "Nothing is wrong", ui.Green
	switch {
	case count[Failed] > 0:
		text, colour = fmt.Sprintf("%d failed, %s", count[Failed], ui.Plural(count[Warning],
			"warning")), ui.Red
	case count[Warning] > 0:
		text, colour = "Nothing failed, "+ui.Plural(count[Warning], "warning"), ui.Yellow
	}
	advice := ""
	if slices.ContainsFunc(items, func(item Finding) bool { return item.Local }) {
		advice = "To fix what can be fixed on this machine alone: " +
			p.heading(ui.CommandLine(ui.Program, "doctor", "--fix")) + "\n"
	}
	if profiles == 0 {
		return p.Colours.Paint(colour, text) +
			". There are no profiles yet; setup creates one. Looked in " +
			p.Profiles + ".\n" + advice
	}
	return p.Colours.Paint(colour, text) + " (" + ui.Plural(profiles, "profile") + ").\n" +
		advice
}
