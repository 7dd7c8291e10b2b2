package host

import (
	"path/filepath"
	"runtime"

	"github.com/sa-exec-credential/sa-exec-credential/internal/files"
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
	base, special := dirs[runtime.GOOS]
	if !special {
		base = dirs[""]
	}
	if dir := h.place(base.variable); filepath.IsAbs(dir) {
		return dir, nil
	}
	home, err := h.Home()
	if err != nil {
		return "", err
	}
	return filepath.Join(append([]string{home}, base.below...)...), nil
}

// ConfigDir is where this user's programs keep settings.
func (h *Host) ConfigDir() (string, error) {
	return h.userDir(map[string]baseDir{
		"windows": {"APPDATA", []string{"AppData", "Roaming"}},
		"darwin":  {"", []string{"Library", "Application Support"}},
		"":        {"XDG_CONFIG_HOME", []string{".config"}},
	})
}

func (h *Host) cacheDir() (string, error) {
	return h.userDir(map[string]baseDir{
		"windows": {"LOCALAPPDATA", []string{"AppData", "Local"}},
		"darwin":  {"", []string{"Library", "Caches"}},
		"":        {"XDG_CACHE_HOME", []string{".cache"}},
	})
}

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
	var bases []string
	if base := h.place("XDG_RUNTIME_DIR"); filepath.IsAbs(base) && files.CheckFolder(base) == nil {
		bases = append(bases, base)
	}
	if base, err := h.cacheDir(); err == nil {
		bases = append(bases, base)
	}
	for _, base := range bases {
		dir := filepath.Join(base, ui.Program)
		err := files.CreatePrivateDir(dir)
		if err == nil {
			return dir
		}
		h.Log.Debug("no directory for locks", "error", err)
	}
	return ""
}

// KubeconfigPaths are the kubeconfig files that kubectl would read, explicit being its --kubeconfig.
func (h *Host) KubeconfigPaths(explicit string) ([]string, error) {
	home, err := h.Home()
	if err != nil {
		return nil, err
	}
	return kubeconfig.Paths(explicit, h.Getenv("KUBECONFIG"), home), nil
}

// KubercPath is the file of kubectl's preferences; empty when they are turned off.
func (h *Host) KubercPath() (string, error) {
	home, err := h.Home()
	if err != nil {
		return "", err
	}
	return kuberc.Path(h.Getenv("KUBERC"), home), nil
}
