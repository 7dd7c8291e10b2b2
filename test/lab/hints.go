//go:build linux

package lab

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// programs are those that hints, fixes and the last line of a setup begin commands with.
const programs = `(?:KUBECONFIG=\S+ )?sa-exec-credential|kubectl|chmod|rm|keyctl|curl|export`

// command is one of them in a text: all that is printed to be typed stands after "run: ", "fix: ",
// "Next: " or another word with a colon.
var command = regexp.MustCompile(`: ((?:` + programs + `) )`)

// Hints are the commands that a text of the program's, what it has said or printed, gives its
// reader to type, in their order, each of them once. It is as it is printed, up to the end of its
// line or a ";".
func Hints(text string) (commands []string) {
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		for {
			found := command.FindStringSubmatchIndex(line)
			if found == nil {
				break
			}
			typed := ui.FirstCommand(line[found[2]:])
			// kubectl runs the plugin several times
			if !slices.Contains(commands, typed) {
				commands = append(commands, typed)
			}
			line = line[found[2]+len(typed):]
		}
	}
	return commands
}

// harmless are commands that only look at something, and that whoever reads a hint may type at any
// time.
var harmless = regexp.MustCompile(`^(sa-exec-credential (.* )?--help$|sa-exec-credential ` +
	`(status|devices|kubeconfig --profile \S+$)|kubectl ((--\S+|-n) \S+ )*(get|auth can-i|` +
	`config get-contexts|config view|api-resources|kuberc view)\b|keyctl show|curl )`)

// IsHarmless reports whether a command changes nothing.
func IsHarmless(command string) bool {
	return harmless.MatchString(command) && !strings.Contains(command, "&&")
}

// Hints are those of a command that has ended.
func (r Result) Hints() []string { return Hints(r.Stderr + r.Stdout) }

// Hint is the command that a text gives its reader to type: the only one, or the only one that
// holds all words.
func Hint(text string, words ...string) (command string, err error) {
	found := slices.DeleteFunc(Hints(text), func(command string) bool {
		return slices.ContainsFunc(words, func(word string) bool {
			return !strings.Contains(command, word)
		})
	})
	if len(found) != 1 {
		return "", fmt.Errorf("%d commands with %q, not one: %q", len(found), words, found)
	}
	return found[0], nil
}

// Follow types the command of a hint as it is printed. It has to succeed.
func (m *Machine) Follow(r Result, words ...string) Result {
	m.Helper()
	command, err := Hint(r.Stderr+r.Stdout, words...)
	if err != nil {
		m.Fatalf("%s: %v\n%s", r, err, r.Stderr)
	}
	c := m.Command("/bin/sh", "-c", command)
	c.PrintsToken = strings.HasPrefix(command, "sa-exec-credential token ")
	followed := c.Run(m.T).Succeeds()
	m.NoteEntries()
	return followed
}

// UnfollowedHints are the commands that a script was shown and has not typed. followed are the ones
// that it has; excused are patterns of what it need not type, each with the reason.
func UnfollowedHints(log string, followed, excused []string) (left []string) {
	typed := map[string]bool{}
	for _, command := range followed {
		typed[command] = true
	}
	for _, command := range Hints(log) {
		if !typed[command] && !slices.ContainsFunc(excused, func(pattern string) bool {
			return regexp.MustCompile(pattern).MatchString(command)
		}) {
			left = append(left, command)
		}
		typed[command] = true // once is enough
	}
	return left
}
