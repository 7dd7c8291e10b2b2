// Package timer has a machine run a command of this program again and again: a timer of the user's
// systemd, or where no such systemd answers a line for cron, which it only proposes.
//
// It knows nothing of what the command does. Of this module it imports internal/files and
// internal/ui.
package timer

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/files"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

const (
	// Unit is the name of the timer's units, without their extension.
	Unit = ui.Program + "-renew"
	// command is what is run, after the program.
	command = "renew"
	// commandLimit bounds each command that the timer is arranged with.
	commandLimit = 10 * time.Second
	// marker is the first line of a unit file that this program has written.
	marker = "# Written by " + ui.Program + " setup --timer"
)

// minutes are between two runs, of which one mostly comes while a token of an hour is due: that is
// for five minutes at least. See systemd.time(7) and crontab(5).
const minutes = 5

// Every is the time between two runs, for people.
const Every = "5 minutes"

// Machine is what a timer needs to know of where it is to run.
type Machine struct {
	Home    string
	Program string // this one, from the root on
	// Settings are the variables that the command needs beside those of every timer, as
	// NAME=VALUE.
	Settings []string
	Environ  []string // of the programs that the timer is arranged with
}

// Kind is what came of a timer.
type Kind int

// The kinds of timers.
const (
	None    Kind = iota // cron has no line either
	Systemd             // a timer of the user's systemd
	Cron                // a line that is in the user's crontab already
)

// dir is where a user's systemd looks for units, whatever variables say: the manager has been
// started with others.
func (m Machine) dir() string { return filepath.Join(m.Home, ".config", "systemd", "user") }

func (m Machine) path(extension string) string { return filepath.Join(m.dir(), Unit+extension) }

// Install has the user's systemd run the timer from now on, also where one is there already. Where
// none answers it is None, and nothing is changed.
func (m Machine) Install(ctx context.Context) (Kind, error) {
	if !m.answers(ctx) {
		if m.inCrontab(ctx) {
			return Cron, nil
		}
		return None, nil
	}
	if err := errors.Join(m.Check(), os.MkdirAll(m.dir(), files.PrivateDir)); err != nil {
		return None, err
	}
	for extension, text := range m.units() {
		if err := files.Replace(m.path(extension), []byte(text), 0o644); err != nil {
			return None, err
		}
	}
	if _, err := m.systemctl(ctx, "daemon-reload"); err != nil {
		return None, err
	}
	_, err := m.systemctl(ctx, "enable", "--now", Unit+".timer")
	return Systemd, err
}

// Check is an ErrForeign when somebody else has written a unit of the timer's name.
func (m Machine) Check() error {
	for extension := range m.units() {
		if text, err := os.ReadFile(m.path(extension)); err == nil &&
			!strings.HasPrefix(string(text), marker) {
			return fmt.Errorf("%w: %q", ErrForeign, m.path(extension))
		}
	}
	return nil
}

// IsInstalled reports whether there is a timer that Remove would remove.
func (m Machine) IsInstalled() bool {
	text, err := os.ReadFile(m.path(".timer"))
	return err == nil && strings.HasPrefix(string(text), marker)
}

// What keeps a timer from being installed or removed.
var (
	ErrForeign = errors.New("there is a unit file of somebody else's")
	ErrSystemd = errors.New("the user's systemd refuses")
)

// What keeps an installed timer from doing its work.
var (
	ErrBroken  = errors.New("the timer renews nothing")
	ErrStopped = errors.New("the timer is there, and your systemd does not run it")
)

// Examine is an ErrBroken or an ErrStopped where the timer that is installed renews nothing. Where
// no systemd answers, it cannot be seen whether it is stopped.
func (m Machine) Examine(ctx context.Context) error {
	service, err := os.ReadFile(m.path(".service"))
	if err == nil {
		_, err = exec.LookPath(programOf(string(service)))
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrBroken, err)
	}
	if !m.answers(ctx) {
		return nil
	}
	for _, question := range []string{"is-enabled", "is-active"} {
		if _, err := m.systemctl(ctx, question, Unit+".timer"); err != nil {
			return ErrStopped
		}
	}
	return nil
}

// started is the end of an ExecStart line, in which the program is the last word in quotes.
var started = regexp.MustCompile(`(?m)"((?:[^"\\]|\\.)*)"(?: ` + command + `)?$`)

