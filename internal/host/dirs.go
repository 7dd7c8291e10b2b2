package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/sa-exec-credential/sa-exec-credential/internal/files"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kuberc"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// Home is the user's home directory.
func (h *Host) Home() (string, error) {
	variable := "HOME"
	if runtime.GOOS == "windows" {
		variable = "USERPROFILE"
	}
	if home := h.place(variable); filepath.IsAbs(home) {
		return home, nil
	}
	if home, err := h.UserHome(); err == nil && filepath.IsAbs(home) {
		return home, nil
	}
	return "", ErrNoHome
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

// RuntimeDir is where locks and call records go; empty when there is no such place, which costs
// only comfort.
func (h *Host) RuntimeDir() string {
	base := h.place("XDG_RUNTIME_DIR")
	if filepath.IsAbs(base) && files.CheckDir(base) == nil {
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
			return nil, fmt.Errorf("%w %q: %w", kubeconfig.ErrNoFile, explicit,
				errors.Unwrap(err))
		}
	}
	home, err := h.Home()
	if err != nil {
		return nil, err
	}
	return kubeconfig.Paths(explicit, h.place("KUBECONFIG"), home), nil
}

// KubercPath is the file of kubectl's preferences; empty when they are turned off.
func (h *Host) KubercPath() (string, error) {
	home, err := h.Home()
	if err != nil {
		return "", err
	}
	return kuberc.Path(h.place("KUBERC"), home), nil
}
