package timer

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// standIn is a directory with a program of a name that notes its arguments and runs a script.
func standIn(t *testing.T, name, script string) (environ []string, said func() string) {
	t.Helper()
	dir := t.TempDir()
	notes := filepath.Join(dir, "notes")
	text := "#!/bin/sh\necho \"$*\" >>'" + notes + "'\n" + script + "\n"
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":/usr/bin:/bin")
	return os.Environ(), func() string {
		text, _ := os.ReadFile(notes)
		return string(text)
	}
}

// strange is a path with all that units and crontabs would read as something else.
const strange = `it's "50%" of $HOME\n`

// TestUnitsRunTheProgramWhateverItIsCalled asks systemd itself.
func TestUnitsRunTheProgramWhateverItIsCalled(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strange)
	program := filepath.Join(dir, "sa-exec-credential")
	if err := errors.Join(os.Mkdir(dir, 0o700),
		os.WriteFile(program, []byte("#!/bin/sh\n"), 0o700)); err != nil {
		t.Fatal(err)
	}
	m := Machine{Home: t.TempDir(), Program: program, Settings: []string{"XDG_CONFIG_HOME=" + dir}}
	if err := os.MkdirAll(m.dir(), 0o700); err != nil {
		t.Fatal(err)
	}
	for extension, text := range m.units() {
		if err := os.WriteFile(m.path(extension), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for extension := range m.units() {
		verify := exec.Command("systemd-analyze", "--user", "verify", m.path(extension))
		verify.Env = append(os.Environ(), "XDG_RUNTIME_DIR="+t.TempDir())
		if said, err := verify.CombinedOutput(); err != nil || len(said) > 0 {
			t.Errorf("%s: %v\n%s", extension, err, said)
		}
	}
}

// TestTheLineForCronIsReadAsItIsMeant by cron, which takes % for a line end, and then a shell.
func TestTheLineForCronIsReadAsItIsMeant(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strange)
	program, out := filepath.Join(dir, "program"), filepath.Join(t.TempDir(), "out")
	script := "#!/bin/sh\nprintf '%s ' \"$XDG_CONFIG_HOME\" \"$@\" >" + out + "\n"
	if err := errors.Join(os.Mkdir(dir, 0o700),
		os.WriteFile(program, []byte(script), 0o700)); err != nil {
		t.Fatal(err)
	}
	line := Machine{Program: program, Settings: []string{"XDG_CONFIG_HOME=" + dir}}.Crontab()
	command := strings.ReplaceAll(strings.SplitN(line, " ", 6)[5], `\%`, "%")
	if said, err := exec.Command("/bin/sh", "-c", command).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", command, err, said)
	}
	if got, err := os.ReadFile(out); err != nil || string(got) != dir+" renew " {
		t.Errorf("it was run with %q, %v", got, err)
	}
}

// TestInstallWhereSystemdFails leaves nothing half done that the next one would not finish, and says
// what systemd has said.
func TestInstallWhereSystemdFails(t *testing.T) {
	for _, test := range []struct {
		name, script string
		kind         Kind
		says         string // of the error; empty: there is none
		units        bool
	}{
		{"it answers nothing", "exit 1", None, "", false},
		{"it answers something else", "echo offline", None, "", false},
		{"it takes no units", `[ "$2" = show ] && echo Version=252 || { echo no units >&2; exit 1; }`,
			None, "daemon-reload: exit status 1: no units", true},
		{"it does what it is told", `[ "$2" != show ] || echo Version=252`, Systemd, "", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			environ, _ := standIn(t, "systemctl", test.script)
			m := Machine{Home: t.TempDir(), Program: "/bin/true", Environ: environ}
			kind, err := m.Install(t.Context())
			if kind != test.kind || (err == nil) != (test.says == "") ||
				err != nil && (!errors.Is(err, ErrSystemd) ||
					!strings.Contains(err.Error(), test.says)) {
				t.Errorf("got %v, %v", kind, err)
			}
			if m.IsInstalled() != test.units {
				t.Errorf("there are units: %v", m.IsInstalled())
			}
		})
	}
}

// TestExamine has units as Install writes them, and what can happen to them.
func TestExamine(t *testing.T) {
	const answers = `[ "$2" != show ] || echo Version=252; `
	for _, test := range []struct {
		name, script string
		change       func(Machine) error
		want         error
	}{
		{"it runs", answers, func(Machine) error { return nil }, nil},
		{"the program is gone", answers, func(m Machine) error { return os.Remove(m.Program) },
			ErrBroken},
		{"its service is gone", answers, func(m Machine) error {
			return os.Remove(m.path(".service"))
		}, ErrBroken},
		{"its service runs nothing", answers, func(m Machine) error {
			return os.WriteFile(m.path(".service"), []byte(marker), 0o600)
		}, ErrBroken},
		{"it is disabled", answers + `[ "$2" != is-enabled ]`,
			func(Machine) error { return nil }, ErrStopped},
		{"it is stopped", answers + `[ "$2" != is-active ]`, func(Machine) error { return nil },
			ErrStopped},
		{"nobody can say", "exit 1", func(Machine) error { return nil }, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, name := range []string{"program", strange} {
				environ, _ := standIn(t, "systemctl", answers)
				program := filepath.Join(t.TempDir(), name)
				if err := os.WriteFile(program, []byte("#!/bin/sh\n"), 0o700); err != nil {
					t.Fatal(err)
				}
				m := Machine{Home: t.TempDir(), Program: program, Environ: environ}
				if kind, err := m.Install(t.Context()); kind != Systemd || err != nil {
					t.Fatal(kind, err)
				}
				m.Environ, _ = standIn(t, "systemctl", test.script)
				if err := test.change(m); err != nil {
					t.Fatal(err)
				}
				if err := m.Examine(t.Context()); !errors.Is(err, test.want) {
					t.Errorf("%s: %v, not %v", name, err, test.want)
				}
			}
		})
	}
}

// TestRemoveWithoutSystemd takes the files away, and the link by which it is enabled.
func TestRemoveWithoutSystemd(t *testing.T) {
	environ, _ := standIn(t, "systemctl", `[ "$2" != show ] || echo Version=252`)
	m := Machine{Home: t.TempDir(), Program: "/bin/true", Environ: environ}
	if kind, err := m.Install(t.Context()); kind != Systemd || err != nil {
		t.Fatal(kind, err)
	}
	wanted := filepath.Join(m.dir(), "timers.target.wants")
	if err := errors.Join(os.Mkdir(wanted, 0o700), os.Symlink(m.path(".timer"),
		filepath.Join(wanted, Unit+".timer"))); err != nil {
		t.Fatal(err)
	}
	m.Environ, _ = standIn(t, "systemctl", "exit 1")
	if kind, err := m.Remove(t.Context()); kind != Systemd || err != nil {
		t.Errorf("got %v, %v", kind, err)
	}
	left, err := filepath.Glob(filepath.Join(m.dir(), "*", "*"))
	files, _ := filepath.Glob(filepath.Join(m.dir(), "*.*er*"))
	if len(left) > 0 || err != nil || m.IsInstalled() {
		t.Errorf("left: %q, %q, %v", left, files, err)
	}
	if kind, err := m.Remove(t.Context()); kind == Systemd || err != nil {
		t.Errorf("again: %v, %v", kind, err)
	}
}
