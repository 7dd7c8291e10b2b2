package main

import (
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"bash, zsh or fish."`
}

// The scripts ask the program itself for candidates, so they never grow old. A candidate may be a name from somebody
// else's kubeconfig: zsh and fish quote what they insert, but bash does not, and would run a $(…) in it at the next Enter.
// The words that bash hands over are quoted as well; that comes off before they are compared.
var completionScripts = map[string]string{
	"bash": `# source <(sa-exec-credential completion bash)
_sa_exec_credential() {
    local word words=("${COMP_WORDS[@]:1:COMP_CWORD}")
    COMPREPLY=()
    while IFS= read -r word; do
        COMPREPLY+=("$(printf %q "$word")")
    done < <(sa-exec-credential complete -- "${words[@]//\\/}" 2>/dev/null)
}
complete -o default -F _sa_exec_credential sa-exec-credential
`,
	"zsh": `#compdef sa-exec-credential
# source <(sa-exec-credential completion zsh)
_sa_exec_credential() {
    local -a candidates
    candidates=("${(@f)$(sa-exec-credential complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -n ${candidates[1]} ]]; then compadd -a candidates; else _files; fi
}
compdef _sa_exec_credential sa-exec-credential
`,
	"fish": `# sa-exec-credential completion fish | source
complete -c sa-exec-credential -a '(sa-exec-credential complete -- (commandline -opc)[2..-1] (commandline -ct) 2>/dev/null)'
`,
}

// Run prints a script for the shell.
func (c *completionCommand) Run(h *host.Host) error {
	return h.Write([]byte(completionScripts[c.Shell]))
}

type completeCommand struct {
	Words []string `arg:"" optional:""`
}

// Run prints the candidates for the last word, one a line.
func (c *completeCommand) Run(h *host.Host, parser *kong.Kong) error {
	words := c.Words
	if len(words) == 0 {
		words = []string{""}
	}
	list := candidates(h, parser.Model, words[:len(words)-1])
	var b strings.Builder
	for _, candidate := range list {
		if strings.HasPrefix(candidate, words[len(words)-1]) && ui.Printable(candidate) == candidate {
			b.WriteString(candidate + "\n")
		}
	}
	return h.Write([]byte(b.String()))
}

// candidates are what may follow the words: commands, the values of a flag, or flags.
func candidates(h *host.Host, model *kong.Application, before []string) []string {
	node := model.Node
	for _, word := range before {
		for _, child := range node.Children {
			if child.Name == word {
				node = child
			}
		}
	}
	if len(before) > 0 {
		if flag := findFlag(node, before[len(before)-1]); flag != nil && !flag.IsBool() {
			return values(h, flag)
		}
	}
	var list []string
	for _, child := range node.Children {
		if !child.Hidden {
			list = append(list, child.Name)
		}
	}
	for _, argument := range node.Positional {
		list = append(list, enum(argument)...)
		if argument.Name == "context" {
			list = append(list, contextNames(h)...)
		}
	}
	for _, group := range node.AllFlags(true) {
		for _, flag := range group {
			list = append(list, "--"+flag.Name)
		}
	}
	return list
}

func findFlag(node *kong.Node, word string) *kong.Flag {
	for _, group := range node.AllFlags(true) {
		for _, flag := range group {
			if word == "--"+flag.Name || flag.Short != 0 && word == "-"+string(flag.Short) {
				return flag
			}
		}
	}
	return nil
}

// values are what a flag may be set to, as far as that is known here; for the others the shell offers files.
func values(h *host.Host, flag *kong.Flag) []string {
	switch flag.Name {
	case "profile":
		folder, err := h.Profiles()
		if err != nil {
			return nil
		}
		names, _ := folder.Names()
		return names
	case "context", "admin-context":
		return contextNames(h)
	case "bootstrap":
		return []string{"keyring", "context=", "in-cluster", "token-file=", "env=", "command="}
	}
	return enum(flag.Value)
}

func enum(value *kong.Value) []string {
	if value.Enum == "" {
		return nil
	}
	values := value.EnumSlice()
	slices.Sort(values)
	return values
}

func contextNames(h *host.Host) []string {
	paths, err := h.KubeconfigPaths("")
	if err != nil {
		return nil
	}
	names, _ := kubeconfig.Contexts(paths)
	return names
}
