// Package completion completes command lines: it has the scripts of the shells, and answers them
// with what can stand for a word.
package completion

import (
	"bytes"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"

	"github.com/alecthomas/kong"
	"github.com/spf13/cobra"

	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// Script is cobra's for a shell: bash, zsh, fish or powershell. Of cobra only the scripts are
// linked: its own parser would cost eight times as much, and kong is one.
func Script(shell string) ([]byte, error) {
	program := &cobra.Command{Use: ui.Program}
	generate := map[string]func(io.Writer) error{
		"bash": func(w io.Writer) error {
			return program.GenBashCompletionV2(w,
				true)
		},
		"zsh":        program.GenZshCompletion,
		"fish":       func(w io.Writer) error { return program.GenFishCompletion(w, true) },
		"powershell": program.GenPowerShellCompletionWithDesc,
	}
	var script bytes.Buffer
	if err := generate[shell](&script); err != nil {
		return nil, err
	}
	return script.Bytes(), nil
}

// Candidates answers cobra's scripts: a candidate a line, a tab before its description, and at the
// end what the shell shall do besides. node is the program; the last word is the one that is
// completed.
func Candidates(h *host.Host, node *kong.Node, words []string) string {
	if len(words) == 0 {
		words = []string{""}
	}
	line := typed{node: node, values: map[string]string{}}
	for _, word := range words[:len(words)-1] {
		line.add(word)
	}
	return line.complete(h, words[len(words)-1]).String()
}

// typed is the command line before the word that is completed.
type typed struct {
	node      *kong.Node        // the command
	arguments int               // how many of its arguments there are
	values    map[string]string // of its flags
	open      *kong.Flag        // whose value comes next; nil: none
}

func (t *typed) add(word string) {
	name, value, assigned := strings.Cut(word, "=")
	switch flag := t.flag(name); {
	case t.open != nil:
		t.values[t.open.Name], t.open = word, nil
	case flag != nil && !assigned && !flag.IsBool():
		t.open = flag
	case flag != nil:
		t.values[flag.Name] = value
	case !strings.HasPrefix(word, "-"):
		t.enter(word)
	}
}

// enter takes a word for a command where there are some, else for an argument.
func (t *typed) enter(word string) {
	for _, child := range t.node.Children {
		if child.Name == word && t.arguments == 0 {
			t.node = child
			return
		}
	}
	t.arguments++
}

func (t *typed) flag(word string) *kong.Flag {
	for _, group := range t.node.AllFlags(true) {
		for _, flag := range group {
			if word == "--"+flag.Name || flag.Short != 0 &&
				word == "-"+string(flag.Short) {
				return flag
			}
		}
	}
	return nil
}

// completions are what can stand for a word.
type completions struct {
	list  []cobra.Completion
	files bool // without any, the shell completes names of files
}

// String writes them in cobra's protocol.
func (c completions) String() string {
	directive := cobra.ShellCompDirectiveNoFileComp
	switch {
	case c.files:
		directive = cobra.ShellCompDirectiveDefault
	case len(c.list) == 1 && strings.HasSuffix(c.list[0], "="):
		directive |= cobra.ShellCompDirectiveNoSpace
	}
	lines := append(slices.Clone(c.list), fmt.Sprintf(":%d\n", directive))
	return strings.Join(lines, "\n")
}

// complete finds what begins with the word: the values of a flag, flags, or what else can follow.
func (t *typed) complete(h *host.Host, word string) completions {
	name, value, assigned := strings.Cut(word, "=")
	var found completions
	switch flag := t.flag(name); {
	case t.open != nil:
		found = t.valuesOf(h, t.open, word)
	case flag != nil && assigned:
		// In what follows a second "=", the scripts disagree about where the word begins.
		if word = value; !strings.Contains(value, "=") {
			found = t.valuesOf(h, flag, value)
		}
	case strings.HasPrefix(word, "-"):
		found.list = t.flags()
	default:
		found = completions{list: t.following(h), files: t.takesFile()}
	}
	found.list = slices.DeleteFunc(found.list, func(c cobra.Completion) bool {
		return !strings.HasPrefix(c, word)
	})
	return found
}

// flags are those of the command, less those that are given already and can be so only once.
func (t *typed) flags() []cobra.Completion {
	var list []cobra.Completion
	for _, group := range t.node.AllFlags(true) {
		for _, flag := range group {
			if _, given := t.values[flag.Name]; !given || flag.IsSlice() {
				list = append(list, cobra.CompletionWithDesc("--"+flag.Name,
					flag.Help))
			}
		}
	}
	return list
}

// following are commands or an argument's values; where neither can follow, only flags can.
func (t *typed) following(h *host.Host) []cobra.Completion {
	switch {
	case t.arguments < len(t.node.Positional):
		argument := t.node.Positional[t.arguments]
		if argument.Name == "context" {
			return t.contexts(h)
		}
		return enum(argument)
	case t.node.Leaf():
		return t.flags()
	case t.arguments > 0:
		return nil
	}
	var list []cobra.Completion
	for _, child := range t.node.Children {
		if !child.Hidden {
			list = append(list, cobra.CompletionWithDesc(child.Name, child.Help))
		}
	}
	return list
}

// takesFile reports whether an argument can follow that is a file.
func (t *typed) takesFile() bool {
	arguments := t.node.Positional
	return t.arguments < len(arguments) && arguments[t.arguments].Name == "file"
}

// valuesOf are what a flag can be set to, as far as that is known here.
func (t *typed) valuesOf(h *host.Host, flag *kong.Flag, value string) completions {
	switch {
	case flag.Name == "profile":
		return completions{list: profiles(h)}
	case flag.Name == "context" || flag.Name == "admin-context":
		return completions{list: t.contexts(h)}
	case flag.Name == "bootstrap":
		return t.bootstrap(h, value)
	}
	return completions{list: enum(flag.Value),
		files: flag.PlaceHolder == "FILE" || flag.PlaceHolder == "DIR"}
}

// bootstrap are the sources, and what one of them is followed by once it is there.
func (t *typed) bootstrap(h *host.Host, value string) completions {
	var list []cobra.Completion
	switch source, _, named := strings.Cut(value, "="); {
	case !named:
		list = []cobra.Completion{"keyring", "context=", "in-cluster", "token-file=",
			"env=", "command=", "github-actions", "azure-pipelines"}
	case source == string(profile.SourceContext):
		for _, name := range t.contexts(h) {
			list = append(list, source+"="+name)
		}
	}
	takesFile := strings.HasPrefix(value, string(profile.SourceTokenFile)+"=")
	return completions{list: list, files: takesFile}
}

func enum(value *kong.Value) []cobra.Completion {
	if value.Enum == "" {
		return nil
	}
	return slices.Sorted(slices.Values(value.EnumSlice()))
}

func profiles(h *host.Host) []cobra.Completion {
	dir, err := h.Profiles()
	if err != nil {
		return nil
	}
	names, _ := dir.Names()
	return names
}

// contexts are those of the kubeconfig that the command line names, or else of the user's.
func (t *typed) contexts(h *host.Host) []cobra.Completion {
	paths, err := h.KubeconfigPaths(t.values["kubeconfig"])
	if err != nil {
		return nil
	}
	names, _ := kubeconfig.Contexts(paths)
	return slices.DeleteFunc(names, func(name string) bool { return !isPlain(name) })
}

// isPlain reports whether every shell takes a name as it is. Somebody else may have written the
// kubeconfig: of several names bash and PowerShell insert the common beginning unquoted, and
// cobra's scripts evaluate the line at the next TAB, so a $(…) in it would run even before Enter. A
// name that begins with a dash would become a flag.
func isPlain(name string) bool {
	for i, r := range name {
		letter := unicode.IsLetter(r) || unicode.IsDigit(r)
		if !letter && (i == 0 || !strings.ContainsRune("._@:/+-", r)) {
			return false
		}
	}
	return name != ""
}
