package main

import (
	"fmt"
	"html"
	"math"
	"strings"
)

// chart is lines over a logarithmic axis, as SVG that can be read on a light and on a dark page.
type chart struct {
	title, x, y string
	lines       []line
	goal        float64 // 0: none
}

type line struct {
	name   string
	points []point
}

type point struct{ x, y float64 }

// The picture, in its own units.
const (
	width, height           = 640, 320
	left, right, top, below = 64, 150, 44, 48
)

// colours can be told apart by who sees no red or green (Okabe and Ito), on white and on black.
var colours = []string{"#0072b2", "#d55e00", "#009e73", "#cc79a7"}

// style has the text in the colour that the page's own text has.
const style = `<style>text{font:12px system-ui,sans-serif;fill:#1f2328}` +
	`.title{font-weight:600;font-size:14px}.grid{stroke:#d0d7de}.goal{stroke:#cf222e;` +
	`stroke-dasharray:6 4}.goal-text{fill:#cf222e}@media(prefers-color-scheme:dark){` +
	`text{fill:#e6edf3}.grid{stroke:#3d444d}.goal{stroke:#ff7b72}.goal-text{fill:#ff7b72}}` +
	`</style>`

// svg draws it.
func (c chart) svg() string {
	var out strings.Builder
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" role="img" `+
		`aria-label="%s">%s`+"\n", width, height, html.EscapeString(c.title), style)
	text(&out, left, 22, "start", "title", c.title)
	lowest, highest, most := c.extent()
	most = nice(most)
	toX := func(x float64) float64 {
		share := 0.5
		if highest > lowest {
			share = math.Log(x/lowest) / math.Log(highest/lowest)
		}
		return left + share*(width-left-right)
	}
	toY := func(y float64) float64 { return height - below - y/most*(height-top-below) }
	for i := range 5 {
		y := most * float64(i) / 4
		fmt.Fprintf(&out, `<line class="grid" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>`+"\n",
			left, width-right, toY(y), toY(y))
		text(&out, left-8, toY(y)+4, "end", "", number(y))
	}
	for _, x := range c.places() {
		text(&out, toX(x), height-below+18, "middle", "", number(x))
	}
	text(&out, left+float64(width-left-right)/2, height-10, "middle", "", c.x)
	text(&out, left, 38, "start", "", c.y)
	if c.goal > 0 {
		fmt.Fprintf(&out, `<line class="goal" x1="%d" x2="%d" y1="%.1f" y2="%.1f"/>`+"\n",
			left, width-right, toY(c.goal), toY(c.goal))
		text(&out, width-right+8, toY(c.goal)+4, "start", "goal-text",
			"goal: "+number(c.goal))
	}
	c.draw(&out, toX, toY)
	out.WriteString("</svg>\n")
	return out.String()
}

// draw draws the lines, with their names at their ends, none of which is on another.
func (c chart) draw(out *strings.Builder, toX, toY func(float64) float64) {
	taken := []float64{}
	if c.goal > 0 {
		taken = append(taken, toY(c.goal)+4)
	}
	for i, l := range c.lines {
		colour := colours[i%len(colours)]
		var path []string
		for _, p := range l.points {
			path = append(path, fmt.Sprintf("%.1f,%.1f", toX(p.x), toY(p.y)))
			fmt.Fprintf(out, `<circle cx="%.1f" cy="%.1f" r="3.5" fill="%s"/>`+"\n",
				toX(p.x), toY(p.y), colour)
		}
		fmt.Fprintf(out, `<polyline fill="none" stroke="%s" stroke-width="2" points="%s"/>`+
			"\n", colour, strings.Join(path, " "))
		if len(l.points) == 0 {
			continue
		}
		at := free(toY(l.points[len(l.points)-1].y)+4, taken)
		taken = append(taken, at)
		fmt.Fprintf(out, `<circle cx="%d" cy="%.1f" r="4" fill="%s"/>`+"\n",
			width-right+12, at-4, colour)
		text(out, width-right+20, at, "start", "", l.name)
	}
}

// lineHeight is what a name takes.
const lineHeight = 15

// free is the place nearest to one, below those that are taken.
func free(at float64, taken []float64) float64 {
	for moved := true; moved; {
		moved = false
		for _, other := range taken {
			if math.Abs(at-other) < lineHeight {
				at, moved = other-lineHeight, true
			}
		}
	}
	return at
}

func text(out *strings.Builder, x, y float64, anchor, class, what string) {
	fmt.Fprintf(out, `<text x="%.1f" y="%.1f" text-anchor="%s" class="%s">%s</text>`+"\n", x, y,
		anchor, class, html.EscapeString(what))
}

func (c chart) extent() (lowest, highest, most float64) {
	lowest, most = math.Inf(1), c.goal
	for _, l := range c.lines {
		for _, p := range l.points {
			lowest, highest = min(lowest, p.x), max(highest, p.x)
			most = max(most, p.y)
		}
	}
	return lowest, highest, most
}

// places are where there is a point, each once.
func (c chart) places() (all []float64) {
	seen := map[float64]bool{}
	for _, l := range c.lines {
		for _, p := range l.points {
			if !seen[p.x] {
				seen[p.x] = true
				all = append(all, p.x)
			}
		}
	}
	return all
}

// nice is a number that four parts of an axis can be read by, and no less than n.
func nice(n float64) float64 {
	if n <= 0 {
		return 1
	}
	step := math.Pow(10, math.Floor(math.Log10(n)))
	for _, factor := range []float64{1, 2, 4, 6, 8, 10} {
		if factor*step >= n {
			return factor * step
		}
	}
	return 10 * step
}

func number(n float64) string {
	switch {
	case n == math.Trunc(n):
		return fmt.Sprintf("%.0f", n)
	case n < 10:
		return fmt.Sprintf("%.2g", n)
	}
	return fmt.Sprintf("%.1f", n)
}
