package main

import (
	"bytes"
	"context"
	"io"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
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

// withStore is an environment with a home of its own, in which store is the platform's keyring and the only one there is.
func withStore(t *testing.T, store keyring.Store) *environment {
	t.Helper()
	home := t.TempDir()
	return &environment{stdout: io.Discard, stderr: io.Discard, now: time.Now, log: &logger{out: io.Discard},
		lookupEnv: snapshot([]string{"HOME=" + home, "APPDATA=" + home, "LOCALAPPDATA=" + home, "USERPROFILE=" + home}),
		hostname:  func() (string, error) { return "laptop", nil },
		openStore: func(_ context.Context, kind keyring.Kind, _ keyring.System) (keyring.Store, error) {
			if kind == keyring.Kernel {
				return nil, keyring.ErrUnavailable
			}
			return store, nil
		}}
}

// profileIn saves a profile that keeps its credentials in the platform's keyring.
func profileIn(t *testing.T, env *environment, name string) {
	t.Helper()
	folder, err := env.profiles()
	if err != nil {
		t.Fatal(err)
	}
	p := profile.Profile{Name: name, Cluster: profile.Cluster{Server: "https://127.0.0.1:1"}, Namespace: "build", ServiceAccount: "ci",
		Duration: profile.Duration{Duration: time.Hour}, Store: keyring.Keyring, Device: &profile.Device{Secret: "device", UID: "uid"},
		Bootstrap: profile.Bootstrap{Source: profile.SourceKeyring, Duration: &profile.Duration{Duration: time.Hour}}}
	if err := folder.Save(p); err != nil {
		t.Fatal(err)
	}
}

// runIn runs a command line in an environment and returns what it printed.
func runIn(env *environment, args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	env.stdout, env.stderr = &out, &err
	code = run(args, env)
	return code, out.String(), err.String()
}
