package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// pluginPath is the absolute path that kubeconfigs name. It is the path by which the user found this program, if that
// leads to it, rather than what links in it lead to: package managers keep the link and replace its target.
func pluginPath() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding this program's own path: %w", err)
	}
	found, err := exec.LookPath(os.Args[0])
	if err != nil {
		return self, nil
	}
	if found, err = filepath.Abs(found); err != nil || !sameFile(found, self) {
		return self, nil
	}
	return found, nil
}

func sameFile(a, b string) bool {
	first, err := os.Stat(a)
	if err != nil {
		return false
	}
	second, err := os.Stat(b)
	return err == nil && os.SameFile(first, second)
}

// findCommand splits a bootstrap command at its spaces and finds it in today's PATH: later the PATH may be anybody's.
func findCommand(line string) ([]string, error) {
	words, err := splitWords(line)
	if err != nil || len(words) == 0 {
		return nil, fmt.Errorf("%w: --bootstrap command=%q: %v", errUsage, line, err)
	}
	found, err := exec.LookPath(words[0])
	if err != nil {
		return nil, fmt.Errorf("%w: --bootstrap command: %q is not in PATH", errUsage, words[0])
	}
	if found, err = filepath.Abs(found); err != nil {
		return nil, err
	}
	return append([]string{found}, words[1:]...), nil
}

// splitWords knows spaces and quotes and nothing else of a shell, because no shell runs the command.
func splitWords(line string) (words []string, err error) {
	var word strings.Builder
	inWord, quote := false, rune(0)
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, inWord = r, true
		case r == ' ' || r == '\t':
			if inWord {
				words = append(words, word.String())
			}
			word.Reset()
			inWord = false
		default:
			word.WriteRune(r)
			inWord = true
		}
	}
	if quote != 0 {
		return nil, fmt.Errorf("a quote is not closed")
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}

// pinnedVariables are what programs that a bootstrap source runs usually need. Their values are taken at setup.
func pinnedVariables() []string {
	names := []string{"HOME", "PATH", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME",
		"XDG_RUNTIME_DIR", "DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "GNUPGHOME",
		"HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy"}
	if runtime.GOOS == "windows" {
		names = append(names, "SYSTEMROOT", "USERPROFILE", "APPDATA", "LOCALAPPDATA", "PROGRAMDATA", "PATHEXT", "TEMP", "TMP", "COMSPEC")
	}
	return names
}

// pinned returns the variables that a bootstrap command will see, with their values of now.
func (e *environment) pinned(further []string) map[string]string {
	values := map[string]string{}
	for _, name := range append(pinnedVariables(), further...) {
		if value, present := e.lookupEnv(name); present {
			values[name] = value
		}
	}
	return values
}
