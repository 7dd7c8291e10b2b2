package manual

import (
	_ "embed"
	"strings"
)

// exampleText has the examples that end each help: a line "# COMMAND", then what can be typed.
//
//go:embed examples.txt
var exampleText string

// Examples are those of a command; the program's own are under its name.
func Examples(command string) (lines []string) {
	for section := range strings.SplitSeq("\n"+exampleText, "\n# ") {
		name, rest, _ := strings.Cut(section, "\n")
		if name == command {
			return strings.Split(strings.TrimSpace(rest), "\n")
		}
	}
	return nil
}
