package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/cache"
	"github.com/sa-exec-credential/sa-exec-credential/internal/call"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/parallel"
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
	for _, file := range cache.Files(s.Host.RuntimeDir(), s.TokenKey()) {
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
	all, err := ByDevice(h)
	return all[record], err
}

// ByDevice is Sharing for every device record.
func ByDevice(h *host.Host) (map[string][]profile.Profile, error) {
	dir, err := h.Profiles()
	if err != nil {
		return nil, err
	}
	names, err := dir.Names()
	if err != nil {
		return nil, err
	}
	all := map[string][]profile.Profile{}
	for _, name := range names {
		p, err := dir.Load(name)
		if errors.Is(err, profile.ErrUnreadable) {
			return nil, err
		}
		if err == nil && p.Device != "" {
			all[p.Device] = append(all[p.Device], p)
		}
	}
	return all, nil
}

// loaders is how many profiles are read at once.
const loaders = 8

// ForgetAll is Forget for every profile, and for entries that profiles of the same directory have
// stored and none leads to any more, for example of one whose duration was changed.
func ForgetAll(ctx context.Context, h *host.Host, bootstrap bool) error {
	h = h.Patient()
	all, failed, err := loadAll(ctx, h)
	if err != nil {
		return err
	}
	left, more := forgetListed(ctx, h, all, bootstrap)
	failed = append(failed, more...)
	known, release := map[string]bool{}, func() {}
	for _, s := range all {
		known[s.TokenKey()], known[s.BootstrapKey()] = true, true
	}
	// Nobody can use the bootstrap credential of a profile that is gone. Who has no such entries
	// need not wait for others to find out whose they are.
	lookAgain := sync.OnceFunc(func() {
		if keys, locks, err := keysOfOthers(ctx, h, ""); err == nil {
			known, bootstrap, release = keys, true, locks
		}
	})
	defer func() { release() }()
	err = forgetStrays(ctx, h, left, strays{
		mayHave: func(key string) bool { return !known[key] },
		have: func(key string) bool {
			lookAgain()
			return !known[key] && (bootstrap || strings.HasPrefix(key, "token:"))
		},
	})
	if err != nil {
		h.Log.Warn(err)
	}
	forgetCalls(h)
	return errors.Join(failed...)
}

// forgetListed goes through the stores of sessions once. Where that fails, each session is
// forgotten by itself.
func forgetListed(ctx context.Context, h *host.Host, all []*Session,
	bootstrap bool) (left leftovers, failed []error) {
	gone, stores := map[string]bool{}, map[keyring.Store][]*Session{}
	for _, s := range all {
		gone[s.TokenKey()], gone[s.BootstrapKey()] = true, bootstrap
		stores[s.Store] = append(stores[s.Store], s)
	}
	left = leftovers{}
	for store, sessions := range stores {
		keys, err := keyring.DeleteListed(ctx, store,
			func(key string) bool { return gone[key] })
		if err == nil {
			left[store] = keys
			continue
		}
		h.Log.Debug("going through the store once", "store", store.Kind(), "error", err)
		for _, s := range sessions {
			if err := s.Forget(ctx, bootstrap); err != nil {
				failed = append(failed, fmt.Errorf("profile %q: %w", s.Profile.Name, err))
			}
		}
	}
	return left, failed
}

// leftovers are the keys that stores still have which have been gone through.
type leftovers map[keyring.Store][]string

// of lists a store that was not.
func (l leftovers) of(ctx context.Context, store keyring.Store) ([]string, error) {
	if keys, isKnown := l[store]; isKnown {
		return keys, nil
	}
	return store.Keys(ctx)
}

// loadAll opens the profiles that can be.
func loadAll(ctx context.Context, h *host.Host) (all []*Session, failed []error, err error) {
	dir, err := h.Profiles()
	if err != nil {
		return nil, nil, err
	}
	names, err := dir.Names()
	if err != nil {
		return nil, nil, err
	}
	sessions, errs := make([]*Session, len(names)), make([]error, len(names))
	parallel.ForEach(len(names), loaders, func(i int) {
		sessions[i], errs[i] = Load(ctx, h, names[i])
	})
	for i, s := range sessions {
		if errs[i] != nil {
			failed = append(failed, fmt.Errorf("profile %q: %w", names[i], errs[i]))
			continue
		}
		all = append(all, s)
	}
	return all, failed, nil
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
	isUnknown := func(key string) bool { return !known[key] }
	return forgetStrays(ctx, h, nil, strays{mayHave: isUnknown, have: isUnknown})
}

// keysOfOthers are those that the profiles lead to, less one of them. They are all there are
// until release: a setup stores before it writes the profile.
func keysOfOthers(ctx context.Context, h *host.Host, except string) (known map[string]bool,
	release func(), err error) {
	limited, cancel := context.WithTimeout(ctx, goneLimit)
	defer cancel()
	devices, err := call.Devices(h)
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

// strays are entries to which no profile leads. have is asked only about those that mayHave holds
// for and that profiles of this directory have stored: finding out is work.
type strays struct{ mayHave, have func(key string) bool }

// forgetStrays looks through all stores.
func forgetStrays(ctx context.Context, h *host.Host, left leftovers, which strays) error {
	var failed []error
	for _, kind := range []keyring.Kind{keyring.Keyring, keyring.Sealed, keyring.Kernel} {
		if err := forgetStraysIn(ctx, h, kind, left, which); err != nil {
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
func forgetStraysIn(ctx context.Context, h *host.Host, kind keyring.Kind, left leftovers,
	which strays) error {
	store, err := h.Store(ctx, kind, "") // nothing is unsealed
	var keys []string
	if err == nil {
		keys, err = left.of(ctx, store)
	}
	if errors.Is(err, keyring.ErrUnavailable) {
		h.Log.Debug("listing the store", "store", kind, "error", err)
		return nil
	}
	failed := err
	for _, key := range keys {
		isOwn, err := false, error(nil)
		if which.mayHave(key) {
			isOwn, err = hasStored(ctx, h, store, key)
		}
		if isOwn && which.have(key) {
			err = store.Delete(ctx, key)
			h.Log.Debug("forgetting a stray entry", "key", key, "error", err)
		}
		failed = cmp.Or(failed, err) // one is enough to say: the others fail alike
	}
	return failed
}

// hasStored reports whether a profile of this directory has stored an entry. Those of other
// directories are in use there, as far as can be known here.
func hasStored(ctx context.Context, h *host.Host, store keyring.Store, key string) (bool, error) {
	origin, err := keyring.OriginOf(ctx, store, key)
	if errors.Is(err, keyring.ErrNotFound) {
		return false, nil
	}
	return err == nil && origin == h.Origin(), err
}
