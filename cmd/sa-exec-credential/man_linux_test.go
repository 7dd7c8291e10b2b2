package main

import (
	"bytes"
	"os/exec"
	"strings"
	"testing"

	"github.com/alecthomas/kong"

	"github.com/sa-exec-credential/sa-exec-credential/internal/manual"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// readers are the two programs that show manual pages, with all of their warnings.
var readers = [][]string{
	{"mandoc", "-mman", "-Tutf8", "-O", "width=999", "-W", "warning"},
	{"groff", "-ww", "-Kutf8", "-man", "-Tutf8", "-P-cbou", "-rLL=1000n"},
}

// TestManualPages has every page read by both, and looks for all that --help says.
func TestManualPages(t *testing.T) {
	parser, err := kong.New(&grammar{}, kong.Name(ui.Program))
	if err != nil {
		t.Fatal(err)
	}
	for _, command := range append([]*kong.Node{parser.Model.Node}, parser.Model.Children...) {
		name := strings.TrimPrefix(command.Name, ui.Program)
		if command.Hidden {
			continue
		}
		t.Run(command.Name, func(t *testing.T) {
			page, err := exec.Command(ui.Program, "man", name).Output()
			if err != nil {
				t.Fatal(err)
			}
			for _, reader := range readers {
				checkPage(t, command, reader, read(t, reader, page))
			}
		})
	}
}

// read shows a page, with one space wherever there is white.
func read(t *testing.T, reader []string, page []byte) string {
	t.Helper()
	command := exec.Command(reader[0], reader[1:]...)
	var problems bytes.Buffer
	command.Stdin, command.Stderr = bytes.NewReader(page), &problems
	shown, err := command.Output()
	for problem := range strings.Lines(problems.String()) {
		if !strings.Contains(problem, "missing date") && // which only a release has
			!strings.Contains(problem, "see above") {
			t.Errorf("%s: %s", reader[0], problem)
		}
	}
	if len(shown) == 0 {
		t.Errorf("%s: %v", reader[0], err)
	}
	clean := exec.Command("col", "-bx")
	clean.Stdin = bytes.NewReader(shown)
	if shown, err = clean.Output(); err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(shown)), " ")
}

func checkPage(t *testing.T, command *kong.Node, reader []string, shown string) {
	t.Helper()
	said := manual.Examples(command.Name)
	for _, flag := range command.Flags {
		said = append(said, flag.Name, strings.TrimSuffix(flag.Help, "."))
	}
	for _, argument := range command.Positional {
		said = append(said, argument.Help)
	}
	if len(manual.Examples(command.Name)) == 0 {
		t.Errorf("%s has no examples", command.Name)
	}
	for _, text := range said {
		if !strings.Contains(shown, strings.Join(strings.Fields(text), " ")) {
			t.Errorf("%s does not show %q in\n%s", reader[0], text, shown)
		}
	}
}
