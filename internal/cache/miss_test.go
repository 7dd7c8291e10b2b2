package cache

import (
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
)

// TestMiss is one caller, for whom a test may have prepared something. Whatever it leaves to Get is
// still to be done, as if it had not been tried.
func TestMiss(t *testing.T) {
	kept := func(w *world) { w.keep(start, start.Add(time.Hour)) }
	for name, test := range map[string]struct {
		prepare func(*world)
		token   string // empty: it is left to Get
		mints   int
	}{
		"nothing is kept": {func(*world) {}, "minted-1", 1},
		"what is kept is stale": {func(w *world) { kept(w); w.advance(58 * time.Minute) },
			"minted-1", 1},
		"somebody else has just minted": {kept, "kept", 0},
		"somebody else mints": {func(w *world) {
			lock := w.cache(9).lock()
			lock.tryExclusive()
			w.t.Cleanup(lock.release)
		}, "", 0},
		"a mint has failed": {func(w *world) {
			w.mintErr = errMint
			_, _ = w.cache(9).Get(w.t.Context())
			w.mints = 0
		}, "", 0},
		"the mint fails":              {func(w *world) { w.mintErr = errMint }, "", 1},
		"the store cannot be read":    {func(w *world) { w.store.getErr = keyring.ErrLocked }, "", 0},
		"the store cannot be written": {func(w *world) { w.store.setErr = keyring.ErrQuota }, "", 1},
		"the client repeats itself":   {func(w *world) { kept(w); w.get(1) }, "", 0},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			test.prepare(w)
			answer, found := w.cache(1).Miss(t.Context())
			if answer.Token.Reveal() != test.token || found != (test.token != "") ||
				w.mints != test.mints {
				t.Errorf("got %q, %v after %d mints", answer.Token.Reveal(), found, w.mints)
			}
			if len(w.warnings) > 0 {
				t.Errorf("it warns: %v", w.warnings)
			}
		})
	}
}

// TestAMissThatFailsLeavesNothing for the Get that comes after it.
func TestAMissThatFailsLeavesNothing(t *testing.T) {
	w := newWorld(t)
	w.mintErr = errMint
	w.cache(1).Miss(t.Context())
	if at, problem := Warning(w.dir, "token:k", nil, w.clock()); problem != nil {
		t.Errorf("a warning at %v: %v", at, problem)
	}
	w.mintErr = nil
	w.want(1, "minted-2", 2, 0)
}
