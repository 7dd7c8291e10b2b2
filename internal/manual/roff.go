package manual

import (
	"fmt"
	"regexp"
	"strings"
)

// page is one in the language of man(7), which groff and mandoc read.
type page struct{ strings.Builder }

func (p *page) line(format string, values ...any) { _, _ = fmt.Fprintf(p, format+"\n", values...) }

func (p *page) title(name, what string) {
	day, version := footer()
	p.line(`.TH %s 1 "%s" "%s" "User Commands"`, strings.ToUpper(plain(name)), plain(day),
		plain(version))
	p.line(".nh\n.ad l") // commands are not to be broken
	p.section("NAME")
	p.line(`%s \- %s`, plain(name), plain(what))
}

func (p *page) synopsis(command, rest string) {
	p.section("SYNOPSIS")
	p.line("%s %s", bold(command), italic(rest))
}

func (p *page) section(name string) { p.line(".SH %s", name) }

func (p *page) subsection(name string) { p.line(`.SS "%s"`, plain(name)) }

func (p *page) text(text string) { p.line("%s", plain(text)) }

func (p *page) paragraph(text string) { p.line(".PP\n%s", plain(text)) }

func (p *page) item(term, text string) { p.line(".TP\n%s\n%s", term, plain(text)) }

func (p *page) examples(command string) {
	lines := Examples(command)
	if len(lines) == 0 {
		return
	}
	p.section("EXAMPLES")
	p.line(".nf")
	for _, line := range lines {
		p.line("%s", plain(line))
	}
	p.line(".fi")
}

func (p *page) seeAlso(pages []string) {
	p.section("SEE ALSO")
	for i, name := range pages {
		mark := ","
		if i == len(pages)-1 {
			mark = ""
		}
		p.line(`.BR %s (1)%s`, plain(name), mark)
	}
	p.paragraph(home)
}

func (p *page) end() []byte { return []byte(p.String()) }

func bold(text string) string { return `\fB` + plain(text) + `\fR` }

func italic(text string) string { return `\fI` + plain(text) + `\fR` }

// special are what roff reads otherwise than it stands there: an escape, a hyphen that is none, and
// quotes and accents that it replaces by others.
var special = strings.NewReplacer(`\`, `\e`, `-`, `\-`, `'`, `\(aq`, "`", `\(ga`, `^`, `\(ha`, `~`,
	`\(ti`, `"`, `\(dq`)

var foreign = regexp.MustCompile(`[^\x00-\x7f]`)

// plain is a text that is shown as it is. A dot at the beginning of a line would be a request.
func plain(text string) string {
	text = foreign.ReplaceAllStringFunc(special.Replace(text), func(r string) string {
		return fmt.Sprintf(`\[u%04X]`, []rune(r)[0])
	})
	if strings.HasPrefix(text, ".") {
		return `\&` + text
	}
	return text
}
