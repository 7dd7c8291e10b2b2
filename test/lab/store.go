//go:build linux

package lab

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// Profiles is where the program keeps them.
func (m *Machine) Profiles() profile.Dir { return profile.DirIn(m.Path(".config")) }

// Load reads a profile.
func (m *Machine) Load(name string) Profile {
	m.Helper()
	p, err := LoadProfile(m.Path(".config"), name)
	if err != nil {
		m.Fatal(err)
	}
	return p
}

// Configuration reads the machine's own profile.
func (m *Machine) Configuration() Profile {
	m.Helper()
	return m.Load(m.Profile)
}

// LoadKubeconfig reads the user's own kubeconfig as clients do.
func (m *Machine) LoadKubeconfig() *clientcmdapi.Config {
	m.Helper()
	return LoadKubeconfig(m.T, m.Kubeconfig())
}

// LoadKubeconfig reads any.
func LoadKubeconfig(t *testing.T, path string) *clientcmdapi.Config {
	t.Helper()
	config, err := clientcmd.LoadFromFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return config
}

// Store opens the machine's store as the program does.
func (m *Machine) Store() keyring.Store {
	m.Helper()
	store, err := m.open()
	if err != nil {
		m.Fatal(err)
	}
	return store
}

func (m *Machine) open() (keyring.Store, error) {
	system := keyring.System{TPM: m.TPMPlace, StateDir: m.Path(".local", "state")}
	if m.Service != nil {
		system.Getenv = m.Service.Getenv
	}
	return keyring.Open(context.Background(), m.Kind(), system)
}

// StoreKeys lists what the machine's programs keep, also in front of the store, where other machines
// have theirs, too.
func (m *Machine) StoreKeys() []string {
	m.Helper()
	store := m.Store()
	keys, err := keyring.Behind(store).Keys(context.Background())
	if err != nil {
		m.Fatal(err)
	}
	all, err := store.Keys(context.Background())
	if err != nil {
		m.Fatal(err)
	}
	sum := sha256.Sum256([]byte(m.Profiles()))
	origin := hex.EncodeToString(sum[:8])
	for _, key := range all {
		entry, err := store.Get(context.Background(), key)
		isOwn := entry.Origin == origin ||
			mint.ParseClaims(entry.Token.Reveal()).Namespace == m.Namespace
		if err == nil && !slices.Contains(keys, key) && isOwn {
			keys = append(keys, key)
		}
	}
	return keys
}

// Entry reads an entry that has to be there.
func (m *Machine) Entry(key string) keyring.Entry {
	m.Helper()
	entry, err := m.Store().Get(context.Background(), key)
	if err != nil {
		m.Fatal(err)
	}
	shared.tokens.note(entry.Token.Reveal())
	return entry
}

// Tokens are what a profile has in the store: its token and its bootstrap credential.
func (m *Machine) Tokens(p Profile) (token, bootstrap string) {
	m.Helper()
	return m.Entry(p.TokenKey()).Token.Reveal(), m.Entry(p.BootstrapKey()).Token.Reveal()
}

// SetEntry writes an entry.
func (m *Machine) SetEntry(key string, entry keyring.Entry) {
	m.Helper()
	if err := m.Store().Set(context.Background(), key, entry); err != nil {
		m.Fatal(err)
	}
}

// Age has a share of the life of an entry's token be over.
func (m *Machine) Age(key string, share float64) {
	m.Helper()
	entry := m.Entry(key)
	spent := time.Duration(share * float64(entry.ExpiresAt.Sub(entry.IssuedAt)))
	entry.IssuedAt, entry.ExpiresAt = entry.IssuedAt.Add(-spent), entry.ExpiresAt.Add(-spent)
	m.SetEntry(key, entry)
}

// NoteEntries makes known what the machine's profile has in the store, so that it is searched for.
func (m *Machine) NoteEntries() {
	if p, err := LoadProfile(m.Path(".config"), m.Profile); err == nil {
		m.each([]Profile{p}, func(store keyring.Store, key string) {
			if entry, err := store.Get(context.Background(), key); err == nil {
				shared.tokens.note(entry.Token.Reveal())
			}
		})
	}
}

// clean removes the profiles' entries from the kernel keyring, which others may share.
func (m *Machine) clean() {
	if m.Service != nil {
		return
	}
	names, err := m.Profiles().Names()
	if err != nil {
		m.Error(err)
	}
	var profiles []Profile
	for _, name := range names {
		if p, err := LoadProfile(m.Path(".config"), name); err == nil {
			profiles = append(profiles, p)
		}
	}
	m.each(profiles, func(store keyring.Store, key string) {
		if err := store.Delete(context.Background(), key); err != nil {
			m.Error(err)
		}
	})
}

// each does something to the entries of profiles, as far as the store is there.
func (m *Machine) each(profiles []Profile, do func(store keyring.Store, key string)) {
	store, err := m.open()
	if err != nil {
		return
	}
	for _, p := range profiles {
		for _, key := range []string{p.TokenKey(), p.BootstrapKey()} {
			do(store, key)
		}
	}
}

// RestartKeyring is for after a kill that may have hit in the middle of a question to
// gnome-keyring, of which that one can end, too
// (https://gitlab.gnome.org/GNOME/gnome-keyring/-/issues/190). The session bus of a desktop
// starts it again.
func (m *Machine) RestartKeyring() {
	m.Helper()
	m.Service.StopKeyring()
	if err := m.Service.StartKeyring(true); err != nil {
		m.Fatal(err)
	}
}
