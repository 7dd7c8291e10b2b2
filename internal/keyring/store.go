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
	tpm   string // what seals, see System
	// lifetime asks for how long it keeps things, see Lifetime; nil: the kind tells.
	lifetime func(context.Context) string
	passed   []error // why other stores were not chosen
	late     error   // says in the place of ErrTimeout who has not answered; nil: the keyring
	// isImmediate says that its items wait for nobody, and need no limit.
	isImmediate bool
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
	if isNeeded(key) && s.late == nil && !s.sys.Interactive && errors.Is(err, ErrTimeout) &&
		ctx.Err() == nil {
		return bounded(ctx, s.sys.longest(), read)
	}
	return entry, err
}

// isNeeded reports whether nothing else will do: a token can be minted without the store, but not
// without the bootstrap credential. A crowd can keep a store busy for longer than one call takes.
func isNeeded(key string) bool { return strings.HasPrefix(key, bootstrapPrefix) }

func (s *store) Set(ctx context.Context, key string, entry Entry) error {
	entry.Origin = s.sys.Origin
	return s.put(ctx, key, entry)
}

// put is Set for an entry that has its origin.
func (s *store) put(ctx context.Context, key string, entry Entry) error {
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
	return valid(keys), err
}

// valid are the keys among the names of items, each once and sorted.
func valid(names []string) []string {
	keys := slices.DeleteFunc(names, func(name string) bool { return !validKey(name) })
	slices.Sort(keys)
	return slices.Compact(keys)
}

// isListed reports whether Keys leaves out nothing. What a platform cannot list itself, a list tells
// that may lack a name.
func (s *store) isListed() bool {
	_, isIndexed := s.items.items.(indexed)
	return !isIndexed
}

// origin is that of the entry under key; where a platform can tell it from the entry's outside, the
// entry itself need not be readable.
func (s *store) origin(ctx context.Context, key string) (string, error) {
	if outside, ok := s.items.items.(interface {
		origin(name string) (string, error)
	}); ok {
		return outside.origin(key)
	}
	entry, err := s.Get(ctx, key)
	return entry.Origin, err
}

// OriginOf is the Origin of the entry under key.
func OriginOf(ctx context.Context, store Store, key string) (string, error) {
	if s, ok := store.(interface {
		origin(ctx context.Context, key string) (string, error)
	}); ok {
		return s.origin(ctx, key)
	}
	entry, err := store.Get(ctx, key)
	return entry.Origin, err
}

func (s *store) probe(ctx context.Context) error {
	if s.check == nil {
		return nil
	}
	return s.bounded(ctx, s.check)
}

func (s *store) passedOver(reasons []error) { s.passed = append(s.passed, reasons...) }

// Passed is why Open has chosen no store before this one.
func Passed(store Store) []error {
	if s, ok := store.(interface{ reasons() []error }); ok {
		return s.reasons()
	}
	return nil
}

func (s *store) reasons() []error { return s.passed }

// TPMOf is where the TPM is that a store seals with; empty: it uses none.
func TPMOf(store Store) string {
	if s, ok := store.(interface{ sealer() string }); ok {
		return s.sealer()
	}
	return ""
}

func (s *store) sealer() string { return s.tpm }

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
	if s.isImmediate {
		return call(ctx)
	}
	defer s.sys.noticing()()
	value, err := bounded(ctx, s.sys.longest(), call)
	if err == ErrTimeout && s.late != nil { // bounded's own
		err = s.late
	}
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
