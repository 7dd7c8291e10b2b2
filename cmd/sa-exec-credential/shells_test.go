//go:build linux

package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// The prompt and the report of what has been run are told from what is typed by the number in them,
// which no line has as such.
const (
	promptCode = "ready $((40+2)) "
	prompt     = "ready 42 "
	reported   = "ran 42 "
)

// inTheShells are lines as somebody types them, and the arguments that the program then gets.
var inTheShells = []struct{ name, typed, want string }{
	{"a command", "stat\t", "status"},
	{"a command, and nothing that is hidden", "comp\t", "completion"},
	{"a flag", "token --head\t", "token --header"},
	{"a profile", "token --profile ci.b\t", "token --profile ci.build@prod"},
	{"a profile after its @", "token --profile ci.build@\t", "token --profile ci.build@prod"},
	{"a profile after an equals sign", "token --profile=ci.b\t",
		"token --profile=ci.build@prod"},
	{"a profile after an equals sign and its @", "token --profile=ci.build@p\t",
		"token --profile=ci.build@prod"},
	{"the common beginning of two profiles", "token --profile=de\tt\t",
		"token --profile=deploy@test"},
	{"a context", "token --context arn\t", "token --context " + withColons},
	{"a context after its colons", "token --context arn:aws:e\t", "token --context " +
		withColons},
	{"a context after an equals sign", "token --context=arn\t", "token --context=" +
		withColons},
	{"a context after an equals sign and its colons", "token --context=arn:aws:e\t",
		"token --context=" + withColons},
	{"an argument", "migrate arn:\t--admin-context adm\t",
		"migrate " + withColons + " --admin-context admin@prod"},
	{"another kubeconfig's context", "token --kubeconfig other.yaml --context the\t",
		"token --kubeconfig other.yaml --context the-other"},
	{"a bootstrap source and its context", "setup ci --bootstrap con\tadm\t",
		"setup ci --bootstrap context=admin@prod"},
	{"a bootstrap source after an equals sign", "setup ci --bootstrap=keyr\t",
		"setup ci --bootstrap=keyring"},
	{"an enum", "status -o j\t", "status -o json"},
	{"a shell", "completion pow\t", "completion powershell"},
	{"a file", "setup -o oth\t", "setup -o other.yaml"},
	{"a file after an equals sign", "token --kubeconfig=oth\t",
		"token --kubeconfig=other.yaml"},
	{"no file for a profile", "token --profile oth\t", "token --profile oth"},
	{"no name that runs something", "token --context evil\t", "token --context evil"},
	{"no beginning of two that do", "token --context two\t\t", "token --context two"},
	{"no name that is a flag", "token --context --help-\t", "token --context --help-"},
}

const withColons = "arn:aws:eks:eu:1:cluster/prod"

// shells are how each is started, with its own completion and ours.
var shells = map[string]struct {
	rc      string // the name of its start file
	content string
	command []string
}{
	"bash": {
		rc: ".bashrc", command: []string{"bash", "--noprofile"},
		content: "PS1='" + promptCode + "'\nsource /usr/share/bash-completion/bash_completion\n" +
			"source <(sa-exec-credential completion bash)\n",
	},
	"zsh": {
		rc: ".zshrc", command: []string{"zsh"},
		content: "setopt prompt_subst\nunsetopt prompt_sp\nPS1='" + promptCode + "'\n" +
			"autoload -Uz compinit\ncompinit -u\nsource <(sa-exec-credential " +
			"completion zsh)\n",
	},
	"fish": {
		rc: ".config/fish/config.fish", command: []string{"fish"},
		content: "set -g fish_greeting\nfunction fish_prompt; echo -n 'ready '(math 40 + " +
			"2)' '; end\n" +
			"sa-exec-credential completion fish | source\n",
	},
}

