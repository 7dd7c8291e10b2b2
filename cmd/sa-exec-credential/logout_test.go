package main

import (
	"slices"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
)

func TestLogoutAllSaysWhatItCouldNotForget(t *testing.T) {
	const warning = `sa-exec-credential: warning: store "keyring" may still hold entries of profiles that are gone: `
	for _, test := range []struct {
		name    string
		store   *oddStore
		stderr  string
		deleted []string
	}{
		{"a locked store", &oddStore{listErr: keyring.ErrLocked}, warning +
			"the keyring is locked\n", nil},
		{"a store that hangs", &oddStore{listErr: keyring.ErrTimeout}, warning +
			"the keyring did not answer in time\n", nil},
		{"a store that is not there holds nothing",
			&oddStore{listErr: keyring.ErrUnavailable}, "", nil},
		{"entries that cannot be deleted", &oddStore{keys: []string{"token:a", "token:b"},
			deleteErr: keyring.ErrLocked}, warning + "the keyring is locked\n", nil},
		{"what could be forgotten", &oddStore{keys: []string{"token:a", "bootstrap:a"}}, "",
			[]string{"token:a"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := withStore(t, test.store)
			test.store.entry.Origin = h.Origin()
			code, stdout, stderr := runIn(h, "logout", "--all")
			if code != exitDone || stdout != "" || stderr != test.stderr {
				t.Errorf("exit code %d, printed %q, said %q, want %q", code, stdout,
					stderr, test.stderr)
			}
			if !slices.Equal(test.store.deleted, test.deleted) {
				t.Errorf("deleted %q, want %q", test.store.deleted, test.deleted)
			}
		})
	}
}

// TestLogoutAllLeavesTheEntriesOfOtherDirectories: a second directory of profiles, such as a
// test's or another program's, has its entries in the same store.
func TestLogoutAllLeavesTheEntriesOfOtherDirectories(t *testing.T) {
	for _, origin := range []string{"", withStore(t, nil).Origin()} {
		store := &oddStore{keys: []string{"token:a", "bootstrap:a"},
			entry: keyring.Entry{Origin: origin}}
		code, _, stderr := runIn(withStore(t, store), "logout", "--all", "--bootstrap")
		if code != exitDone || stderr != "" || len(store.deleted) > 0 {
			t.Errorf("origin %q: exit code %d, said %q, deleted %q", origin, code,
				stderr, store.deleted)
		}
	}
}
