//go:build linux

package prepare

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// smallStore is a kernel keyring with room for some entries, which counts its writes.
type smallStore struct {
	keyring.Store
	entries map[string]keyring.Entry
	room    keyring.Room
	writes  int
	setErr  error
}

func (*smallStore) Kind() keyring.Kind            { return keyring.Kernel }
func (s *smallStore) Room() (keyring.Room, error) { return s.room, nil }
func (s *smallStore) Get(_ context.Context, key string) (keyring.Entry, error) {
	entry, found := s.entries[key]
	if !found {
		return entry, keyring.ErrNotFound
	}
	return entry, nil
}

func (s *smallStore) Set(_ context.Context, key string, entry keyring.Entry) error {
	s.writes++
	s.entries[key] = entry
	return s.setErr
}

func (s *smallStore) Delete(_ context.Context, key string) error {
	delete(s.entries, key)
	return nil
}

func newSmallStore(bytes int) *smallStore {
	return &smallStore{entries: map[string]keyring.Entry{},
		room: keyring.Room{Keys: 100, Bytes: bytes, MaxKeys: 200, MaxBytes: 20000}}
}

// quietHost has a configuration directory of its own.
func quietHost(t *testing.T) *host.Host {
	h := host.System().With(host.Snapshot([]string{"XDG_CONFIG_HOME=" + t.TempDir()}))
	h.Log = &ui.Log{Out: io.Discard}
	return h
}

func saveProfile(t *testing.T, h *host.Host, name string, store keyring.Kind) {
	t.Helper()
	folder, err := h.Profiles()
	if err != nil {
		t.Fatal(err)
	}
	if err := folder.Save(profile.Profile{Name: name,
		Cluster:   profile.Cluster{Server: "https://a:6443"},
		Namespace: "build", ServiceAccount: "ci",
		Duration: profile.Duration{Duration: time.Hour}, Store: store,
		Bootstrap: profile.Bootstrap{Source: profile.SourceEnv,
			Variable: "V"}}); err != nil {
		t.Fatal(err)
	}
}

func TestAQuotaThatIsTooSmallIsKnownBeforeAnythingIsWritten(t *testing.T) {
	h := quietHost(t)
	saveProfile(t, h, "a", keyring.Kernel)
	saveProfile(t, h, "b", keyring.None)
	store := newSmallStore(1500) // one entry
	err := (&StoreTrial{}).Check(t.Context(), h, store, 2)
	var quota *keyring.QuotaError
	if !errors.As(err, &quota) || !slices.Equal(quota.Users, []string{"a"}) {
		t.Errorf("got %v, want a QuotaError of profile a", err)
	}
	full := newSmallStore(100)
	if err := (&StoreTrial{}).Check(t.Context(), h, full, 1); !errors.Is(err,
		keyring.ErrQuota) || full.writes > 0 {
		t.Errorf("got %v after %d writes, want ErrQuota after none", err, full.writes)
	}
}

func TestManyClustersShareOneTrialAndOneQuota(t *testing.T) {
	h, trial, store := quietHost(t), &StoreTrial{}, newSmallStore(7000) // five entries
	for range 2 {
		if err := trial.Check(t.Context(), h, store, 2); err != nil {
			t.Fatal(err)
		}
	}
	if err := trial.Check(t.Context(), h, store, 2); !errors.Is(err, keyring.ErrQuota) {
		t.Errorf("got %v, want ErrQuota: the first two have not written yet", err)
	}
	if store.writes != 1 || len(store.entries) != 0 {
		t.Errorf("%d writes, and %d entries are left", store.writes, len(store.entries))
	}
}

func TestAStoreThatTakesNothingIsTriedOnce(t *testing.T) {
	h, trial, store := quietHost(t), &StoreTrial{}, newSmallStore(20000)
	store.setErr = keyring.ErrLocked
	for range 2 {
		if err := trial.Check(t.Context(), h, store, 1); !errors.Is(err,
			keyring.ErrLocked) {
			t.Errorf("got %v, want ErrLocked", err)
		}
	}
	if store.writes != 1 {
		t.Errorf("%d writes", store.writes)
	}
}

func TestAStoreThatARestartEmptiesNamesTheWaysOut(t *testing.T) {
	const recover, group = "--recover", "in the group tss"
	for _, test := range []struct {
		name   string
		passed []error
		group  bool
	}{
		{"there is no TPM", []error{keyring.ErrUnavailable}, false},
		{"the TPM is others'", []error{keyring.ErrUnavailable,
			fmt.Errorf("%w: %w", keyring.ErrUnavailable, keyring.ErrNotAllowed)}, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := untilRestart(test.passed)
			if !strings.Contains(text, recover) || strings.Contains(text, group) != test.group {
				t.Error(text)
			}
		})
	}
}
