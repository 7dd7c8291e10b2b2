// Package host is the process that this program runs in: its streams, variables, directories,
// clock, caller and own path. Everything above it gets these from here, so tests pass their own.
//
// It decides nothing about profiles or clusters; of this module it imports what finds a client, a
// store and kubeconfig files.
package host

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/cache"
	"github.com/sa-exec-credential/sa-exec-credential/internal/client"
	"github.com/sa-exec-credential/sa-exec-credential/internal/execcred"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// Host is what the program uses of its process. Every field is set.
type Host struct {
	Stdin     io.Reader
	Stdout    io.Writer
	Stderr    io.Writer
	Log       *ui.Log // writes to Stderr
	Variables Variables
	// Settings are all variables that this process was started with, as NAME=VALUE.
	Settings []string
	// ClientVariables are what the client was started with; nil when unknown.
	ClientVariables func() Variables
	UserHome        func() (string, error) // from the user database, for when no variable tells
	Now             func() time.Time
	Caller          func() cache.Caller
	Hostname        func() (string, error)
	OpenStore       func(context.Context, keyring.Kind, keyring.System) (keyring.Store, error)
	MountedDir      string // of what a pod gets mounted
	// SystemRuntime is the user's runtime directory where systemd creates it, for when no
	// variable tells; empty: the system has no such place.
	SystemRuntime string
	// Restart runs this program again in the place of this process, with other variables. It
	// returns only when it fails.
	Restart func(environment []string) error

	pipes    *pipes        // what kubeconfigs that can be read once held
	terminal chan struct{} // holds something while a program can ask there
	isGet    bool          // see ForGet
	patience time.Duration // with a store, see Patient
	stores   *stores       // that are open; nil: each call opens its own
}

// System is the host that the operating system describes.
func System() *Host {
	ui.CalledAs(os.Args[0])
	found := sync.OnceValue(client.Find)
	return &Host{
		Stdin:           os.Stdin,
		Stdout:          os.Stdout,
		Stderr:          os.Stderr,
		Log:             &ui.Log{Out: os.Stderr},
		Variables:       Snapshot(os.Environ()),
		Settings:        os.Environ(),
		ClientVariables: func() Variables { return clientVariables(found().Environment) },
		UserHome:        userHome,
		Now:             time.Now,
		Caller: func() cache.Caller {
			return cache.Caller{PID: found().PID,
				Start: found().Start}
		},
		Hostname:   os.Hostname,
		OpenStore:  keyring.Open,
		MountedDir: filepath.Dir(profile.MountedToken), SystemRuntime: systemRuntime(),
		Restart:  restart,
		pipes:    &pipes{},
		terminal: make(chan struct{}, 1),
		stores:   &stores{},
	}
}

// Variables looks up an environment variable.
type Variables func(name string) (value string, present bool)

// Snapshot is a lookup in settings of the form NAME=VALUE.
func Snapshot(settings []string) Variables {
	variables := make(map[string]string, len(settings))
	for _, setting := range settings {
		if name, value, ok := strings.Cut(setting, "="); ok {
			variables[foldName(name)] = value
		}
	}
	return func(name string) (string, bool) {
		value, present := variables[foldName(name)]
		return value, present
	}
}

func clientVariables(settings []string) Variables {
	if settings == nil {
		return nil
	}
	return Snapshot(settings)
}

// foldName folds what Windows does not tell apart.
func foldName(name string) string {
	if runtime.GOOS == "windows" {
		return strings.ToUpper(name)
	}
	return name
}

// Getenv is the value of a variable, empty when it is not set.
func (h *Host) Getenv(name string) string {
	value, _ := h.Variables(name)
	return value
}

// With is the host with other variables, as if nothing had called it.
func (h *Host) With(variables Variables) *Host {
	other := *h
	other.Variables, other.isGet, other.stores = variables, false, &stores{}
	return &other
}

