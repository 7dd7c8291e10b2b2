package cache

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

func TestRenew(t *testing.T) {
	refresh := refreshAt(keyring.Entry{IssuedAt: start, ExpiresAt: start.Add(time.Hour)},
		"machine")
	broken := errors.New("the store is broken")
	tests := []struct {
		name   string
		now    time.Time
		force  bool
		world  func(*world)
		mints  int
		stored string
		err    error
	}{
		{name: "a fresh token stays", now: refresh.Add(-1), stored: "kept"},
		{name: "a fresh token goes by force", now: start, force: true, mints: 1,
			stored: "minted-1"},
		{name: "a token in its refresh window is replaced", now: refresh, mints: 1,
			stored: "minted-1"},
		{name: "an absent one is requested", now: start, mints: 1, stored: "minted-1",
			world: func(w *world) { clear(w.store.entries) }},
		{name: "a mint that fails is an error though the token is still good", now: refresh,
			mints: 1, stored: "kept", err: errMint,
			world: func(w *world) { w.mintErr = errMint }},
		{name: "a token that cannot be kept is an error", now: refresh, mints: 1,
			stored: "kept", err: broken,
			world: func(w *world) { w.store.setErr = broken }},
		{name: "a store that cannot be read is an error", now: refresh, stored: "kept",
			err: broken, world: func(w *world) { w.store.getErr = broken }},
		{name: "one that another process has just replaced stays", now: refresh,
			stored: "another's", world: func(w *world) {
				w.store.afterGet = func() {
					w.keepToken("another's", refresh, refresh.Add(time.Hour))
				}
			}},
		{name: "also by force", now: start, force: true, stored: "another's",
			world: func(w *world) {
				w.store.afterGet = func() {
					w.keepToken("another's", start, start.Add(time.Hour))
				}
			}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.keep(start, start.Add(time.Hour))
			w.set(tt.now)
			if tt.world != nil {
				tt.world(w)
			}
			err := w.cache(1).Renew(t.Context(), tt.force)
			if !errors.Is(err, tt.err) || (err == nil) != (tt.err == nil) {
				t.Errorf("got %v, want %v", err, tt.err)
			}
			if got := w.store.entries["token:k"].Token; w.mints != tt.mints ||
				got != secret.New(tt.stored) {
				t.Errorf("%d mints, and %q is stored", w.mints, got.Reveal())
			}
		})
	}
}

// TestRenewWaitsForAMintAndTakesItsToken has a client's get be at it already.
func TestRenewWaitsForAMintAndTakesItsToken(t *testing.T) {
	w := newWorld(t)
	within, goOn := make(chan struct{}), make(chan struct{})
	w.during = func() { close(within); <-goOn }
	var wait sync.WaitGroup
	wait.Go(func() { w.get(1) })
	<-within
	wait.Go(func() {
		if err := w.cache(2).Renew(t.Context(), false); err != nil {
			t.Error(err)
		}
	})
	time.Sleep(20 * time.Millisecond) // the lock is asked for, or about to be
	close(goOn)
	wait.Wait()
	if w.mints != 1 {
		t.Errorf("%d mints", w.mints)
	}
}

// TestAFailedRenewalStopsNobody who asks right after it.
func TestAFailedRenewalStopsNobody(t *testing.T) {
	w := newWorld(t)
	w.mintErr = errMint
	c := w.cache(-1)
	if err := c.Renew(t.Context(), false); !errors.Is(err, errMint) {
		t.Errorf("got %v", err)
	}
	w.mintErr = nil
	w.advance(time.Millisecond)
	person := w.cache(0)
	person.Interactive = true
	if answer, err := person.Get(t.Context()); err != nil || answer.Token.Empty() {
		t.Errorf("got %v", err)
	}
}

// TestWhatMintsRememberIsAWarning is about Remember.
func TestWhatMintsRememberIsAWarning(t *testing.T) {
	w := newWorld(t)
	c := w.cache(1)
	c.Mint = w.mint
	w.during = func() { c.Remember(errOther) }
	if err := c.Renew(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if _, problem := Warning(w.dir, "token:k", c.Kinds, w.clock()); !errors.Is(problem, errOther) {
		t.Errorf("the warning is %v", problem)
	}
}
