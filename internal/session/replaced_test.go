package session

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/cache"
	"github.com/sa-exec-credential/sa-exec-credential/internal/call"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// memory is a store that keeps entries, or fails.
type memory struct {
	entries map[string]keyring.Entry
	err     error
}

func (*memory) Kind() keyring.Kind  { return keyring.Keyring }
func (*memory) Description() string { return "memory" }

func (m *memory) Get(_ context.Context, key string) (keyring.Entry, error) {
	if entry, found := m.entries[key]; found {
		return entry, m.err
	}
	return keyring.Entry{}, errors.Join(keyring.ErrNotFound, m.err)
}

func (m *memory) Set(_ context.Context, key string, entry keyring.Entry) error {
	if m.err == nil {
		m.entries[key] = entry
	}
	return m.err
}

func (m *memory) Delete(_ context.Context, key string) error {
	delete(m.entries, key)
	return m.err
}

func (m *memory) Keys(context.Context) (keys []string, err error) {
	for key := range m.entries {
		keys = append(keys, key)
	}
	return keys, m.err
}

// machine is a home with one profile, whose device is "old".
func machine(t *testing.T) (*host.Host, *memory, *Session) {
	t.Helper()
	home, store := t.TempDir(), &memory{entries: map[string]keyring.Entry{}}
	h := host.System()
	h.Stdout, h.Stderr, h.Log = io.Discard, io.Discard, &ui.Log{Out: io.Discard}
	h.Variables = host.Snapshot([]string{"HOME=" + home, "APPDATA=" + home, "LOCALAPPDATA=" +
		home, "USERPROFILE=" + home})
	h.OpenStore = func(context.Context, keyring.Kind, keyring.System) (keyring.Store,
		error) {
		return store, nil
	}
	p := profile.Profile{Name: "p", Cluster: profile.Cluster{Server: "https://a:6443"},
		Namespace:      "build",
		ServiceAccount: "ci", Duration: profile.Duration{Duration: time.Hour},
		Store: keyring.Keyring,
		Bootstrap: profile.Bootstrap{Source: profile.SourceKeyring,
			Duration: &profile.Duration{Duration: time.Hour}}}
	if err := h.CreateConfigDir(); err != nil {
		t.Fatal(err)
	}
	p.Device = setDevice(t, h, p, &profile.Device{Name: "ci-device-old", SecretUID: "1",
		AccountUID: "1"})
	profiles, err := h.Profiles()
	if err == nil {
		err = profiles.Save(p)
	}
	if err != nil {
		t.Fatal(err)
	}
	s, err := Load(t.Context(), h, "p")
	if err != nil {
		t.Fatal(err)
	}
	return h, store, s
}

// setDevice replaces the device in the record, or removes the record, and returns its name.
func setDevice(t *testing.T, h *host.Host, p profile.Profile, d *profile.Device) string {
	t.Helper()
	dir, err := call.Devices(h)
	if err != nil {
		t.Fatal(err)
	}
	record, err := dir.Lock(t.Context(), p)
	if err != nil {
		t.Fatal(err)
	}
	defer record.Release()
	if d == nil {
		err = record.Remove()
	} else {
		record.Current = d
		err = record.Save()
	}
	if err != nil {
		t.Fatal(err)
	}
	return record.Name
}

var granted = mint.Grant{Token: secret.New("t"), IssuedAt: time.Unix(1, 0), ExpiresAt: time.Unix(2,
	0)}

func TestNothingIsKeptOfADeviceThatWasReplacedMeanwhile(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(*testing.T, *host.Host, *Session)
		kept   int
	}{
		{"it was not", func(*testing.T, *host.Host, *Session) {}, 2},
		{"by a rotate", func(t *testing.T, h *host.Host, s *Session) {
			setDevice(t, h, s.Profile, &profile.Device{Name: "ci-device-new",
				SecretUID: "2", AccountUID: "2"})
		}, 0},
		{"by one of the same name", func(t *testing.T, h *host.Host, s *Session) {
			setDevice(t, h, s.Profile, &profile.Device{Name: "ci-device-old",
				SecretUID: "2", AccountUID: "2"})
		}, 0},
		{"by a revoke", func(t *testing.T, h *host.Host, s *Session) {
			setDevice(t, h,
				s.Profile, nil)
		}, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			h, store, s := machine(t)
			test.change(t, h, s)
			token := keyring.Entry{Token: granted.Token, IssuedAt: granted.IssuedAt,
				ExpiresAt: granted.ExpiresAt}
			if err := s.cache().Store.Set(t.Context(), s.TokenKey(),
				token); err != nil {
				t.Error(err)
			}
			if err := s.keep(t.Context(), s.BootstrapKey(), granted); err != nil {
				t.Error(err)
			}
			if len(store.entries) != test.kept {
				t.Errorf("%d entries stay, want %d", len(store.entries), test.kept)
			}
		})
	}
	t.Run("a store that fails says so", func(t *testing.T) {
		_, store, s := machine(t)
		store.err = keyring.ErrLocked
		if err := s.keep(t.Context(), s.TokenKey(), granted); !errors.Is(err,
			keyring.ErrLocked) {
			t.Errorf("error %v", err)
		}
	})
}

func TestSharing(t *testing.T) {
	h, _, s := machine(t)
	profiles, err := h.Profiles()
	if err != nil {
		t.Fatal(err)
	}
	other, alone := s.Profile, s.Profile
	other.Name, alone.Name, alone.Device = "other", "alone", ""
	alone.Bootstrap = profile.Bootstrap{Source: profile.SourceEnv, Variable: "V"}
	if err := errors.Join(profiles.Save(other), profiles.Save(alone)); err != nil {
		t.Fatal(err)
	}
	sharing := func() (names []string, err error) {
		list, err := Sharing(h, s.Profile.Device)
		for _, p := range list {
			names = append(names, p.Name)
		}
		return names, err
	}
	t.Run("are those that name the record", func(t *testing.T) {
		if names, err := sharing(); err != nil || !slices.Equal(names, []string{"other",
			"p"}) {
			t.Errorf("%q, %v", names, err)
		}
	})
	t.Run("are not those that say nothing", func(t *testing.T) {
		if err := os.WriteFile(filepath.Join(string(profiles), "broken.yaml"), []byte("\t"),
			0o600); err != nil {
			t.Fatal(err)
		}
		if names, err := sharing(); err != nil || len(names) != 2 {
			t.Errorf("%q, %v", names, err)
		}
	})
}

func TestForgetRemovesTheFilesOfAllWays(t *testing.T) {
	run := t.TempDir()
	h := host.System().With(host.Snapshot([]string{"HOME=" + run, "XDG_RUNTIME_DIR=" + run}))
	p := profile.Profile{Store: keyring.None,
		Cluster: profile.Cluster{Server: "https://127.0.0.1:1"}}
	s, err := With(t.Context(), h, p, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, way := range []string{s.Way(), "a forged one"} {
		cache.Hold(h.RuntimeDir(), s.TokenKey(), way)()
	}
	if left := cache.Files(h.RuntimeDir(), s.TokenKey()); len(left) != 2 {
		t.Fatalf("before: %q", left)
	}
	if err := s.Forget(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(filepath.Join(run, "sa-exec-credential")); err != nil ||
		len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
