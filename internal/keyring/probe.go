package keyring

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

// ErrNotKept is a store that takes an entry and does not give it back.
var ErrNotKept = errors.New("it does not give back what was put in")

// Probe writes, reads and deletes an entry under a key of its own: only that tells whether a store
// keeps secrets. Its error is the first one: a store that takes nothing does not delete either,
// mostly for the same reason. A store that keeps nothing on purpose passes.
func Probe(ctx context.Context, store Store, now time.Time) (err error) {
	if store.Kind() == None {
		return nil
	}
	store = Behind(store) // a front would keep it
	// no profile's, and no two probes share it; tokens may be kept elsewhere
	key := bootstrapPrefix + "probe-" + rand.Text()
	defer func() { err = cmp.Or(err, store.Delete(context.WithoutCancel(ctx), key)) }()
	probe := Entry{Token: secret.New(rand.Text()), IssuedAt: now,
		ExpiresAt: now.Add(time.Minute)}
	if err := store.Set(ctx, key, probe); err != nil {
		return err
	}
	kept, err := store.Get(ctx, key)
	if err != nil {
		return err
	}
	if kept.Token != probe.Token {
		return fmt.Errorf("%w: %w", ErrUnavailable, ErrNotKept)
	}
	return nil
}

// Behind is a store without what is in front of it.
func Behind(store Store) Store {
	if f, ok := store.(interface{ behind() Store }); ok {
		return f.behind()
	}
	return store
}

// AskFront asks what is in front of a store whether it can keep tokens, and whether it has something
// under the key. The store itself is not asked. One that wraps another has Unwrap.
func AskFront(ctx context.Context, store Store, key string) (works, has bool) {
	if wrapper, ok := store.(interface{ Unwrap() Store }); ok {
		store = wrapper.Unwrap()
	}
	f, ok := store.(interface {
		askFront(ctx context.Context, key string) (works, has bool)
	})
	if !ok {
		return false, false
	}
	return f.askFront(ctx, key)
}

// Lifetime says for how long a store keeps what it is given, where that is not until it is
// deleted.
func Lifetime(ctx context.Context, store Store) string {
	if s, ok := store.(interface {
		ends(ctx context.Context) string
	}); ok {
		return s.ends(ctx)
	}
	return ""
}

func (s *store) ends(ctx context.Context) string {
	switch {
	case s.kind == Kernel:
		return "until this machine restarts"
	case s.lifetime != nil:
		return s.lifetime(ctx)
	}
	return ""
}

// Describe is a store's description with its lifetime.
func Describe(ctx context.Context, store Store) string {
	if store.Kind() == None {
		return store.Description()
	}
	if lifetime := Lifetime(ctx, store); lifetime != "" {
		return store.Description() + ", " + lifetime
	}
	return store.Description() + ", also after a restart"
}
