// Package keyring keeps secrets in the operating system's store: the Secret Service, Keychain,
// Credential Manager, files that the machine has sealed, or the Linux kernel keyring, which is also
// in front of the others there. It is the only importer of go-keyring. Every call has a time limit,
// because a store may wait for a person without end.
//
// It knows nothing of profiles, tokens' meaning or the API server: of this module it imports only
// internal/sealed, internal/files and internal/secret.
package keyring

import (
	"context"
	"errors"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

// Kind names a store, in profiles and in what status prints.
type Kind string

// The stores. Auto is a wish, not a store: Open turns it into one of the others.
const (
	Auto    Kind = "auto"
	Keyring Kind = "keyring" // Secret Service, Keychain or Credential Manager
	Sealed  Kind = "sealed"  // files that only this Linux machine can open, by TPM or systemd
	Kernel  Kind = "kernel"  // the Linux kernel keyring; in memory, gone with a reboot
	None    Kind = "none"    // nothing is kept
)

// Store keeps entries by key. A key is "token:ID" or "bootstrap:ID". All methods return within
// their time limit, also when the store hangs, and can be used by several goroutines.
type Store interface {
	// Kind is the store's name in a profile; never Auto.
	Kind() Kind
	// Description names the store for people, for example "Secret Service (login)".
	Description() string
	// Get returns the entry under key. An absent entry is ErrNotFound, and so is one that is
	// torn, corrupt, of a newer version or was written for another key: none of them may keep
	// the user from a fresh one.
	Get(ctx context.Context, key string) (Entry, error)
	// Set replaces the entry under key.
	Set(ctx context.Context, key string, entry Entry) error
	// Delete removes the entry under key; an absent one is not an error.
	Delete(ctx context.Context, key string) error
	// Keys lists the keys of all entries that this program keeps in the store.
	Keys(ctx context.Context) ([]string, error)
}

// Entry is one secret and the time it is good for, by this machine's clock.
type Entry struct {
	Token     secret.String
	IssuedAt  time.Time
	ExpiresAt time.Time
	// Origin is that of the System that stored it; Set fills it in. Empty: unknown.
	Origin string
}

// IsHalfOver reports whether less than half of its life is left: then it is renewed, where it can be.
func (e Entry) IsHalfOver(now time.Time) bool {
	return now.After(e.HalfOver())
}

// HalfOver is when half of its life is over.
func (e Entry) HalfOver() time.Time { return e.IssuedAt.Add(e.ExpiresAt.Sub(e.IssuedAt) / 2) }

// What can be wrong with a store. Errors of this package wrap one of them.
var (
	ErrNotFound    = errors.New("not found")
	ErrLocked      = errors.New("the keyring is locked")
	ErrUnavailable = errors.New("no keyring is available")
	// ErrNoCollection is an ErrUnavailable: a Secret Service that has nowhere to put a secret.
	ErrNoCollection error = &reason{&ErrUnavailable,
		"the Secret Service has no default collection"}
	// ErrRefused is an ErrUnavailable: this process is not allowed to use the kernel's keyring,
	// as in a container.
	ErrRefused error = &reason{&ErrUnavailable, "the kernel refuses its own to this process"}
	// ErrNoBus is an ErrUnavailable: no session bus on which a Secret Service could be.
	ErrNoBus   error = &reason{&ErrUnavailable, "there is no session bus"}
	ErrTimeout       = errors.New("the keyring did not answer in time")
	ErrTooBig        = errors.New("the value exceeds the keyring's limit")
	ErrQuota         = errors.New("the keyring's quota is used up")
	// ErrUnusable is an ErrNotFound that is worth a word: an entry is there, and will never be
	// of use here.
	ErrUnusable = errors.New("the entry cannot be used")
	// ErrSealing is wrapped beside ErrUnavailable or ErrTimeout where it is what seals that
	// fails, and ErrNotAllowed where the TPM is there and other users' only.
	ErrSealing    = errors.New("sealing failed")
	ErrNotAllowed = errors.New("not allowed to use the TPM")
)
