package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// page is how doctor's findings are shown to a person.
type page struct {
	colours colours
	width   int // columns of the terminal; 0: lines are not broken
}

// narrowest is the width below which breaking lines makes them no easier to read.
const narrowest = 60

func pageFor(env *environment) page {
	p := page{colours: env.colours()}
	if file, ok := env.stdout.(*os.File); ok && isTerminal(env.stdout) {
		if width, _, err := term.GetSize(int(file.Fd())); err == nil && width >= narrowest {
			p.width = width
		}
	}
	return p
}

// render shows the machine, then the profiles. Of several profiles those that are well take one line each.
func (p page) render(items []finding, names []string) []byte {
	var b strings.Builder
	for i := 0; i < len(items); {
		group := groupAt(items, i)
		i += len(group)
		name := group[0].Profile
		switch {
		case name == "":
			p.group(&b, "This machine", group)
		case len(names) > 1 && isWell(group):
			fmt.Fprintf(&b, "%s %s\n", p.heading("Profile "+name+":"), p.colours.paint(green, "ok, "+plural(len(group), "check")))
		default:
			p.group(&b, "Profile "+name, group)
		}
	}
	b.WriteString(p.summary(items, len(names)))
	return []byte(b.String())
}

// groupAt is the findings from i on that are about the same profile.
func groupAt(items []finding, i int) []finding {
	end := i + 1
	for end < len(items) && items[end].Profile == items[i].Profile {
		end++
	}
	return items[i:end]
}

func isWell(group []finding) bool {
	for _, item := range group {
		if item.Result != fine {
			return false
		}
	}
	return true
}

func (p page) heading(text string) string { return p.colours.paint(bold, text) }

// The columns of a finding: result and check.
const (
	resultWidth = 9
	checkWidth  = 12
	indent      = 2
)

func (p page) group(w io.Writer, heading string, group []finding) {
	_, _ = fmt.Fprintln(w, p.heading(heading))
	margin := strings.Repeat(" ", indent+resultWidth+checkWidth)
	for _, item := range group {
		lines := broken(item.Detail, p.width-len(margin))
		result := p.colours.paint(colourOf(item.Result), string(item.Result)) + strings.Repeat(" ", resultWidth-len(item.Result))
		_, _ = fmt.Fprintf(w, "%*s%s%-*s%s\n", indent, "", result, checkWidth, item.Check, strings.Join(lines, "\n"+margin))
		if item.Mend != "" {
			// In one piece, so that it can be copied.
			_, _ = fmt.Fprintf(w, "%*smend: %s\n", indent+resultWidth, "", p.heading(item.Mend))
		}
	}
}

func colourOf(r result) string {
	return map[result]string{fine: green, warned: yellow, failed: red}[r]
}

func (p page) summary(items []finding, profiles int) string {
	count := map[result]int{}
	for _, item := range items {
		count[item.Result]++
	}
	text, colour := "Nothing is wrong", green
	switch {
	case count[failed] > 0:
		text, colour = fmt.Sprintf("%d failed, %s", count[failed], plural(count[warned], "warning")), red
	case count[warned] > 0:
		text, colour = "Nothing failed, "+plural(count[warned], "warning"), yellow
	}
	if profiles == 0 {
		return p.colours.paint(colour, text) + ". There are no profiles yet; setup makes one.\n"
	}
	return p.colours.paint(colour, text) + " (" + plural(profiles, "profile") + ").\n"
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// broken cuts text at spaces into lines of at most width columns, or leaves it whole when width is not positive. A word
// that is longer, such as a path, gets a line of its own.
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
