package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/sa-exec-credential/sa-exec-credential/internal/files"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kuberc"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// Home is the user's home directory.
func (h *Host) Home() (string, error) {
	if home := h.place(homeName()); filepath.IsAbs(home) {
		return home, nil
	}
	if home, err := h.UserHome(); err == nil && filepath.IsAbs(home) {
		return home, nil
	}
	return "", ErrNoHome
}

func homeName() string {
	if runtime.GOOS == "windows" {
		return "USERPROFILE"
	}
	return "HOME"
}

// baseDir is where a platform keeps a kind of files: in the directory that a variable names, else
// below the home directory.
type baseDir struct {
	variable string
	below    []string
}

// userDir is the directory of a kind of files, as os.UserConfigDir and os.UserCacheDir have it, but
// read through the host; a relative path is passed over, as the XDG Base Directory Specification
// demands. dirs are by GOOS, "" for all others.
func (h *Host) userDir(dirs map[string]baseDir) (string, error) {
	base := ofThisSystem(dirs)
	if dir := h.place(base.variable); filepath.IsAbs(dir) {
		return dir, nil
	}
	home, err := h.Home()
	if err != nil {
		return "", err
	}
	return filepath.Join(append([]string{home}, base.below...)...), nil
}

func ofThisSystem(dirs map[string]baseDir) baseDir {
	if base, special := dirs[runtime.GOOS]; special {
		return base
	}
	return dirs[""]
}

// createBase creates the directory of a kind of files: on a fresh machine it may be missing.
// Where a kubeconfig may run this program, one that is not in its usual place below the home
// directory has to exist.
func (h *Host) createBase(dirs map[string]baseDir) error {
	dir, err := h.userDir(dirs)
	if err != nil {
		return err
	}
	if !h.isGet && !h.CalledByClient() {
		return os.MkdirAll(dir, files.PrivateDir)
	}
	home, err := h.Home()
	below := ofThisSystem(dirs).below
	if err != nil || filepath.Join(append([]string{home}, below...)...) != filepath.Clean(dir) {
		return nil
	}
	return files.CreateBelow(home, below...)
}

func configDirs() map[string]baseDir {
	return map[string]baseDir{
		"windows": {"APPDATA", []string{"AppData", "Roaming"}},
		"darwin":  {"", []string{"Library", "Application Support"}},
		"":        {"XDG_CONFIG_HOME", []string{".config"}},
	}
}

func cacheDirs() map[string]baseDir {
	return map[string]baseDir{
		"windows": {"LOCALAPPDATA", []string{"AppData", "Local"}},
		"darwin":  {"", []string{"Library", "Caches"}},
		"":        {"XDG_CACHE_HOME", []string{".cache"}},
	}
}

// stateDirs is where programs keep what is no setting and has to stay.
func stateDirs() map[string]baseDir {
	return map[string]baseDir{"": {"XDG_STATE_HOME", []string{".local", "state"}}}
}

// StateDir is where sealed files are looked for; empty when it is not known.
func (h *Host) StateDir() string {
	dir, err := h.userDir(stateDirs())
	if err != nil {
		return ""
	}
	return dir
}

// StraySealed says where a bare program would look for sealed files, if not where this one does;
// empty when it would find them.
func (h *Host) StraySealed() string {
	here, there := h.StateDir(), h.bare().StateDir()
	if here == there {
		return ""
	}
	variable := h.chooser(stateDirs())
	return fmt.Sprintf("sealed files are in %q because of %s: programs that lack it (of cron, "+
		"systemd, sudo) look in %q; for those set %s=%s", here, variable, there, variable,
		ui.CommandLine(here))
}

// PlainKeyring names the file in which everybody who can read it finds what a store holds, where
// there is one.
func (h *Host) PlainKeyring(kind keyring.Kind) (file string, isPlain bool) {
	dir, err := h.userDir(map[string]baseDir{"": {"XDG_DATA_HOME", []string{".local",
		"share"}}})
	if err != nil || kind != keyring.Keyring {
		return "", false
	}
	return keyring.PlainFile(dir)
}

// ConfigDir is where this user's programs keep settings.
func (h *Host) ConfigDir() (string, error) { return h.userDir(configDirs()) }

// CreateConfigDir makes sure of ConfigDir, in which directories of this program can then be
// created.
func (h *Host) CreateConfigDir() error { return h.createBase(configDirs()) }

// Profiles is the directory of the user's profiles.
func (h *Host) Profiles() (profile.Dir, error) {
	dir, err := h.ConfigDir()
	if err != nil {
		return "", err
	}
	return profile.DirIn(dir), nil
}

// ProfilesPlace is the directory of profiles and what has chosen it, for messages.
func (h *Host) ProfilesPlace() string {
	dir, err := h.Profiles()
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%q (%s chose it)", string(dir), h.chooser(configDirs()))
}

// chooser is the variable that decides over the directory of a kind of files.
func (h *Host) chooser(dirs map[string]baseDir) string {
	for _, variable := range []string{ofThisSystem(dirs).variable, homeName()} {
		if filepath.IsAbs(h.place(variable)) {
			return variable
		}
	}
	return "the user database"
}

// Located adds to an error about a profile that is missing where it was looked for.
func (h *Host) Located(err error) error {
	if !errors.Is(err, profile.ErrMissing) {
		return err
	}
	return fmt.Errorf("%w, in %s", err, h.ProfilesPlace())
}

// bare is the host of a program that is started with the home directory and no other variable, as
// those of cron, systemd and sudo are.
func (h *Host) bare() *Host {
	home, err := h.Home()
	if err != nil {
		home = ""
	}
	return h.With(Snapshot([]string{homeName() + "=" + home}))
}

