package ui

import (
	"path/filepath"
	"slices"
	"strings"

	"github.com/kballard/go-shellquote"
)

// typed is how a person calls this program.
var typed = []string{Program}

// CalledAs is told the name by which this program was started. A plugin of kubectl's, as krew
// installs it, is in no PATH by its own name: kubectl-sa_exec_credential is typed as two words, and
// an underscore in a plugin's name as a dash.
func CalledAs(name string) {
	name = strings.TrimSuffix(filepath.Base(name), ".exe")
	if plugin, found := strings.CutPrefix(name, "kubectl-"); found && plugin != "" {
		typed = append([]string{"kubectl"}, strings.Split(plugin, "-")...)
		for i := range typed {
			typed[i] = strings.ReplaceAll(typed[i], "_", "-")
		}
	}
}

// CommandLine is a command as it is typed into a POSIX shell. Every command that is printed goes
// through it: names from clusters and kubeconfigs may hold anything.
func CommandLine(words ...string) string {
	if len(words) > 0 && words[0] == Program {
		words = slices.Concat(typed, words[1:])
	}
	return shellquote.Join(words...)
}

// Elsewhere is a command for another machine, or a pod, where the program has its own name.
func Elsewhere(words ...string) string { return shellquote.Join(words...) }

// AsTyped is a text in which this program's commands, at the beginning of a line or after a colon,
// are spelled as they are typed.
func AsTyped(text string) string {
	if len(typed) == 1 {
		return text
	}
	for _, before := range []string{"\n", ": "} {
		text = strings.ReplaceAll("\n"+text, before+Program+" ",
			before+CommandLine(Program)+" ")[1:]
	}
	return text
}