// programOf is what execStart has written into a unit, as a path.
func programOf(service string) string {
	found := started.FindStringSubmatch(service)
	if found == nil {
		return ""
	}
	return strings.NewReplacer(`\\`, `\`, `\"`, `"`, "%%", "%", "$$", "$").Replace(found[1])
}

// units are the unit files, by their extensions.
func (m Machine) units() map[string]string {
	settings := ""
	for _, setting := range m.Settings {
		settings += "Environment=" + quoted(setting, "%", "%%") + "\n"
	}
	return map[string]string{
		".service": marker + `.
[Unit]
Description=Renew the credentials of ` + ui.Program + `

[Service]
Type=oneshot
` + settings + "ExecStart=" + m.execStart() + "\n",
		".timer": marker + `.
[Unit]
Description=Renew the credentials of ` + ui.Program + ` before they are needed

[Timer]
OnCalendar=*:0/` + fmt.Sprint(minutes) + `
RandomizedDelaySec=30s
Persistent=true

[Install]
WantedBy=timers.target
`,
	}
}

// execStart is the command of a unit. systemd takes no program whose path has some of a shell's
// characters; as an argument it takes everything.
func (m Machine) execStart() string {
	program := quoted(m.Program, "%", "%%", "$", "$$")
	if !strings.ContainsAny(m.Program, "\"'\\$") {
		return program + " " + command
	}
	return `/bin/sh -c 'exec "$$0" ` + command + `' ` + program
}

// quoted is a word as systemd reads it (systemd.syntax(7)), with further replacements.
func quoted(word string, further ...string) string {
	replacements := append([]string{`\`, `\\`, `"`, `\"`}, further...)
	return `"` + strings.NewReplacer(replacements...).Replace(word) + `"`
}

// Crontab is the line for cron that does the same. cron takes % for a line end.
func (m Machine) Crontab() string {
	return fmt.Sprintf("*/%d * * * * %s", minutes, strings.ReplaceAll(
		ui.CommandLine(append(m.words(), m.Program, command)...), "%", `\%`))
}

// words are what a command begins with that needs settings.
func (m Machine) words() []string {
	if len(m.Settings) == 0 {
		return nil
	}
	return append([]string{"env"}, m.Settings...)
}

// CrontabCommand is the command that adds the line to the user's crontab.
func (m Machine) CrontabCommand() string {
	return "(crontab -l 2>/dev/null; echo " + ui.CommandLine(m.Crontab()) + ") | crontab -"
}

// inCrontab reports whether the user's crontab runs the command already.
func (m Machine) inCrontab(ctx context.Context) bool {
	listed, err := m.run(ctx, "crontab", "-l")
	for line := range strings.Lines(listed) {
		if err == nil && !strings.HasPrefix(line, "#") &&
			strings.Contains(line, filepath.Base(m.Program)+" "+command) {
			return true
		}
	}
	return false
}

// Lingers reports whether the user's systemd runs while the user is not logged in.
func Lingers(user string) bool {
	_, err := os.Stat(filepath.Join("/var/lib/systemd/linger", user))
	return err == nil
}

// Remove undoes Install. It is what was there: None where there was no timer. A line of cron's is
// the user's to remove.
func (m Machine) Remove(ctx context.Context) (Kind, error) {
	if !m.IsInstalled() {
		if m.inCrontab(ctx) {
			return Cron, nil
		}
		return None, nil
	}
	answers := m.answers(ctx)
	var err error
	if answers {
		_, err = m.systemctl(ctx, "disable", "--now", Unit+".timer")
	}
	wanted := filepath.Join(m.dir(), "timers.target.wants", Unit+".timer")
	for _, path := range []string{wanted, m.path(".timer"), m.path(".service")} {
		if problem := os.Remove(path); !errors.Is(problem, fs.ErrNotExist) {
			err = errors.Join(err, problem)
		}
	}
	if answers {
		_, problem := m.systemctl(ctx, "daemon-reload")
		err = errors.Join(err, problem)
	}
	return Systemd, err
}

// answers reports whether there is a systemd of the user's that can be talked to.
func (m Machine) answers(ctx context.Context) bool {
	version, err := m.systemctl(ctx, "show", "--property=Version")
	return err == nil && strings.HasPrefix(version, "Version=")
}

func (m Machine) systemctl(ctx context.Context, args ...string) (string, error) {
	said, err := m.run(ctx, "systemctl", append([]string{"--user"}, args...)...)
	if err != nil {
		return said, fmt.Errorf("%w: systemctl --user %s: %w", ErrSystemd,
			strings.Join(args, " "), err)
	}
	return said, nil
}

// run returns what a program prints; what it says is part of its error.
func (m Machine) run(ctx context.Context, name string, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, commandLimit)
	defer cancel()
	program := exec.CommandContext(ctx, name, args...)
	program.Env, program.WaitDelay = m.Environ, time.Second
	var out, said strings.Builder
	program.Stdout, program.Stderr = &out, &said
	err := program.Run()
	if err != nil && said.Len() > 0 {
		err = fmt.Errorf("%w: %s", err, strings.TrimSpace(said.String()))
	}
	return out.String(), err
}