// Stray says which of this program's directories a bare program would look for elsewhere, and for
// want of which variable.
func (h *Host) Stray() (warnings []string) {
	other := h.bare()
	here, err := h.ConfigDir()
	there, errBare := other.ConfigDir()
	if err == nil && errBare == nil && here != there {
		variable := h.chooser(configDirs())
		warnings = append(warnings, fmt.Sprintf("profiles are in %q because of %s: "+
			"programs that lack it (of cron, systemd, sudo) look in %q; for those set %s=%s",
			here, variable, there, variable, ui.CommandLine(here)))
	}
	here, variable := h.lockBase()
	if there, _ := other.lockBase(); here != there {
		warnings = append(warnings, fmt.Sprintf("locks are in %q because of %s: programs "+
			"that lack it have theirs in %q, and request tokens of their own", here,
			variable, there))
	}
	return warnings
}

// BareSettings are the variables that a bare program has to be given to find the same profiles, as
// NAME=VALUE.
func (h *Host) BareSettings() []string {
	here, err := h.ConfigDir()
	there, errBare := h.bare().ConfigDir()
	if err != nil || errBare != nil || here == there {
		return nil
	}
	return []string{h.chooser(configDirs()) + "=" + here}
}

// SessionSettings are the variables of programs that talk to the user's systemd: those of this
// process, and where that systemd is also where none of them tells.
func (h *Host) SessionSettings() []string {
	if base := h.runtimeBase(); base != "" {
		return append(slices.Clone(h.Settings), runtimeVariable+"="+base)
	}
	return h.Settings
}

// lockBase is the directory that RuntimeDir's is in, and what has chosen it.
func (h *Host) lockBase() (dir, variable string) {
	if base := h.runtimeBase(); base != "" {
		return base, runtimeVariable
	}
	dir, _ = h.userDir(cacheDirs())
	return dir, h.chooser(cacheDirs())
}

// runtimeVariable names the user's runtime directory. cron, system services and sudo do not set it,
// and su leaves that of another user.
const runtimeVariable = "XDG_RUNTIME_DIR"

// systemRuntime is where systemd creates the runtime directory of this process's user.
func systemRuntime() string {
	if runtime.GOOS != "linux" {
		return ""
	}
	return filepath.Join("/run/user", strconv.Itoa(os.Geteuid()))
}

// runtimeBase is a user's runtime directory, empty when there is none that is to be trusted. Where
// the variable leads to none it is looked for where systemd creates it, so that a program of cron's
// waits for those of the desktop, and finds the same bus.
func (h *Host) runtimeBase() string {
	for _, dir := range []string{h.place(runtimeVariable), h.SystemRuntime} {
		if filepath.IsAbs(dir) && files.CheckDir(dir) == nil {
			return dir
		}
	}
	return ""
}

// RuntimeDir is where locks and call records go; empty when there is no such place, which costs
// only comfort.
func (h *Host) RuntimeDir() string {
	if base := h.runtimeBase(); base != "" {
		if dir, err := privateIn(base); err == nil {
			return dir
		}
	}
	base, err := h.userDir(cacheDirs())
	if err == nil {
		err = h.createBase(cacheDirs())
	}
	dir := ""
	if err == nil {
		dir, err = privateIn(base)
	}
	if err != nil {
		h.Log.Debug("no directory for locks", "error", err)
	}
	return dir
}

// privateIn is this program's directory in another one, empty when there is an error.
func privateIn(base string) (string, error) {
	dir := filepath.Join(base, ui.Program)
	if err := files.CreatePrivateDir(dir); err != nil {
		return "", err
	}
	return dir, nil
}

// KubeconfigPaths are the kubeconfig files that kubectl would read, explicit being its
// --kubeconfig.
func (h *Host) KubeconfigPaths(explicit string) ([]string, error) {
	if explicit != "" {
		if _, err := os.Stat(explicit); err != nil {
			return nil, fmt.Errorf("%w %q: %w", kuberc.ErrNoKubeconfig, explicit,
				errors.Unwrap(err))
		}
	}
	home, err := h.Home()
	if err != nil {
		return nil, err
	}
	return kuberc.Kubeconfigs(explicit, h.place("KUBECONFIG"), home), nil
}

// SourcePaths are KubeconfigPaths for those who only read them. A pipe, as a shell makes it of
// <(COMMAND), can be read once: what it held is found under another path, in memory, until this
// process ends.
func (h *Host) SourcePaths(explicit string) ([]string, error) {
	paths, err := h.KubeconfigPaths(explicit)
	for i, path := range paths {
		if paths[i], err = h.pipes.keep(path); err != nil {
			return nil, err
		}
	}
	return paths, err
}

// IsTemporary reports whether a file will not be there for a later command: a pipe, a file that
// mktemp or a program's own library for that has named, or one that only this process has.
func IsTemporary(path string) bool {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		return true
	}
	dir, name := filepath.Split(path)
	dir = filepath.Clean(dir)
	if dir == "/dev/fd" || strings.HasPrefix(dir, "/proc/") {
		return true
	}
	return (dir == filepath.Clean(os.TempDir()) || dir == "/tmp" || dir == "/var/tmp") &&
		hasTemporaryName(name)
}

// hasTemporaryName knows how mktemp(1) and Python's tempfile call a file.
func hasTemporaryName(name string) bool {
	const names = `^(tmp\.[A-Za-z0-9]{6,}|tmp[a-z0-9_]{8})(\.[a-z]+)?$`
	matched, _ := regexp.MatchString(names, name)
	return matched
}

// KubercPath is the file of kubectl's preferences; empty when they are turned off.
func (h *Host) KubercPath() (string, error) {
	home, err := h.Home()
	if err != nil {
		return "", err
	}
	return kuberc.Path(h.place("KUBERC"), home), nil
}
