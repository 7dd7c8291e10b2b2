package pictures

import (
	"encoding/xml"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// Theme is the colours of a picture: those of GitHub's own pages, light or dark.
type Theme struct {
	Name                                               string
	back, border, text, faint, red, green, yellow, dot string
}

// Themes are both of them.
var Themes = []Theme{
	{
		"light",
		"#ffffff",
		"#d1d9e0",
		"#1f2328",
		"#656d76",
		"#d1242f",
		"#1a7f37",
		"#9a6700",
		"#d1d9e0",
	},
	{
		"dark",
		"#0d1117",
		"#3d444d",
		"#e6edf3",
		"#8b949e",
		"#f85149",
		"#3fb950",
		"#d29922",
		"#3d444d",
	},
}

// The measures of a picture, in pixels.
const (
	charWidth  = 8.0
	lineHeight = 19.0
	fontSize   = 13.3
	margin     = 18.0
	titleBar   = 34.0
)

// rest is how long the last picture of a recording stays.
const rest = 5 * time.Second

// SVG draws all that was shown.
func (c *Cast) SVG(t Theme, title string) []byte {
	lines := c.lines()
	p := c.open(t, title, len(lines))
	for i, l := range lines {
		for _, r := range merged(l) {
			p.run(i, r, "")
		}
	}
	return p.close()
}

// Animation draws it as it came. Who has asked for less motion sees the end.
func (c *Cast) Animation(t Theme, title string) []byte {
	lines := c.lines()
	p := c.open(t, title, c.Rows)
	lasts := c.Events[len(c.Events)-1].At + rest
	percent := func(at time.Duration) string {
		return fmt.Sprintf("%.2f%%", 100*at.Seconds()/lasts.Seconds())
	}
	p.printf(`<style>.s,.s text{animation:%.1fs step-end infinite}`, lasts.Seconds())
	names, steps := map[time.Duration]string{}, "0%{transform:none}"
	for i, l := range lines {
		for _, r := range l {
			if names[r.at] == "" {
				names[r.at] = fmt.Sprintf("a%d", len(names))
				p.printf(
					"@keyframes %s{0%%{opacity:0}%s,100%%{opacity:1}}",
					names[r.at],
					percent(r.at),
				)
			}
		}
		if hidden := i + 1 - c.Rows; hidden > 0 && len(l) > 0 {
			steps += fmt.Sprintf("%s{transform:translateY(-%gpx)}", percent(l[0].at),
				float64(hidden)*lineHeight)
		}
	}
	end := max(0, float64(len(lines)-c.Rows)) * lineHeight
	p.printf(
		"@keyframes s{%s100%%{transform:translateY(-%gpx)}}.s{animation-name:s}",
		steps,
		end,
	)
	p.printf(
		"@media(prefers-reduced-motion){.s,.s text{animation:none}.s{transform:translateY(-%gpx)}}</style>",
		end,
	)
	p.printf(
		`<clipPath id="c"><rect x="0" y="%g" width="100%%" height="%g"/></clipPath><g clip-path="url(#c)"><g class="s">`,
		titleBar,
		float64(c.Rows)*lineHeight+6,
	)
	for i, l := range lines {
		for _, r := range l {
			p.run(i, r, names[r.at])
		}
	}
	p.printf("</g></g>")
	return p.close()
}

// merged has neighbours of one look in one piece.
func merged(l line) (list line) {
	for _, r := range l {
		if n := len(list); n > 0 && list[n-1].look == r.look {
			list[n-1].text += r.text
			continue
		}
		list = append(list, r)
	}
	return list
}

type picture struct{ strings.Builder }

func (p *picture) printf(format string, args ...any) { _, _ = fmt.Fprintf(p, format, args...) }

func (c *Cast) open(t Theme, title string, rows int) *picture {
	width := float64(c.Columns)*charWidth + 2*margin
	height := float64(rows)*lineHeight + titleBar + margin
	p := &picture{}
	p.printf(
		`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %g %g" width="%g" height="%g" role="img">`,
		width,
		height,
		width,
		height,
	)
	p.printf("<title>%s</title>\n", escaped(title))
	p.printf(
		`<style>text{font:%gpx ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:%s;white-space:pre}`+
			`.b{font-weight:bold}.f{fill:%s}.r{fill:%s}.g{fill:%s}.y{fill:%s}</style>`,
		fontSize,
		t.text,
		t.faint,
		t.red,
		t.green,
		t.yellow,
	)
	p.printf(
		`<rect x=".5" y=".5" width="%g" height="%g" rx="8" fill="%s" stroke="%s"/>`,
		width-1,
		height-1,
		t.back,
		t.border,
	)
	for i := range 3 {
		p.printf(`<circle cx="%d" cy="17" r="5" fill="%s"/>`, 20+17*i, t.dot)
	}
	p.printf("\n")
	return p
}

func (p *picture) run(row int, r run, animation string) {
	if strings.TrimSpace(r.text) == "" {
		return
	}
	class := ""
	if r.look != "" {
		class = fmt.Sprintf(` class="%s"`, r.look)
	}
	if animation != "" {
		class += fmt.Sprintf(` style="animation-name:%s"`, animation)
	}
	p.printf(
		`<text x="%g" y="%g" textLength="%g" lengthAdjust="spacingAndGlyphs" xml:space="preserve"%s>%s</text>`+"\n",
		margin+float64(
			r.column,
		)*charWidth,
		titleBar+float64(row)*lineHeight+lineHeight*0.75,
		float64(utf8.RuneCountInString(r.text))*charWidth,
		class,
		escaped(r.text),
	)
}

func (p *picture) close() []byte {
	p.printf("</svg>\n")
	return []byte(p.String())
}

func escaped(text string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(text)) // a Builder takes everything
	return b.String()
}
