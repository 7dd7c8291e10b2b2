package cache

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
)

func (w *world) warned() (at time.Time, problem error) {
	return Warning(w.dir, "token:k", []error{errOther, keyring.ErrQuota}, w.clock())
}

func TestAWarningIsRememberedUntilACallWithoutIt(t *testing.T) {
	w := newWorld(t)
	w.get(1)
	if _, problem := w.warned(); problem != nil {
		t.Errorf("warned of %v", problem)
	}
	w.store.entries = map[string]keyring.Entry{}
	w.store.setErr = fmt.Errorf("%w: full", keyring.ErrQuota)
	w.cacheWith(1, func(c *Cache) { c.Kinds = []error{errOther, keyring.ErrQuota} })
	at, problem := w.warned()
	if !errors.Is(problem, keyring.ErrQuota) || errors.Is(problem, errOther) ||
		problem.Error() != "token not cached: "+w.store.setErr.Error() ||
		!at.Equal(w.clock()) {
		t.Errorf("warned of %v, at %v", problem, at)
	}
	w.store.setErr = nil
	w.get(2)
	if _, problem := w.warned(); problem != nil {
		t.Errorf("warned still: %v", problem)
	}
}

func (w *world) cacheWith(caller int, change func(*Cache)) {
	w.t.Helper()
	c := w.cache(caller)
	change(c)
	if _, err := c.Get(w.t.Context()); err != nil {
		w.t.Fatal(err)
	}
}

func TestAHitForgetsAWarning(t *testing.T) {
	w := newWorld(t)
	w.store.setErr = keyring.ErrQuota
	w.get(1)
	w.keep(start, start.Add(time.Hour))
	w.get(1)
	if _, problem := w.warned(); problem != nil || w.mints != 1 {
		t.Errorf("%v after %d mints", problem, w.mints)
	}
}

func TestACallThatFailsLeavesTheWarningOfTheLastOne(t *testing.T) {
	w := newWorld(t)
	w.store.setErr = keyring.ErrQuota
	w.get(1)
	w.mintErr = errMint
	if _, err := w.cache(1).Get(t.Context()); err == nil {
		t.Fatal("answered")
	}
	if _, problem := w.warned(); problem == nil {
		t.Error("forgotten")
	}
}

func TestAWarningGetsTooOld(t *testing.T) {
	w := newWorld(t)
	w.store.setErr = keyring.ErrQuota
	w.get(1)
	w.advance(warningHolds - time.Second)
	if _, problem := w.warned(); problem == nil {
		t.Error("forgotten too early")
	}
	w.advance(time.Second)
	if _, problem := w.warned(); problem != nil {
		t.Errorf("warned still: %v", problem)
	}
	w.set(start.Add(-time.Minute))
	if _, problem := w.warned(); problem != nil {
		t.Errorf("warned of the future: %v", problem)
	}
}

func TestTheLastOfSeveralWaysWarns(t *testing.T) {
	w := newWorld(t)
	w.store.setErr = keyring.ErrQuota
	w.cacheWith(1, func(c *Cache) { c.Way = "proxy" })
	w.advance(time.Minute)
	w.store.setErr = keyring.ErrLocked
	w.get(1)
	at, problem := w.warned()
	if problem == nil || !strings.Contains(problem.Error(), keyring.ErrLocked.Error()) ||
		!at.Equal(w.clock()) {
		t.Errorf("warned of %v, at %v", problem, at)
	}
}

func TestAWarningIsBounded(t *testing.T) {
	w := newWorld(t)
	w.store.setErr = errors.New(strings.Repeat("ä", warningSize))
	w.get(1)
	if _, problem := w.warned(); problem == nil || len(problem.Error()) > maxText+len("…") {
		t.Errorf("warned of %v", problem)
	}
	if info, err := os.Stat(callsOf(w.dir)); err != nil ||
		info.Size() > warningOffset+warningSize {
		t.Errorf("%v, %v", info, err)
	}
}
