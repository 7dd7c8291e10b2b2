package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"
)

// The page that the figures are written to, and what begins and ends the part that is this file's.
const (
	page      = "docs/performance.md"
	partBegin = "<!-- make bench writes from here -->\n"
	partEnd   = "<!-- make bench writes to here -->\n"
)

// newPage is what there is before the first figures.
const newPage = "# Performance\n\nWhat this program costs, measured by `make bench`, which writes the " +
	"figures and draws the curves below.\n\n" + partBegin + partEnd

// goalTable is a table of what was wanted and what is.
type goalTable struct{ rows [][3]string }

func (g *goalTable) add(goal, figure string, isMet bool) {
	met := "yes"
	if !isMet {
		met = "**no**"
	}
	g.rows = append(g.rows, [3]string{goal, figure, met})
}

func (g *goalTable) String() string {
	text := "| goal | figure | met |\n| --- | --- | --- |\n"
	for _, row := range g.rows {
		text += "| " + strings.Join(row[:], " | ") + " |\n"
	}
	return text
}

// publish draws the curves and writes the page, and prints the goals.
func publish(fleets []*fleet, load string) error {
	var g goalTable
	first, last := fleets[0], fleets[len(fleets)-1]
	var wall, processor, status, doctor, logout, hit, cold line
	for _, f := range fleets {
		x := float64(f.size)
		processor.points = append(processor.points, point{x, ms(f.processor)})
		wall.points = append(wall.points, point{x, ms(f.wall)})
		status.points = append(status.points, point{x, f.status.Seconds()})
		doctor.points = append(doctor.points, point{x, f.doctor.Seconds()})
		logout.points = append(logout.points, point{x, f.logout.Seconds()})
		hit.points = append(hit.points, point{x, ms(f.hit)})
	}
	failed, notKept := 0, 0
	for _, c := range last.crowds {
		cold.points = append(cold.points, point{float64(c.processes), ms(c.last)})
		failed, notKept = failed+c.failed, notKept+c.notKept
	}
	g.add(fmt.Sprintf("setup: at most %d ms of a processor a context", setupGoal),
		fmt.Sprintf("%.0f ms of %d, %.0f ms of %d", ms(first.processor), first.size,
			ms(last.processor), last.size), ms(last.processor) <= setupGoal)
	g.add("setup: as much with many contexts as with ten", fmt.Sprintf("%.2f times",
		float64(last.processor)/float64(first.processor)), last.processor <= first.processor*5/4)
	g.add(fmt.Sprintf("`logout --all` of 500 profiles: at most %d s", logoutGoal),
		fmt.Sprintf("%.2f s of %d", last.logout.Seconds(), last.size),
		last.logout.Seconds() <= logoutGoal*max(1, float64(last.size)/500))
	g.add("cold clients of different profiles at once: every token kept, and no failure",
		fmt.Sprintf("%d not kept, %d failed, of up to %d", notKept, failed,
			last.crowds[len(last.crowds)-1].processes), notKept+failed == 0)
	fmt.Print("\n" + g.String())
	wall.name, processor.name = "passes", "of a processor"
	status.name, doctor.name, logout.name = "status", "doctor", "logout --all"
	hit.name, cold.name = "get, a hit", "the last"
	charts := map[string]chart{
		"scale-setup.svg": {title: "setup --all-contexts", x: "contexts", y: "ms a context",
			lines: []line{processor, wall}, goal: setupGoal},
		"scale-commands.svg": {title: "Commands about all profiles", x: "profiles",
			y: "seconds", lines: []line{status, doctor, logout}},
		"scale-hit.svg": {title: "A hit, the client names its profile", x: "profiles",
			y: "ms", lines: []line{hit}},
		"scale-processes.svg": {title: "Cold clients at once, each of another profile",
			x: "processes", y: "ms until the last has its token", lines: []line{cold}},
	}
	for name, c := range charts {
		path := filepath.Join("docs", "pictures", name)
		err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755),
			os.WriteFile(path, []byte(c.svg()), 0o644))
		if err != nil {
			return err
		}
	}
	return writePage(fleets, g, load)
}

// writePage replaces the part of the page that is about work that grows.
func writePage(fleets []*fleet, g goalTable, load string) error {
	before, err := os.ReadFile(page)
	if errors.Is(err, os.ErrNotExist) {
		before, err = []byte(newPage), nil
	}
	if err != nil {
		return err
	}
	head, rest, found := bytes.Cut(before, []byte(partBegin))
	_, foot, ended := bytes.Cut(rest, []byte(partEnd))
	if !found || !ended {
		head, foot = append(before, '\n'), nil
	}
	var out bytes.Buffer
	out.Write(head)
	out.WriteString(partBegin)
	fmt.Fprintf(&out, "## Work that grows\n\nOn %d processors, %s%s. A setup is of contexts that "+
		"lead to one API server, each in a new namespace, with\nthe Secret Service as the "+
		"store; the processor's time is that of this program and of the `get` that proves "+
		"each context.\n\n", runtime.NumCPU(), time.Now().Format("2 January 2006"), load)
	out.WriteString(g.String())
	out.WriteString("\n![setup by the number of contexts](pictures/scale-setup.svg)\n\n" +
		"![status, doctor and logout by the number of profiles](pictures/scale-commands.svg)\n\n" +
		"![a hit by the number of profiles](pictures/scale-hit.svg)\n\n" +
		"![cold clients by their number](pictures/scale-processes.svg)\n\n")
	out.WriteString("| contexts | setup, processor | setup, passes | status | doctor | " +
		"logout --all | a hit |\n| ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for _, f := range fleets {
		fmt.Fprintf(&out, "| %d | %.0f ms | %.0f ms | %.2f s | %.2f s | %.2f s | %.1f ms |\n",
			f.size, ms(f.processor), ms(f.wall), f.status.Seconds(), f.doctor.Seconds(),
			f.logout.Seconds(), ms(f.hit))
	}
	out.WriteString("\n| cold clients at once | the last has its token after | not kept | " +
		"failed |\n| ---: | ---: | ---: | ---: |\n")
	for _, c := range fleets[len(fleets)-1].crowds {
		fmt.Fprintf(&out, "| %d | %.0f ms | %d | %d |\n", c.processes, ms(c.last), c.notKept,
			c.failed)
	}
	out.WriteString(partEnd)
	out.Write(foot)
	return os.WriteFile(page, out.Bytes(), 0o644)
}

// busyness is how much else the machine has to do, in words that go behind a date; empty: little.
func busyness() string {
	data, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return ""
	}
	var load float64
	if _, err := fmt.Sscan(string(data), &load); err != nil || load < float64(runtime.NumCPU())/2 {
		return ""
	}
	return fmt.Sprintf(", **while the machine was busy with other work** (load average %.1f "+
		"before)", load)
}
