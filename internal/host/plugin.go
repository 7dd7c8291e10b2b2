package host

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/kballard/go-shellquote"

	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// PluginPath is this program's absolute path. It is the path by which the user found it, if that leads to it, rather than what links in it lead to: package managers keep
// the link and replace its target.
func PluginPath() (string, error) {
	self, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("finding this program's own path: %w", err)
	}
	found, err := exec.LookPath(os.Args[0])
	if err != nil {
		return self, nil
	}
	if found, err = filepath.Abs(found); err != nil || !SameFile(found, self) {
		return self, nil
	}
	return found, nil
}

// QuickProgram is the program for hits, which runs this one for everything else.
const QuickProgram = ui.Program + "-get"

// ClientPath is the absolute path that kubeconfigs name: that of the program for hits, where there
// can be hits and it lies beside this one, else PluginPath.
func ClientPath(hasHits bool) (string, error) {
	program, err := PluginPath()
	if err != nil || !hasHits {
		return program, err
	}
	return quickBeside(program), nil
}

// quickBeside is the program for hits that lies beside a program and would run it, else the program.
func quickBeside(program string) string {
	quick := filepath.Join(filepath.Dir(program), QuickProgram)
	if runtime.GOOS != "linux" || !leadsTo(quick, program) {
		return program
	}
	return quick
}

// leadsTo reports whether a program for hits would run another one: it looks beside its own file,
// whatever links lead to that.
func leadsTo(quick, program string) bool {
	if _, err := exec.LookPath(quick); err != nil {
		return false
	}
	file, err := filepath.EvalSymlinks(quick)
	return err == nil && SameFile(filepath.Join(filepath.Dir(file), ui.Program), program)
}

// SameFile reports whether two paths lead to one file.
func SameFile(a, b string) bool {
	first, err := os.Stat(a)
	if err != nil {
		return false
	}
	second, err := os.Stat(b)
	return err == nil && os.SameFile(first, second)
}

// FindCommand splits a command at its spaces, as a shell does, and finds its program in today's
// PATH: later the PATH may be anybody's. No shell runs the command.
func FindCommand(line string) ([]string, error) {
	words, err := shellquote.Split(line)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", line, err)
	}
	if len(words) == 0 {
		return nil, errNoCommand
	}
	found, err := exec.LookPath(words[0])
	if err != nil {
		return nil, fmt.Errorf("%q is not in PATH", words[0])
	}
	if found, err = filepath.Abs(found); err != nil {
		return nil, err
	}
	return append([]string{found}, words[1:]...), nil
}

var errNoCommand = errors.New("it is empty")

// PinnedVariables are what programs that a bootstrap source runs usually need. Their values are
// taken at setup.
func PinnedVariables() []string {
	names := []string{"HOME", "PATH", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ",
		"XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR",
		"DBUS_SESSION_BUS_ADDRESS", "DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "GNUPGHOME",
		"HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY", "https_proxy", "http_proxy", "no_proxy"}
	if runtime.GOOS == "windows" {
		names = append(names, "SYSTEMROOT", "USERPROFILE", "APPDATA", "LOCALAPPDATA",
			"PROGRAMDATA",
			"PATHEXT", "TEMP", "TMP", "COMSPEC")
	}
	return names
}

// Pinned returns the variables that a bootstrap command will see, with their values of now.
func (h *Host) Pinned(further []string) map[string]string {
	values := map[string]string{}
	for _, name := range append(PinnedVariables(), further...) {
		if value, present := h.Variables(name); present {
			values[name] = value
		}
	}
	return values
}

// FurtherVariables are those that were kept for a program beside the ones that programs usually
// need, sorted.
func FurtherVariables(kept map[string]string) []string {
	further := maps.Clone(kept)
	for _, name := range PinnedVariables() {
		delete(further, name)
	}
	return slices.Sorted(maps.Keys(further))
}
