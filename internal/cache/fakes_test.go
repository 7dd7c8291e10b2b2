package cache

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

var (
	start    = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	errMint  = errors.New("the server is down")
	errOther = errors.New("another kind")
)

// memory is a store that keeps entries in memory, and fails on demand.
type memory struct {
	mu             sync.Mutex
	entries        map[string]keyring.Entry
	gets           int
	getErr, setErr error
	afterGet       func() // called once, after the first Get
	kind           keyring.Kind
}

func newMemory() *memory {
	return &memory{entries: map[string]keyring.Entry{},
		kind: keyring.Keyring}
}

func (m *memory) Kind() keyring.Kind                     { return m.kind }
func (m *memory) Description() string                    { return "memory" }
func (m *memory) Delete(context.Context, string) error   { return nil }
func (m *memory) Keys(context.Context) ([]string, error) { return nil, nil }
func (m *memory) Get(_ context.Context, key string) (keyring.Entry, error) {
	m.mu.Lock()
	after := m.afterGet
	m.afterGet = nil
	if after != nil {
		defer after()
	}
	defer m.mu.Unlock()
	m.gets++
	entry, found := m.entries[key]
	switch {
	case m.getErr != nil:
		return keyring.Entry{}, m.getErr
	case !found:
		return keyring.Entry{}, keyring.ErrNotFound
	}
	return entry, nil
}

func (m *memory) Set(_ context.Context, key string, entry keyring.Entry) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.setErr == nil {
		m.entries[key] = entry
	}
	return m.setErr
}

// world is what the caches of several processes share: a store, a directory, a clock and an API
// server.
type world struct {
	t        *testing.T
	mu       sync.Mutex
	now      time.Time
	store    *memory
	dir      string
	mints    int
	checks   int
	life     time.Duration
	mintErr  error
	during   func() // called within a mint
	accepted func(token string) (bool, error)
	warnings []error
}

func newWorld(t *testing.T) *world {
	return &world{t: t, now: start, store: newMemory(), dir: t.TempDir(), life: time.Hour,
		accepted: func(string) (bool, error) { return true, nil }}
}

func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

func (w *world) set(now time.Time)              { w.mu.Lock(); w.now = now; w.mu.Unlock() }
func (w *world) advance(by time.Duration)       { w.set(w.clock().Add(by)) }
func (w *world) keep(issued, expires time.Time) { w.keepToken("kept", issued, expires) }
func (w *world) keepToken(token string, issued, expires time.Time) {
	w.store.entries["token:k"] = keyring.Entry{Token: secret.New(token), IssuedAt: issued,
		ExpiresAt: expires}
}

// cache is that of one process, called by caller.
func (w *world) cache(caller int) *Cache {
	return &Cache{Store: w.store, Key: "token:k", Machine: "machine", Dir: w.dir,
		Caller: Caller{PID: caller, Start: 1},
		Wait:   20 * time.Second, Now: w.clock, Mint: w.mint, Valid: w.check,
		IsShared: func(error) bool {
			return true
		},
		Kinds: []error{errOther, errMint}, Debug: func(string, ...any) {},
		Warn: func(err error) {
			w.mu.Lock()
			w.warnings = append(w.warnings,
				err)
			w.mu.Unlock()
		}}
}

func (w *world) mint(context.Context) (keyring.Entry, error) {
	w.mu.Lock()
	w.mints++
	number, err, now, during := w.mints, w.mintErr, w.now, w.during
	w.mu.Unlock()
	if during != nil {
		during()
	}
	if err != nil {
		return keyring.Entry{}, fmt.Errorf("minting: %w", err)
	}
	return keyring.Entry{Token: secret.New(fmt.Sprintf("minted-%d", number)), IssuedAt: now,
		ExpiresAt: now.Add(w.life)}, nil
}

func (w *world) check(_ context.Context, token secret.String) (bool, error) {
	w.mu.Lock()
	w.checks++
	w.mu.Unlock()
	return w.accepted(token.Reveal())
}

func (w *world) get(caller int) Answer {
	w.t.Helper()
	answer, err := w.cache(caller).Get(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	return answer
}

// want gets a token as caller and checks which it is, and how often the API server was asked so
// far.
func (w *world) want(caller int, token string, mints, checks int) Answer {
	w.t.Helper()
	answer := w.get(caller)
	if answer.Token.Reveal() != token || w.mints != mints || w.checks != checks {
		w.t.Errorf("got %q after %d mints and %d checks, want %q, %d, %d",
			answer.Token.Reveal(), w.mints, w.checks, token, mints, checks)
	}
	return answer
}

// filesOf are the lock and the record of calls of what tests keep, whether they exist or not.
func filesOf(dir string) []string {
	return []string{filepath.Join(dir, wayName("token:k", "")+lockExtension), callsOf(dir)}
}

// callsOf is the record of calls of what tests keep.
func callsOf(dir string) string {
	return filepath.Join(dir, wayName("token:k", "")+callsExtension)
}
