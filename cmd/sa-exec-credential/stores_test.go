package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/call"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// oddStore is a store that answers as a test wishes.
type oddStore struct {
	entry                              keyring.Entry
	keys, deleted                      []string
	getErr, setErr, deleteErr, listErr error
	forgets                            bool // takes entries and does not keep them
}

func (*oddStore) Kind() keyring.Kind  { return keyring.Keyring }
func (*oddStore) Description() string { return "odd store" }

func (s *oddStore) Get(context.Context, string) (keyring.Entry, error) { return s.entry, s.getErr }
func (s *oddStore) Keys(context.Context) ([]string, error)             { return s.keys, s.listErr }

func (s *oddStore) Set(_ context.Context, _ string, entry keyring.Entry) error {
	if s.setErr == nil && !s.forgets {
		s.entry = entry
	}
	return s.setErr
}

func (s *oddStore) Delete(_ context.Context, key string) error {
	if s.deleteErr == nil {
		s.deleted = append(s.deleted, key)
	}
	return s.deleteErr
}

// withStore is an environment with a home of its own, in which store is the platform's keyring
// and the only one there is.
func withStore(t *testing.T, store keyring.Store) *host.Host {
	t.Helper()
	home := t.TempDir()
	h := host.System()
	h.Stdout, h.Stderr, h.Log = io.Discard, io.Discard, &ui.Log{Out: io.Discard}
	h.Variables = host.Snapshot([]string{"HOME=" + home, "APPDATA=" + home, "LOCALAPPDATA=" +
		home, "USERPROFILE=" + home})
	h.Hostname = func() (string, error) { return "laptop", nil }
	h.OpenStore = func(_ context.Context, kind keyring.Kind, _ keyring.System) (keyring.Store,
		error) {
		if kind == keyring.Kernel || kind == keyring.Sealed {
			return nil, keyring.ErrUnavailable
		}
		return store, nil
	}
	return h
}

// profileIn saves a profile that keeps its credentials in the platform's keyring.
func profileIn(t *testing.T, env *host.Host, name string) {
	t.Helper()
	folder, err := env.Profiles()
	if err := errors.Join(err, env.CreateConfigDir()); err != nil {
		t.Fatal(err)
	}
	p := profile.Profile{Name: name, Cluster: profile.Cluster{Server: "https://127.0.0.1:1"},
		Namespace: "build", ServiceAccount: "ci",
		Duration: profile.Duration{Duration: time.Hour}, Store: keyring.Keyring,
		Bootstrap: profile.Bootstrap{Source: profile.SourceKeyring,
			Duration: &profile.Duration{Duration: time.Hour}}}
	p.Device = recordFor(t, env, p, profile.Device{Name: "ci-device-x", SecretUID: "uid",
		AccountUID: "uid"})
	if err := folder.Save(p); err != nil {
		t.Fatal(err)
	}
}

// recordFor writes the record of what a machine is to the profile's account.
func recordFor(t *testing.T, h *host.Host, p profile.Profile, current profile.Device) string {
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
	record.Current = &current
	if err := record.Save(); err != nil {
		t.Fatal(err)
	}
	return record.Name
}

// runIn runs a command line in an environment and returns what it printed.
func runIn(env *host.Host, args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	env.Stdout, env.Stderr, env.Log = &out, &err, &ui.Log{Out: &err}
	code = run(args, env)
	return code, out.String(), err.String()
}
