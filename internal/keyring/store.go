package keyring

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync/atomic"
)

// store is a Store over a platform's items.
type store struct {
	kind        Kind
	description string
	sys         System
	items       parted
	// check asks the platform whether it can keep a secret now; nil when there is nothing to
	// ask.
	check func(context.Context) error
	// gaveUp is why an earlier call was given up, nil when none was.
	gaveUp atomic.Pointer[error]
}

func (s *store) Kind() Kind          { return s.kind }
func (s *store) Description() string { return s.description }

func (s *store) Get(ctx context.Context, key string) (Entry, error) {
	if !validKey(key) {
		return Entry{}, notFound("it is no key of this program")
	}
	read := func(ctx context.Context) (Entry, error) {
		value, err := s.items.read(ctx, key)
		if err != nil {
			return Entry{}, err
		}
		return Decode(key, value)
	}
	entry, err := limited(ctx, s, read)
	if isNeeded(key) && !s.sys.Interactive && errors.Is(err, ErrTimeout) && ctx.Err() == nil {
		return bounded(ctx, s.sys.longest(), read)
	}
	return entry, err
}

// isNeeded reports whether nothing else will do: a token can be minted without the store, but not
// without the bootstrap credential. A crowd can keep a store busy for longer than one call takes.
func isNeeded(key string) bool { return strings.HasPrefix(key, bootstrapPrefix) }

func (s *store) Set(ctx context.Context, key string, entry Entry) error {
	entry.Origin = s.sys.Origin
	value, err := Encode(key, entry)
	if err != nil {
		return err
	}
	return s.bounded(ctx,
		func(ctx context.Context) error {
			return s.items.write(ctx, key, value,
				entry.ExpiresAt)
		})
}

func (s *store) Delete(ctx context.Context, key string) error {
	if !validKey(key) {
		return nil
	}
	return s.bounded(ctx, func(ctx context.Context) error { return s.items.remove(ctx, key) })
}

func (s *store) Keys(ctx context.Context) ([]string, error) {
	keys, err := limited(ctx, s, s.items.names)
	keys = slices.DeleteFunc(keys, func(key string) bool { return !validKey(key) })
	slices.Sort(keys)
	return slices.Compact(keys), err
}

func (s *store) probe(ctx context.Context) error {
	if s.check == nil {
		return nil
	}
	return s.bounded(ctx, s.check)
}

func (s *store) bounded(ctx context.Context, call func(context.Context) error) error {
	_, err := limited(ctx, s,
		func(ctx context.Context) (struct{}, error) { return struct{}{}, call(ctx) })
	return err
}

// limited is bounded by the store's own limit. A store that does not answer, or whose prompt nobody
// answers, is waited for once: the further calls of the process, a mint makes three, would wait as
// long and put the same question to the person.
func limited[T any](ctx context.Context, s *store,
	call func(context.Context) (T, error)) (T, error) {
	if problem := s.gaveUp.Load(); problem != nil {
		var none T
		return none, *problem
	}
	value, err := bounded(ctx, s.sys.longest(), call)
	refused := s.sys.Interactive && errors.Is(err, ErrLocked)
	if ctx.Err() == nil && (refused || errors.Is(err, ErrTimeout)) {
		s.gaveUp.Store(&err)
	}
	return value, err
}

// none is the store that keeps nothing.
type none struct{}

func (none) Kind() Kind          { return None }
func (none) Description() string { return "none" }
func (none) Get(context.Context, string) (Entry, error) {
	return Entry{}, notFound("nothing is kept")
}
func (none) Set(context.Context, string, Entry) error { return nil }
func (none) Delete(context.Context, string) error     { return nil }
func (none) Keys(context.Context) ([]string, error)   { return nil, nil }
