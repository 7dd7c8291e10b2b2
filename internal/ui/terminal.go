package ui

import "strings"

// accents are the colours of the words that lines of some kinds begin with.
var accents = map[Kind]string{failure: Red, Warning: Yellow, Hint: Bold, Login: Bold, debug: Faint}

// line is one of standard error on a terminal of the command's own. Steps are faint, so that the
// eye finds what they have come to.
func (l Look) line(kind Kind, text string) string {
	accent, hasWord := accents[kind]
	switch {
	case kind == Done:
		return l.Colours.Paint(Proof, strings.Join(Broken(text, l.Width), "\n"))
	case !hasWord:
		lines := Broken(text, l.Width-len(hanging))
		for i, line := range lines {
			lines[i] = l.Colours.Paint(Faint, line)
		}
		return strings.Join(lines, "\n"+hanging)
	}
	word := string(kind) + ":"
	return l.Colours.Paint(accent, word) + strings.TrimPrefix(l.prose(word+" "+text), word)
}

const hanging = "  "

// prose breaks text at the terminal's width, but no command in it: each is a line of its own, in one
// piece, so that it can be copied.
func (l Look) prose(text string) string {
	if l.Width == 0 {
		return text
	}
	var lines []string
	for text != "" {
		before, command, after := cutCommand(text)
		lines = append(lines, Broken(before, l.Width-len(hanging))...)
		if command != "" {
			lines = append(lines, hanging+l.Colours.Paint(Bold, command))
		}
		text = after
	}
	return strings.Join(lines, "\n"+hanging)
}

// programs are those that what is printed to be typed begins with.
var programs = []string{Program, "kubectl", "chmod", "rm", "sudo", "systemctl", "keyctl", "curl",
	"export"}

// cutCommand cuts text around the first command in it: that stands after a colon, and ends with the
// text or at a semicolon.
func cutCommand(text string) (before, command, after string) {
	for start := 0; ; {
		at := strings.Index(text[start:], ": ")
		if at < 0 {
			return text, "", ""
		}
		start += at + len(": ")
		for _, program := range programs {
			if strings.HasPrefix(text[start:], program+" ") {
				command = FirstCommand(text[start:])
				return text[:start-1], command,
					strings.TrimPrefix(text[start+len(command):], "; ")
			}
		}
	}
}

// FirstCommand is what a shell runs first of a line.
func FirstCommand(text string) string {
	quote, escaped := rune(0), false
	for i, r := range text {
		switch {
		case escaped:
			escaped = false
		case r == '\\' && quote != '\'':
			escaped = true
		case quote != 0:
			if r == quote {
				quote = 0
			}
		case r == '\'' || r == '"':
			quote = r
		case r == ';':
			return text[:i]
		}
	}
	return text
}
