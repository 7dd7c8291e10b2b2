//go:build linux

package lab

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// hintsVariable names the directory where each package notes what its tests were told to type, and
// whether they have. Empty: nowhere. Command hints compares these notes.
const hintsVariable = "LAB_HINTS"

// typed are the commands that tests have typed because the program said so, other than by
// Machine.Exec.
var typed struct {
	mu       sync.Mutex
	commands []string
}

// NoteTyped remembers a command that a test has typed as it was printed, and that has succeeded.
func NoteTyped(command string) {
	typed.mu.Lock()
	defer typed.mu.Unlock()
	typed.commands = append(typed.commands, command)
}

// quoted are the names, and numbers the times and counts, that differ from one hint to the next.
var quoted, numbers = regexp.MustCompile(`"[^"]*"|'[^']*'`), regexp.MustCompile(`[0-9]+`)

// Kinds are the sentences that give a text's reader something to type, with the command of each:
// what stands before the command, without names, and the command's first words.
func Kinds(text string) (commands map[string][]string) {
	commands = map[string][]string{}
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "> ") || strings.HasPrefix(line, "Usage: ") {
			continue // a line of a script in its log, or of --help
		}
		line = decoded(line)
		for _, command := range Hints(line) {
			before, _, _ := strings.Cut(line, command)
			clause := before[strings.LastIndexAny(strings.TrimSuffix(before, ": "),
				";:")+1:]
			clause = numbers.ReplaceAllString(quoted.ReplaceAllString(clause, "X"), "N")
			kind := strings.Join(append(strings.Fields(clause), verb(command)), " ")
			commands[kind] = append(commands[kind], command)
		}
	}
	return commands
}

// fix is one of doctor's, as JSON has it.
var fix = regexp.MustCompile(`^\s*"(?:fix|hint)": (".*"),?\n?$`)

// decoded is a line without its JSON, if that is what it is.
func decoded(line string) string {
	found := fix.FindStringSubmatch(line)
	var text string
	if found == nil || json.Unmarshal([]byte(found[1]), &text) != nil {
		return line
	}
	return "fix: " + text + "\n"
}

// valued are the flags before a command's verb that have a value.
var valued = []string{"-n", "--namespace", "--context", "--kubeconfig"}

// verb is a command's program, and the first word after it that says what it does.
func verb(command string) string {
	words := strings.Fields(command)
	for len(words) > 0 && strings.Contains(words[0], "=") {
		words = words[1:]
	}
	if len(words) == 0 {
		return ""
	}
	for i := 1; i < len(words); i++ {
		switch {
		case slices.Contains(valued, words[i]):
			i++
		case !strings.HasPrefix(words[i], "-") && !strings.ContainsAny(words[i], `/.'"`):
			return words[0] + " " + words[i]
		}
	}
	return words[0]
}

// saveHints notes, for all packages together, each kind with an example, and each that was typed.
func saveHints() error {
	dir := os.Getenv(hintsVariable)
	if dir == "" {
		return nil
	}
	results := shared.seen.results // nothing runs any more
	done := map[string]bool{}
	for _, command := range typed.commands {
		done[command] = true
	}
	for _, r := range results {
		if r.Code == 0 && len(r.Args) == 3 && r.Args[1] == "-c" {
			done[r.Args[2]] = true
		}
	}
	told, followed := map[string]string{}, map[string]bool{}
	for _, r := range results {
		for kind, commands := range Kinds(r.Stderr + "\n" + r.Stdout) {
			for _, command := range commands {
				told[kind] = command
				followed[kind] = followed[kind] || done[command]
			}
		}
	}
	var notes [2]strings.Builder
	for kind, command := range told {
		notes[0].WriteString(kind + "\t" + command + "\n")
		if followed[kind] {
			notes[1].WriteString(kind + "\n")
		}
	}
	name := filepath.Base(os.Args[0])
	return errors.Join(
		os.WriteFile(filepath.Join(dir, name+".told"), []byte(notes[0].String()), 0o600),
		os.WriteFile(filepath.Join(dir, name+".typed"), []byte(notes[1].String()), 0o600))
}
