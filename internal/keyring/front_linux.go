package keyring

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
)

// frontPrefix begins the description of every key that is kept in front of a store.
const frontPrefix = service + "-front:"

// fronted is a store with the kernel keyring in front of it, for tokens alone: who asks for one
// that is there wakes neither a daemon nor a TPM. The front holds no more than it has room for and
// loses all of it with a restart, so whatever fails there leaves it to the store, and is not worth
// a word.
// What it gives back has passed the checks that the store's own entries pass.
//
// A token goes to the front alone where that takes it: a store behind would write its whole file,
// ask its owner or go two rounds with the TPM, for what lives an hour.
type fronted struct {
	*store
	front  *store
	absent sync.Map // keys under which the store has nothing, as this process has found
}

// withFront puts the kernel keyring in front of a store that is not that itself.
func withFront(opened prober) Store {
	behind, ok := opened.(*store)
	if !ok || behind.kind == Kernel {
		return opened
	}
	return newFronted(behind, frontPrefix)
}

func newFronted(behind *store, prefix string) *fronted {
	return &fronted{store: behind, front: newFront(behind.sys, prefix)}
}

func newFront(sys System, prefix string) *store {
	sys.Interactive = false
	items := kernelItems{sys: sys, uid: os.Geteuid(), prefix: prefix, isFront: true}
	return items.store()
}

// OpenFront is Open for a look at the tokens that are in the kernel keyring, by itself or in front
// of a store of that kind. No daemon and no TPM is asked.
func OpenFront(ctx context.Context, kind Kind, sys System) (Store, error) {
	if kind == Keyring || kind == Sealed {
		return newFront(sys.withDefaults(), frontPrefix), nil
	}
	return Open(ctx, kind, sys)
}

func isToken(key string) bool { return strings.HasPrefix(key, tokenPrefix) }

// Get asks the front first. What only the store had is in the front then.
func (f *fronted) Get(ctx context.Context, key string) (Entry, error) {
	if !isToken(key) {
		return f.store.Get(ctx, key)
	}
	entry, err := f.front.Get(ctx, key)
	if err == nil && entry.ExpiresAt.After(f.sys.Now()) {
		return entry, nil
	}
	entry, err = f.store.Get(ctx, key)
	switch {
	case err == nil:
		_ = f.front.put(ctx, key, entry)
	case errors.Is(err, ErrNotFound) && !errors.Is(err, ErrUnusable):
		f.absent.Store(key, true)
	}
	return entry, err
}

// Set puts the entry where it fits. In the other place none must be left that is older.
func (f *fronted) Set(ctx context.Context, key string, entry Entry) error {
	if !isToken(key) {
		return f.store.Set(ctx, key, entry)
	}
	if f.front.Set(ctx, key, entry) != nil {
		_ = f.front.Delete(ctx, key)
		f.absent.Delete(key)
		return f.store.Set(ctx, key, entry)
	}
	if _, isAbsent := f.absent.Load(key); !isAbsent {
		_ = f.store.Delete(ctx, key) // which may be locked, and the entry is kept
	}
	return nil
}

// Delete removes the entry from both. A front that cannot be used holds nothing of this process's.
func (f *fronted) Delete(ctx context.Context, key string) error {
	err := f.store.Delete(ctx, key)
	if !isToken(key) {
		return err
	}
	frontErr := f.front.Delete(ctx, key)
	if errors.Is(frontErr, ErrUnavailable) {
		frontErr = nil
	}
	return errors.Join(err, frontErr)
}

// Keys lists those of both.
func (f *fronted) Keys(ctx context.Context) ([]string, error) {
	keys, err := f.store.Keys(ctx)
	if err != nil {
		return nil, err
	}
	more, err := f.front.Keys(ctx)
	if err != nil && !errors.Is(err, ErrUnavailable) {
		return nil, err
	}
	keys = append(keys, more...)
	slices.Sort(keys)
	return slices.Compact(keys), nil
}

// deleteListed goes through both.
func (f *fronted) deleteListed(ctx context.Context, isGone func(key string) bool) ([]string,
	error) {
	left, err := f.store.deleteListed(ctx, isGone)
	if err != nil {
		return nil, err
	}
	more, err := f.front.deleteListed(ctx, isGone)
	if err != nil && !errors.Is(err, ErrUnavailable) {
		return nil, err
	}
	return append(left, more...), nil
}

// origin is that of the entry, wherever it is.
func (f *fronted) origin(ctx context.Context, key string) (string, error) {
	if isToken(key) {
		if entry, err := f.front.Get(ctx, key); err == nil {
			return entry.Origin, nil
		}
	}
	return f.store.origin(ctx, key)
}

func (f *fronted) askFront(ctx context.Context, key string) (works, has bool) {
	_, err := f.front.Get(ctx, key)
	works = isToken(key) && (err == nil || errors.Is(err, ErrNotFound))
	return works, works && (err == nil || errors.Is(err, ErrUnusable))
}

func (f *fronted) behind() Store { return f.store }
