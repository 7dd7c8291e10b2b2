package keyring

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
)

// frontPrefix begins the description of every key that is kept in front of a store.
const frontPrefix = service + "-front:"

// fronted is a store with the kernel keyring in front of it, for tokens alone: who asks for one
// that is there wakes neither a daemon nor a TPM. The front holds no more than it has room for and
// loses all of it with a restart, so whatever fails there leaves it to the store, and is not worth
// a word.
// What it gives back has passed the checks that the store's own entries pass.
type fronted struct {
	*store
	front *store
	// isOnly says that a token goes to the front alone where that takes it: a sealed one would
	// cost two rounds with the TPM, and lives an hour.
	isOnly bool
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
	sys := behind.sys
	sys.Interactive = false
	items := kernelItems{sys: sys, uid: os.Geteuid(), prefix: prefix, isFront: true}
	return &fronted{store: behind, front: items.store(), isOnly: behind.kind == Sealed}
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
	if err == nil {
		_ = f.front.put(ctx, key, entry)
	}
	return entry, err
}

// Set replaces the entry in both. One that the front does not take must not leave an older one
// there.
func (f *fronted) Set(ctx context.Context, key string, entry Entry) error {
	if !isToken(key) {
		return f.store.Set(ctx, key, entry)
	}
	if f.front.Set(ctx, key, entry) != nil {
		_ = f.front.Delete(ctx, key)
		return f.store.Set(ctx, key, entry)
	}
	if f.isOnly {
		return f.store.Delete(ctx, key)
	}
	return f.store.Set(ctx, key, entry)
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
	more, _ := f.front.Keys(ctx)
	keys = append(keys, more...)
	slices.Sort(keys)
	return slices.Compact(keys), nil
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

func (f *fronted) behind() Store { return f.store }
