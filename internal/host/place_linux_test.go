package host

import (
	"context"
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/execcred"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// places are the directories and the bus that a host's variables lead to.
func places(t *testing.T, h *Host) map[string]string {
	t.Helper()
	found := map[string]string{}
	h.OpenStore = func(_ context.Context, _ keyring.Kind, system keyring.System) (keyring.Store,
		error) {
		for _, name := range []string{"DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR",
			"XDG_DATA_HOME"} {
			found["store's "+name] = system.Getenv(name)
		}
		return nil, nil
	}
	_, storeErr := h.Store(t.Context(), keyring.Keyring, "")
	home, homeErr := h.Home()
	config, configErr := h.ConfigDir()
	bus, busErr := h.BusAddress()
	if err := errors.Join(storeErr, homeErr, configErr, busErr); err != nil {
		t.Fatal(err)
	}
	found["home"], found["config"], found["bus"], found["locks"] = home, config, bus,
		h.RuntimeDir()
	return found
}

// TestAKubeconfigChoosesNoPlaces: what it sets in exec.env differs from what its client was started
// with, and the client may have been started without.
func TestAKubeconfigChoosesNoPlaces(t *testing.T) {
	own, forged := variablesIn(t.TempDir()), variablesIn(t.TempDir())
	info := []string{execcred.EnvironmentVariable + "={}"}
	fewer := own[:3] // no directories of XDG
	known := func(settings []string) func() Variables {
		return func() Variables { return Snapshot(settings) }
	}
	unknown := func() Variables { return nil }
	for _, test := range []struct {
		name      string
		variables []string // of this process
		client    func() Variables
		get       bool
		want      []string // the places of these variables
	}{
		{"a client's own", append(info, own...), known(own), true, own},
		{"a kubeconfig's", append(info, forged...), known(own), true, own},
		{"a kubeconfig's where the client has none", append(info, forged...), known(fewer),
			true, fewer},
		{"a kubeconfig's, with another command than get", append(info, forged...),
			known(own), false, own},
		{"a kubeconfig's, with a client without exec info", forged, known(own), true, own},
		{"the client is not known", append(info, forged...), unknown, true, forged},
		{"no client calls", forged, known(own), false, forged},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := System()
			h.Log = &ui.Log{Out: os.Stderr}
			h.SystemRuntime = ""
			want := places(t, h.With(Snapshot(test.want)))
			h = h.With(Snapshot(test.variables))
			h.ClientVariables = test.client
			if test.get {
				h = h.ForGet()
			}
			if got := places(t, h); !maps.Equal(got, want) {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

// TestTheRuntimeDirectoryIsFoundWithoutItsVariable is about the directory of locks and the bus:
// programs with and without the variable have to find the same.
func TestTheRuntimeDirectoryIsFoundWithoutItsVariable(t *testing.T) {
	private := func(t *testing.T) string {
		dir := t.TempDir()
		if err := os.Chmod(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	own, system, open := private(t), private(t), t.TempDir()
	if err := os.Chmod(open, 0o777); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name             string
		variable, system string
		locks, bus       string // the directories of both; locks empty: in the cache
	}{
		{"the variable", own, system, own, own},
		{"no variable", "", system, system, system},
		{"the variable of another user", open, system, system, system},
		{"no variable, and a directory that others can write to", "", open, "", open},
		{"neither", "", "", "", ""},
		{"no such system, and a variable that leads nowhere", "/nonexistent", "", "",
			"/nonexistent"},
	} {
		t.Run(test.name, func(t *testing.T) {
			home := t.TempDir()
			h := System().With(Snapshot([]string{"HOME=" + home,
				"XDG_RUNTIME_DIR=" + test.variable}))
			h.Log = &ui.Log{Out: os.Stderr}
			h.SystemRuntime = test.system
			locks := filepath.Join(test.locks, ui.Program)
			if test.locks == "" {
				locks = filepath.Join(home, ".cache", ui.Program)
			}
			if got := h.RuntimeDir(); got != locks {
				t.Errorf("locks are in %q, not %q", got, locks)
			}
			if got := h.storePlace("XDG_RUNTIME_DIR"); got != test.bus {
				t.Errorf("the bus is looked for in %q, not %q", got, test.bus)
			}
		})
	}
}

// variablesIn are all that choose places, below a directory.
func variablesIn(dir string) []string {
	return []string{"HOME=" + dir, "DBUS_SESSION_BUS_ADDRESS=unix:path=" + dir + "/bus",
		"USER=jane",
		"XDG_RUNTIME_DIR=" + dir, "XDG_CONFIG_HOME=" + dir + "/settings",
		"XDG_CACHE_HOME=" + dir + "/kept", "XDG_DATA_HOME=" + dir + "/data"}
}

// TestAGetCreatesOnlyTheUsualDirectories: others that variables name have to exist, but for a
// person who has set them.
func TestAGetCreatesOnlyTheUsualDirectories(t *testing.T) {
	for _, test := range []struct {
		name   string
		dirs   []string // variables; $HOME is a new directory
		person bool
		create bool
	}{
		{"a fresh home", nil, false, true},
		{"the usual place by its name", []string{"XDG_CACHE_HOME=$HOME/.cache",
			"XDG_CONFIG_HOME=$HOME/.config/"}, false, true},
		{"another place", []string{"XDG_CACHE_HOME=$HOME/x/y", "XDG_CONFIG_HOME=$HOME/x"},
			false, false},
		{"another place of a person's", []string{"XDG_CACHE_HOME=$HOME/x/y",
			"XDG_CONFIG_HOME=$HOME/x"}, true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			home := t.TempDir()
			settings := []string{"HOME=" + home}
			for _, dir := range test.dirs {
				settings = append(settings, strings.ReplaceAll(dir, "$HOME", home))
			}
			h := System().With(Snapshot(settings))
			h.SystemRuntime = ""
			h.ClientVariables = func() Variables { return Snapshot(settings) }
			if !test.person {
				h = h.ForGet()
			}
			dir, err := h.Profiles()
			if err := errors.Join(err, h.CreateConfigDir()); err != nil {
				t.Fatal(err)
			}
			release, err := dir.Lock(t.Context(), "p")
			if (err == nil) != test.create || (h.RuntimeDir() != "") != test.create {
				t.Errorf("profiles: %v, locks in %q", err, h.RuntimeDir())
			}
			if err == nil {
				release()
			}
			if entries, err := os.ReadDir(home); err != nil ||
				len(entries) > 0 != test.create {
				t.Errorf("created %v, %v", entries, err)
			}
		})
	}
}