// ForGet is the host of a get, which kubeconfigs run also where the client sets no exec info.
func (h *Host) ForGet() *Host {
	other := *h
	other.isGet, other.stores = true, &stores{}
	return &other
}

// place is the value of a variable that chooses a directory, a file or the session bus. Where a
// kubeconfig may run this program that is the client's own, whatever exec.env says: a directory
// of its author's choice could be one in which a lock of ours stops others. Where the system does
// not show what the client was started with, it is what this process was given.
func (h *Host) place(name string) string {
	if h.isGet || h.CalledByClient() {
		if own := h.ClientVariables(); own != nil {
			value, _ := own(name)
			return value
		}
	}
	return h.Getenv(name)
}

// Own is the value of a variable that only counts as the client was started with it, see place.
// Where the system does not show that, whoever uses it has to bear that a kubeconfig has chosen.
func (h *Host) Own(name string) string { return h.place(name) }

// BusAddress is the session bus that stores are looked for on, empty when none is needed.
func (h *Host) BusAddress() (string, error) { return keyring.BusAddress(h.storePlace) }

// storePlace is place for a store. Of the runtime directory it is told also where no variable has
// it: that is where a program of cron's, of a service or of sudo finds the user's bus.
func (h *Host) storePlace(name string) string {
	if name == runtimeVariable {
		return cmp.Or(h.runtimeBase(), h.place(name), h.SystemRuntime)
	}
	return h.place(name)
}

// CalledByClient reports whether a kubeconfig runs this program. Then its arguments, and any
// variable that is not also in the client's own environment, may be the work of whoever wrote the
// kubeconfig.
func (h *Host) CalledByClient() bool {
	_, present := h.Variables(execcred.EnvironmentVariable)
	return present
}

// IsInteractive reports whether a person sits at the terminal that standard input is, and has run
// this program.
func (h *Host) IsInteractive() bool { return ui.IsTerminal(h.Stdin) && !h.CalledByClient() }

// TakeTerminal is for programs that may ask a person something: what two of them ask at once
// nobody can answer. It returns when no other has the terminal, or the error of ctx.
func (h *Host) TakeTerminal(ctx context.Context) (release func(), err error) {
	select {
	case h.terminal <- struct{}{}:
		return func() { <-h.terminal }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Origin is kept with what is stored: a short hash of the directory of profiles, which tells the
// entries of one from those of another in the same store. Empty where there is none.
func (h *Host) Origin() string {
	dir, err := h.Profiles()
	if err != nil {
		return ""
	}
	sum := sha256.Sum256([]byte(dir))
	return hex.EncodeToString(sum[:8])
}

// hasDesktop reports whether a store may ask a person to unlock it: elsewhere nobody would see the
// question.
func (h *Host) hasDesktop() bool {
	if runtime.GOOS == "windows" || runtime.GOOS == "darwin" {
		return true
	}
	return cmp.Or(h.Getenv("WAYLAND_DISPLAY"), h.Getenv("DISPLAY")) != ""
}

// User is the name of whoever is logged in, as far as variables tell.
func (h *Host) User() string {
	return cmp.Or(h.Getenv("USER"), h.Getenv("USERNAME"), h.Getenv("LOGNAME"))
}

// Look is how the result is shown.
func (h *Host) Look() ui.Look { return ui.LookFor(h.Stdout, h.Getenv) }

// Write gives the result to standard output in one piece. Go turns EPIPE on standard output into
// SIGPIPE and exits; Ignore makes it an ordinary error. Notify would do so, too, and start two
// threads for it. A child would inherit what is ignored, so this is for when none is started.
func (h *Host) Write(result []byte) error {
	signal.Ignore(syscall.SIGPIPE)
	defer signal.Reset(syscall.SIGPIPE)
	if _, err := h.Stdout.Write(result); err != nil {
		return fmt.Errorf("writing the result: %w", err)
	}
	return nil
}

// ErrNoHome says that neither a variable nor the user database tells the home directory.
var ErrNoHome = errors.New("the home directory is not known")
