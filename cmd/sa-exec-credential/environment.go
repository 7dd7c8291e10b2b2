package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/bootstrap"
	"github.com/sa-exec-credential/sa-exec-credential/internal/cache"
	"github.com/sa-exec-credential/sa-exec-credential/internal/client"
	"github.com/sa-exec-credential/sa-exec-credential/internal/execcred"
	"github.com/sa-exec-credential/sa-exec-credential/internal/files"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// environment is everything that the program uses of the process it runs in. Tests pass their own.
type environment struct {
	stdout    io.Writer
	stderr    io.Writer
	lookupEnv func(string) (string, bool)
	clientEnv func() func(string) (string, bool) // what the client was started with; empty when unknown
	home      func() (string, error)             // from the user database, for when no variable tells
	now       func() time.Time
	caller    func() cache.Caller
	hostname  func() (string, error)
	openStore func(context.Context, keyring.Kind, keyring.System) (keyring.Store, error)
	mounted   string // folder of what a pod gets mounted
	log       *logger
}

func systemEnvironment() *environment {
	found := sync.OnceValue(client.Find)
	return &environment{
		stdout:    os.Stdout,
		stderr:    os.Stderr,
		lookupEnv: snapshot(os.Environ()),
		clientEnv: func() func(string) (string, bool) { return snapshot(found().Environment) },
		home:      userHome,
		now:       time.Now,
		caller:    func() cache.Caller { return cache.Caller{PID: found().PID, Start: found().Start} },
		hostname:  os.Hostname,
		openStore: keyring.Open,
		mounted:   filepath.Dir(bootstrap.MountedToken),
	}
}

// snapshot keeps the variables that the program was started with: a bootstrap source may change the process's own.
func snapshot(settings []string) func(string) (string, bool) {
	variables := make(map[string]string, len(settings))
	for _, setting := range settings {
		if name, value, ok := strings.Cut(setting, "="); ok {
			variables[variableName(name)] = value
		}
	}
	return func(name string) (string, bool) {
		value, present := variables[variableName(name)]
		return value, present
	}
}

// variableName folds what Windows does not tell apart.
func variableName(name string) string {
	if runtime.GOOS == "windows" {
		return strings.ToUpper(name)
	}
	return name
}

func (e *environment) getenv(name string) string {
	value, _ := e.lookupEnv(name)
	return value
}

// calledByClient reports whether a kubeconfig runs this program. Then its arguments, and any variable that is not also
// in the client's own environment, may be the work of whoever wrote the kubeconfig.
func (e *environment) calledByClient() bool {
	_, present := e.lookupEnv(execcred.EnvironmentVariable)
	return present
}

var errNoHome = errors.New("the home folder is not known")

func (e *environment) homeFolder() (string, error) {
	variable := "HOME"
	if runtime.GOOS == "windows" {
		variable = "USERPROFILE"
	}
	if home := e.getenv(variable); filepath.IsAbs(home) {
		return home, nil
	}
	if home, err := e.home(); err == nil && filepath.IsAbs(home) {
		return home, nil
	}
	return "", errNoHome
}

// place is where a platform keeps a kind of files: in the folder that a variable names, else below the home folder.
type place struct {
	variable string
	below    []string
}

// userFolder is the folder of a place, as os.UserConfigDir and os.UserCacheDir have it, but read through the environment; a
// relative path is passed over, as the XDG Base Directory Specification demands. places are by GOOS, "" for all others.
func (e *environment) userFolder(places map[string]place) (string, error) {
	p, special := places[runtime.GOOS]
	if !special {
		p = places[""]
	}
	if folder := e.getenv(p.variable); filepath.IsAbs(folder) {
		return folder, nil
	}
	home, err := e.homeFolder()
	if err != nil {
		return "", err
	}
	return filepath.Join(append([]string{home}, p.below...)...), nil
}

func (e *environment) configFolder() (string, error) {
	return e.userFolder(map[string]place{
		"windows": {"APPDATA", []string{"AppData", "Roaming"}},
		"darwin":  {"", []string{"Library", "Application Support"}},
		"":        {"XDG_CONFIG_HOME", []string{".config"}},
	})
}

func (e *environment) cacheFolder() (string, error) {
	return e.userFolder(map[string]place{
		"windows": {"LOCALAPPDATA", []string{"AppData", "Local"}},
		"darwin":  {"", []string{"Library", "Caches"}},
		"":        {"XDG_CACHE_HOME", []string{".cache"}},
	})
}

func (e *environment) profiles() (profile.Folder, error) {
	folder, err := e.configFolder()
	if err != nil {
		return "", err
	}
	return profile.FolderIn(folder), nil
}

// runtimeFolder is where locks and call records go; empty when there is no such place, which costs only comfort.
func (e *environment) runtimeFolder() string {
	var bases []string
	if base := e.getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(base) && files.CheckFolder(base) == nil {
		bases = append(bases, base)
	}
	if base, err := e.cacheFolder(); err == nil {
		bases = append(bases, base)
	}
	for _, base := range bases {
		folder := filepath.Join(base, program)
		err := files.MakePrivateFolder(folder)
		if err == nil {
			return folder
		}
		e.log.debug("no folder for locks", "error", err)
	}
	return ""
}

// mayPrompt reports whether a store may ask a person to unlock it: elsewhere nobody would see the question.
func (e *environment) mayPrompt() bool {
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		return true
	}
	return cmp.Or(e.getenv("WAYLAND_DISPLAY"), e.getenv("DISPLAY")) != ""
}

func (e *environment) store(ctx context.Context, kind keyring.Kind) (keyring.Store, error) {
	return e.openStore(ctx, kind, keyring.System{Getenv: e.getenv, Now: e.now, Interactive: e.mayPrompt()})
}
