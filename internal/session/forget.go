package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/cache"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// Forget removes what the store holds for the profile, and what was remembered about its callers.
// Tokens stay good until they expire.
func (s *Session) Forget(ctx context.Context, bootstrap bool) error {
	if err := s.Store.Delete(ctx, s.TokenKey()); err != nil {
		return fmt.Errorf("forgetting the token: %w", err)
	}
	if bootstrap {
		if err := s.Store.Delete(ctx, s.BootstrapKey()); err != nil {
			return fmt.Errorf("forgetting the bootstrap credential: %w", err)
		}
	}
	s.forgetFiles()
	return nil
}

// forgetFiles removes the lock and the records of calls of the profile's token.
func (s *Session) forgetFiles() {
	for _, file := range cache.Files(s.host.RuntimeDir(), s.TokenKey()) {
		_ = os.Remove(file)
	}
}

// ForgetEntries removes what the store holds for each of the profiles with a device, which need
// not be the one in the record: it may have been replaced, or never come to be. One that fails
// does not keep the others.
func ForgetEntries(ctx context.Context, h *host.Host, profiles []profile.Profile,
	d *profile.Device) error {
	var failed []error
	for _, p := range profiles {
		s, err := With(ctx, h, p, d)
		if err == nil {
			err = s.Forget(ctx, true)
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("profile %q: %w", p.Name, err))
		}
	}
	return errors.Join(failed...)
}

// Sharing lists the profiles that name a device record, sorted by name. One whose content is no
// profile names none. One that the system does not let us read may, so that is an error: whoever
// replaces the device would leave it behind with the old one.
func Sharing(h *host.Host, record string) ([]profile.Profile, error) {
	dir, err := h.Profiles()
	if err != nil {
		return nil, err
	}
	names, err := dir.Names()
	if err != nil {
		return nil, err
	}
	var sharing []profile.Profile
	for _, name := range names {
		p, err := dir.Load(name)
		if errors.Is(err, profile.ErrUnreadable) {
			return nil, err
		}
		if err == nil && record != "" && p.Device == record {
			sharing = append(sharing, p)
		}
	}
	return sharing, nil
}

// ForgetAll is Forget for every profile, and for entries that profiles of the same directory have
// stored and none leads to any more, for example of one whose duration was changed.
func ForgetAll(ctx context.Context, h *host.Host, bootstrap bool) error {
	dir, err := h.Profiles()
	if err != nil {
		return err
	}
	names, err := dir.Names()
	if err != nil {
		return err
	}
	known := map[string]bool{}
	var failed []error
	for _, name := range names {
		s, err := Load(ctx, h, name)
		if err == nil {
			known[s.TokenKey()], known[s.BootstrapKey()] = true, true
			err = s.Forget(ctx, bootstrap)
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("profile %q: %w", name, err))
		}
	}
	// Nobody can use the bootstrap credential of a profile that is gone.
	if all, release, err := keysOfOthers(ctx, h, ""); err == nil {
		defer release()
		known, bootstrap = all, true
	}
	if err := forgetStrays(ctx, h, known, bootstrap); err != nil {
		h.Log.Warn(err)
	}
	forgetCalls(h)
	return errors.Join(failed...)
}

// goneLimit bounds the wait for commands that may be about to write a profile.
const goneLimit = 10 * time.Second

// ForgetGone removes from the stores what profiles of this directory have stored and none of
// them, less the one called except, leads to: bootstrap credentials, too. It is an error while
// what another profile leads to is not known.
func ForgetGone(ctx context.Context, h *host.Host, except string) error {
	known, release, err := keysOfOthers(ctx, h, except)
	if err != nil {
		return err
	}
	defer release()
	return forgetStrays(ctx, h, known, true)
}

// keysOfOthers are those that the profiles lead to, less one of them. They are all there are
// until release: a setup stores before it writes the profile.
func keysOfOthers(ctx context.Context, h *host.Host, except string) (known map[string]bool,
	release func(), err error) {
	limited, cancel := context.WithTimeout(ctx, goneLimit)
	defer cancel()
	devices, err := Devices(h)
	if err != nil {
		return nil, nil, err
	}
	release, err = devices.LockAll(limited)
	if err == nil {
		if known, err = keysOf(ctx, h, except); err != nil {
			release()
		}
	}
	return known, release, err
}

func keysOf(ctx context.Context, h *host.Host, except string) (map[string]bool, error) {
	dir, err := h.Profiles()
	if err != nil {
		return nil, err
	}
	names, err := dir.Names()
	if err != nil {
		return nil, err
	}
	known := map[string]bool{}
	for _, name := range names {
		if name == except {
			continue
		}
		s, err := Load(ctx, h, name)
		if err != nil {
			return nil, fmt.Errorf("what profile %q leads to is not known: %w", name,
				err)
		}
		known[s.TokenKey()], known[s.BootstrapKey()] = true, true
	}
	return known, nil
}

func forgetStrays(ctx context.Context, h *host.Host, known map[string]bool, bootstrap bool) error {
	var failed []error
	for _, kind := range []keyring.Kind{keyring.Keyring, keyring.Sealed, keyring.Kernel} {
		err := forgetStraysIn(ctx, h, kind, func(key string) bool {
			return !known[key] && (bootstrap || strings.HasPrefix(key, "token:"))
		})
		if err != nil {
			failed = append(failed, fmt.Errorf("store %q may still hold entries of "+
				"profiles that are gone: %w", kind, err))
		}
	}
	return errors.Join(failed...)
}

// forgetCalls removes all locks and records of calls.
func forgetCalls(h *host.Host) {
	dir := h.RuntimeDir()
	if dir == "" {
		return
	}
	for _, pattern := range []string{"*.calls", "*.lock"} {
		matches, _ := filepath.Glob(filepath.Join(dir, pattern))
		for _, match := range matches {
			_ = os.Remove(match)
		}
	}
}

// forgetStraysIn looks through one store. One that is not there holds nothing, and is not worth a
// word.
func forgetStraysIn(ctx context.Context, h *host.Host, kind keyring.Kind,
	isStray func(string) bool) error {
	store, err := h.Store(ctx, kind, "") // nothing is unsealed
	var keys []string
	if err == nil {
		keys, err = store.Keys(ctx)
	}
	if errors.Is(err, keyring.ErrUnavailable) {
		h.Log.Debug("listing the store", "store", kind, "error", err)
		return nil
	}
	failed := err
	for _, key := range keys {
		if isStray(key) {
			err := forgetStray(ctx, h, store, key)
			h.Log.Debug("forgetting a stray entry", "key", key, "error", err)
			failed = cmp.Or(failed, err) // one is enough to say: the others fail alike
		}
	}
	return failed
}

// forgetStray deletes an entry that a profile of this directory has stored. Those of other
// directories are in use there, as far as can be known here.
func forgetStray(ctx context.Context, h *host.Host, store keyring.Store, key string) error {
	origin, err := keyring.OriginOf(ctx, store, key)
	if errors.Is(err, keyring.ErrNotFound) || err == nil && origin != h.Origin() {
		return nil
	}
	if err != nil {
		return err
	}
	return store.Delete(ctx, key)
}