// TestShells types lines with real tabs into real shells, and sees what they run.
func TestShells(t *testing.T) {
	for name := range shells {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := startShell(t, name)
			for _, line := range inTheShells {
				if got := s.run(ui.Program + " " + line.typed); got != line.want {
					t.Errorf("%s: %q became %q, not %q", line.name, line.typed,
						got, line.want)
				}
				if _, err := os.Stat(filepath.Join(s.home,
					"executed")); err == nil {
					t.Fatalf("%s: a name from the kubeconfig was run",
						line.name)
				}
			}
		})
	}
}

// shell is one on a terminal, in a home of its own.
type shell struct {
	*testing.T
	home     string
	process  *os.Process
	terminal *os.File
	seen     []byte // what it has printed, and nobody has waited for
}

func startShell(t *testing.T, name string) *shell {
	home, s := t.TempDir(), shells[name]
	write := func(path, content string, mode os.FileMode) {
		path = filepath.Join(home, path)
		err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700),
			os.WriteFile(path, []byte(content), mode))
		if err != nil {
			t.Fatal(err)
		}
	}
	program, err := exec.LookPath(ui.Program)
	if err != nil {
		t.Fatal(err)
	}
	// In place of the program is a script that tells what it was called with, unless a shell
	// asks for completions.
	write("bin/"+ui.Program, "#!/bin/sh\ncase \"$1 $2\" in\n"+
		"__complete*|'completion "+name+"') exec "+program+" \"$@\";;\nesac\n"+
		"echo \"ran $((40+2)) $*\"\n", 0o700)
	write(s.rc, s.content, 0o600)
	write("other.yaml", kubeconfigOf("the-other"), 0o600)
	write(".kube/config", kubeconfigOf("admin@prod", withColons, "evil$(touch executed)",
		"two$(touch executed)a", "two$(touch executed)b", "--help-me"), 0o600)
	for _, profile := range []string{"ci.build@prod", "deploy@prod", "deploy@test"} {
		write(".config/sa-exec-credential/profiles/"+profile+".yaml", "", 0o600)
	}
	command := exec.Command(s.command[0], s.command[1:]...)
	command.Dir = home
	command.Env = []string{"HOME=" + home,
		"PATH=" + filepath.Join(home, "bin") + ":" + os.Getenv("PATH"),
		"TERM=xterm", "LC_ALL=C.UTF-8", "INPUTRC=/dev/null"}
	terminal, err := pty.StartWithSize(command, &pty.Winsize{Rows: 100, Cols: 250})
	if err != nil {
		t.Fatalf("starting %s (scripts/deps installs it): %v", name, err)
	}
	t.Cleanup(func() {
		_ = terminal.Close()
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	started := &shell{T: t, home: home, process: command.Process, terminal: terminal}
	started.until(prompt)
	return started
}

func kubeconfigOf(contexts ...string) string {
	var b strings.Builder
	b.WriteString("clusters:\n- {name: c, cluster: {server: https://example.com}}\n" +
		"users:\n- {name: u, user: {token: t}}\ncontexts:\n")
	for _, name := range contexts {
		_, _ = fmt.Fprintf(&b, "- {name: %q, context: {cluster: c, user: u}}\n", name)
	}
	return b.String()
}

// run types a line and returns the arguments that the program got.
func (s *shell) run(line string) string {
	s.Helper()
	if _, err := s.terminal.WriteString(line + "\r"); err != nil {
		s.Fatal(err)
	}
	s.until(reported)
	arguments := strings.TrimSpace(s.until("\n"))
	s.until(prompt)
	return arguments
}

// until returns what the shell prints before text.
func (s *shell) until(text string) string {
	s.Helper()
	// Reading from a terminal takes no deadline, but ends with the shell.
	limit := time.AfterFunc(time.Minute, func() { _ = s.process.Kill() })
	defer limit.Stop()
	for {
		if before, after, found := bytes.Cut(s.seen, []byte(text)); found {
			s.seen = after
			return string(before)
		}
		buffer := make([]byte, 4096)
		n, err := s.terminal.Read(buffer)
		if s.seen = append(s.seen, buffer[:n]...); err != nil {
			s.Fatalf("waiting for %q: %v; the terminal has\n%q", text, err, s.seen)
		}
	}
}
