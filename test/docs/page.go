// Package docs reads what README.md and docs/*.md show: the blocks of commands and of files, and
// the commands within the text. It knows nothing of what they do.
package docs

import (
	"os/exec"
	"regexp"
	"strings"
)

// Block is a fenced block of a page. The words after its language, which a reader does not see,
// say for whom it is.
type Block struct {
	Line     int // of its first line
	Language string
	Words    []string
	Text     string
}

// Command is what a reader types, and what he is shown as its output.
type Command struct {
	Line  int
	Text  string
	Shown string // only in console blocks
}

// Blocks are the fenced blocks of a page, in their order.
func Blocks(page string) (blocks []Block) {
	var open *Block
	for i, line := range strings.Split(page, "\n") {
		fence, isFence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case isFence && open == nil:
			open = &Block{Line: i + 2}
			if info := strings.Fields(fence); len(info) > 0 {
				open.Language, open.Words = info[0], info[1:]
			}
		case isFence:
			blocks = append(blocks, *open)
			open = nil
		case open != nil:
			open.Text += line + "\n"
		}
	}
	return blocks
}

// Commands are what a block of commands shows: each line of its own, or as many as a shell needs
// to have a whole one. In a console block a command begins with "$ ".
func (b Block) Commands() (commands []Command) {
	current := -1 // the one that is not whole yet
	for i, line := range strings.Split(strings.TrimSuffix(b.Text, "\n"), "\n") {
		typed, prompt := line, true
		if b.Language == "console" && current < 0 {
			typed, prompt = strings.CutPrefix(line, "$ ")
		}
		switch trimmed := strings.TrimSpace(typed); {
		case current >= 0:
			commands[current].Text += "\n" + typed
		case !prompt && len(commands) > 0:
			commands[len(commands)-1].Shown += line + "\n"
			continue
		case trimmed == "" || strings.HasPrefix(trimmed, "#"):
			continue
		default:
			commands = append(commands, Command{Line: b.Line + i, Text: typed})
			current = len(commands) - 1
		}
		if isWhole(commands[current].Text) {
			current = -1
		}
	}
	return commands
}

// isWhole reports whether a shell would run a text and not ask for more.
func isWhole(text string) bool {
	// of a here-document that has no end bash only warns
	said, err := exec.Command("bash", "-n", "-c", text).CombinedOutput()
	return !strings.HasSuffix(text, "\\") && err == nil && len(said) == 0
}

// inline is a command of the program within the text, or in a table.
var inline = regexp.MustCompile("`([^`]+)`")

// Inline are the words in backquotes outside of blocks.
func Inline(page string) (spans []Command) {
	inside := false
	for i, line := range strings.Split(page, "\n") {
		if strings.HasPrefix(strings.TrimSpace(line), "```") {
			inside = !inside
			continue
		}
		for _, match := range inline.FindAllStringSubmatch(line, -1) {
			if !inside {
				spans = append(spans, Command{Line: i + 1, Text: match[1]})
			}
		}
	}
	return spans
}

// Hidden is what differs from one reader to the next: times, ids and names of machines.
func Hidden(text string) string {
	for _, h := range hidden {
		text = h.what.ReplaceAllString(text, h.as)
	}
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.TrimRight(lines[i], " ")
	}
	return strings.TrimSpace(strings.Join(lines, "\n"))
}

var hidden = []struct {
	what *regexp.Regexp
	as   string
}{
	{regexp.MustCompile(`\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b`), "UUID"},
	{regexp.MustCompile(`\d{4}-\d\d-\d\d \d\d:\d\d`), "DATE"},
	{regexp.MustCompile(`\b\d+(h\d+m|[smhd])\b`), "AGE"},
	{regexp.MustCompile(`-device-[a-z0-9.-]+-[0-9a-f]{16}\b`), "-device-HOST-ID"},
	{regexp.MustCompile(`(?m)^([a-z0-9.-]+)-[0-9a-f]{16}\b`), "$1-ID"},
	{regexp.MustCompile(`refused after \d+ seconds`), "refused after SECONDS"},
	{regexp.MustCompile(`https://127\.0\.0\.1:\d+`), "https://prod.example.com:6443"},
}

// Matches reports whether an output is what is shown, in which a line "…" stands for any lines.
func Matches(shown, output string) bool {
	pattern := regexp.QuoteMeta(Hidden(shown))
	pattern = regexp.MustCompile(`(?m)^…$\n?`).ReplaceAllString(pattern, "(?s:.*)")
	return regexp.MustCompile("^" + pattern + "$").MatchString(Hidden(output))
}
