package host

import (
	"context"
	"errors"
	"maps"
	"os"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/execcred"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// places are the directories and the bus that a host's variables lead to.
func places(t *testing.T, h *Host) map[string]string {
	t.Helper()
	found := map[string]string{}
	h.OpenStore = func(_ context.Context, _ keyring.Kind, system keyring.System) (keyring.Store, error) {
		for _, name := range []string{"DBUS_SESSION_BUS_ADDRESS", "XDG_RUNTIME_DIR", "XDG_DATA_HOME"} {
			found["store's "+name] = system.Getenv(name)
		}
		return nil, nil
	}
	_, storeErr := h.Store(t.Context(), keyring.Keyring)
	home, homeErr := h.Home()
	config, configErr := h.ConfigDir()
	bus, busErr := h.BusAddress()
	if err := errors.Join(storeErr, homeErr, configErr, busErr); err != nil {
		t.Fatal(err)
	}
	found["home"], found["config"], found["bus"], found["locks"] = home, config, bus, h.RuntimeDir()
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
		{"a kubeconfig's where the client has none", append(info, forged...), known(fewer), true, fewer},
		{"a kubeconfig's, with another command than get", append(info, forged...), known(own), false, own},
		{"a kubeconfig's, with a client without exec info", forged, known(own), true, own},
		{"the client is not known", append(info, forged...), unknown, true, forged},
		{"no client calls", forged, known(own), false, forged},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := System()
			h.Log = &ui.Log{Out: os.Stderr}
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

// variablesIn are all that choose places, below a directory.
func variablesIn(dir string) []string {
	return []string{"HOME=" + dir, "DBUS_SESSION_BUS_ADDRESS=unix:path=" + dir + "/bus", "USER=jane",
		"XDG_RUNTIME_DIR=" + dir, "XDG_CONFIG_HOME=" + dir + "/settings",
		"XDG_CACHE_HOME=" + dir + "/kept", "XDG_DATA_HOME=" + dir + "/data"}
}
