package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

// TestBoundaries puts the clock a nanosecond to each side of every change.
func TestBoundaries(t *testing.T) {
	entry := keyring.Entry{Token: secret.New("kept"), IssuedAt: start,
		ExpiresAt: start.Add(time.Hour)}
	refresh, end := refreshAt(entry, "machine"), hardExpiry(entry)
	tests := []struct {
		name    string
		now     time.Time
		token   string
		expires time.Time
	}{
		{"a new token is fresh", start, "kept", refresh},
		{"just before the refresh window it is fresh", refresh.Add(-1), "kept", refresh},
		{"in the refresh window it is replaced", refresh, "minted-1",
			refresh.Add(time.Hour)},
		{"just before its end it is replaced", end.Add(-1), "minted-1", time.Time{}},
		{"at its end it is replaced", end, "minted-1", time.Time{}},
		{"long after it is replaced", end.Add(24 * time.Hour), "minted-1", time.Time{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.keep(entry.IssuedAt, entry.ExpiresAt)
			w.set(tt.now)
			answer := w.get(1)
			if answer.Token.Reveal() != tt.token {
				t.Errorf("got %q, want %q", answer.Token.Reveal(), tt.token)
			}
			if tt.token == "kept" && !answer.Expires.Equal(tt.expires) {
				t.Errorf("expires %v, want %v", answer.Expires, tt.expires)
			}
			if answer.Expires.Nanosecond() != 0 || !answer.Expires.After(tt.now) {
				t.Errorf("expires %v", answer.Expires)
			}
		})
	}
}

// TestATokenIsNotUsedInItsLastSeconds: it would die on its way to the server.
func TestATokenIsNotUsedInItsLastSeconds(t *testing.T) {
	tests := []struct {
		name string
		life time.Duration
		end  time.Duration // before the true expiry
	}{
		{"five seconds of an hour", time.Hour, 5 * time.Second},
		{"five seconds of ten minutes", 10 * time.Minute, 5 * time.Second},
		{"a twentieth of a very short life", 20 * time.Second, time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.keep(start, start.Add(tt.life))
			w.mintErr = errMint
			w.set(start.Add(tt.life - tt.end - 1))
			w.want(1, "kept", 1, 0)
			w.advance(1)
			if answer, err := w.cache(2).Get(t.Context()); !errors.Is(err, errMint) {
				t.Errorf("got %q, %v", answer.Token.Reveal(), err)
			}
		})
	}
}

func TestStaleTokensWhenMintingFails(t *testing.T) {
	entry := keyring.Entry{IssuedAt: start, ExpiresAt: start.Add(time.Hour)}
	end := hardExpiry(entry)
	tests := []struct {
		name    string
		now     time.Time
		good    bool
		expires time.Time
	}{
		{"in the refresh window the old token is used a little longer", refreshAt(entry,
			"machine"),
			true, refreshAt(entry, "machine").Add(staleRetry)},
		{"just before its end it is used to its end", end.Add(-1), true, end},
		{"at its end there is none", end, false, time.Time{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.keep(entry.IssuedAt, entry.ExpiresAt)
			w.set(tt.now)
			w.mintErr = errMint
			answer, err := w.cache(1).Get(t.Context())
			if tt.good != (err == nil) || err != nil && !errors.Is(err, errMint) {
				t.Fatalf("error %v", err)
			}
			if tt.good && (answer.Token.Reveal() != "kept" ||
				!answer.Expires.Equal(tt.expires)) {
				t.Errorf("got %q until %v, want %v", answer.Token.Reveal(),
					answer.Expires,
					tt.expires)
			}
		})
	}
}

// TestAFailingRefreshIsTriedOnlyNowAndThen matters when a server hangs: a good token must not wait
// for it each time.
func TestAFailingRefreshIsTriedOnlyNowAndThen(t *testing.T) {
	w := newWorld(t)
	w.keep(start, start.Add(time.Hour))
	w.set(start.Add(56 * time.Minute))
	w.mintErr = errMint
	for caller := range 20 {
		w.want(caller+1, "kept", 1, 0)
		w.advance(time.Second)
	}
	w.advance(refreshPause)
	w.want(99, "kept", 2, 0)
	w.mintErr = nil
	w.advance(refreshPause)
	w.want(99, "minted-3", 3, 0)
}

func TestJitter(t *testing.T) {
	entry := keyring.Entry{IssuedAt: start, ExpiresAt: start.Add(time.Hour)}
	times := map[time.Time]bool{}
	for i := range 100 {
		machine := fmt.Sprint("machine-", i)
		at := refreshAt(entry, machine)
		if !at.Equal(refreshAt(entry, machine)) {
			t.Error("it is not always the same for a machine")
		}
		if early := entry.ExpiresAt.Sub(at); early < 5*time.Minute ||
			early > 7*time.Minute+31*time.Second {
			t.Errorf("%v early", early)
		}
		times[at] = true
	}
	if len(times) < 50 {
		t.Errorf("only %d times for 100 machines", len(times))
	}
	for _, life := range []time.Duration{time.Nanosecond, time.Second, 10 * time.Second,
		10 * time.Minute, 24 * time.Hour} {
		e := keyring.Entry{IssuedAt: start, ExpiresAt: start.Add(life)}
		if at := refreshAt(e, "m"); at.After(hardExpiry(e)) {
			t.Errorf("a token of %v turns stale %v after its end", life,
				at.Sub(hardExpiry(e)))
		}
	}
}

func TestClocksThatJump(t *testing.T) {
	tests := []struct {
		name  string
		jump  time.Duration
		err   error
		token string
	}{
		{name: "an hour back, the times say nothing and the token is replaced",
			jump:  -time.Hour,
			token: "minted-1"},
		{name: "an hour back and the server is down, the token is used", jump: -time.Hour,
			err: errMint, token: "kept"},
		{name: "five seconds back mean nothing", jump: -5 * time.Second, token: "kept"},
		{name: "six seconds back are a jump", jump: -6 * time.Second, token: "minted-1"},
		{name: "an hour ahead, the token has expired", jump: time.Hour, token: "minted-1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.keep(start, start.Add(time.Hour))
			w.mintErr = tt.err
			w.advance(tt.jump)
			if got := w.get(1).Token.Reveal(); got != tt.token {
				t.Errorf("got %q, want %q", got, tt.token)
			}
			w.mintErr = nil
			w.advance(refreshPause)
			if w.get(2); w.mints > 2 {
				t.Errorf("%d mints", w.mints)
			}
		})
	}
}

func TestAHitReadsTheStoreOnceAndAsksNobody(t *testing.T) {
	w := newWorld(t)
	w.keep(start, start.Add(time.Hour))
	w.want(1, "kept", 0, 0)
	if w.store.gets != 1 {
		t.Errorf("%d reads", w.store.gets)
	}
	if _, err := os.Stat(w.cache(1).lock().flock.Path()); err == nil {
		t.Error("it created a lock")
	}
}

func TestStoresThatFail(t *testing.T) {
	tests := []struct {
		name           string
		getErr, setErr error
		mintErr        error
		warnings       int
		mints          int // of two calls
	}{
		{name: "a store that cannot be read costs a warning", getErr: keyring.ErrLocked,
			warnings: 2, mints: 2},
		{name: "a store that cannot be written costs a warning", setErr: keyring.ErrQuota,
			warnings: 2, mints: 2},
		{name: "when minting fails too there is one error and no warning",
			getErr: keyring.ErrTimeout, mintErr: errMint, mints: 2},
		{name: "a store that works costs nothing", mints: 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.store.getErr, w.store.setErr, w.mintErr = tt.getErr, tt.setErr, tt.mintErr
			for caller := range 2 {
				_, err := w.cache(caller + 1).Get(t.Context())
				if !errors.Is(err, tt.mintErr) {
					t.Errorf("error %v", err)
				}
			}
			if len(w.warnings) != tt.warnings || w.mints != tt.mints {
				t.Errorf("%d warnings, %d mints: %v", len(w.warnings), w.mints,
					w.warnings)
			}
		})
	}
}

// TestCrowd is fifty processes in one; each has a cache and a lock of its own. TestProcesses has
// real ones.
func TestCrowd(t *testing.T) {
	tests := []struct {
		name  string
		err   error
		mints int
	}{
		{"all get the one token that was minted", nil, 1},
		{"all get the one error there was", errMint, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.mintErr = tt.err
			const crowd = 50
			var arrived sync.WaitGroup
			arrived.Add(crowd)
			w.during = arrived.Wait // nobody comes too late
			var done sync.WaitGroup
			for caller := range crowd {
				done.Go(func() {
					c := w.cache(caller + 1)
					read := c.Store
					c.Store = &announcing{Store: read, once: arrived.Done}
					answer, err := c.Get(t.Context())
					if !errors.Is(err, tt.err) || err == nil &&
						answer.Token.Reveal() != "minted-1" {
						t.Errorf("%q, %v", answer.Token.Reveal(), err)
					}
				})
			}
			done.Wait()
			if w.mints != tt.mints {
				t.Errorf("%d mints", w.mints)
			}
		})
	}
}

// announcing calls once when it is read for the first time.
type announcing struct {
	keyring.Store
	once func()
}

func (a *announcing) Get(ctx context.Context, key string) (keyring.Entry, error) {
	if a.once != nil {
		defer a.once()
		a.once = nil
	}
	return a.Store.Get(ctx, key)
}

func TestTheLockIsHeldElsewhere(t *testing.T) {
	hold := func(t *testing.T, w *world) *fileLock {
		lock := w.cache(1).lock()
		if !lock.tryExclusive() {
			t.Fatal("the lock is not free")
		}
		t.Cleanup(lock.release)
		return lock
	}
	t.Run("a stale token is answered at once", func(t *testing.T) {
		w := newWorld(t)
		w.keep(start, start.Add(time.Hour))
		w.set(start.Add(56 * time.Minute))
		hold(t, w)
		w.want(2, "kept", 0, 0)
	})
	t.Run("a holder that hangs is given up, once for all", func(t *testing.T) {
		w := newWorld(t)
		hold(t, w)
		var done sync.WaitGroup
		for caller := range 10 {
			done.Go(func() {
				c := w.cache(caller + 2)
				c.Wait = time.Second
				if answer, err := c.Get(t.Context()); err != nil ||
					answer.Token.Reveal() != "minted-1" {
					t.Errorf("%q, %v", answer.Token.Reveal(), err)
				}
			})
		}
		done.Wait()
		if w.mints != 1 {
			t.Errorf("%d mints", w.mints)
		}
		w.advance(time.Hour)
		w.want(99, "minted-2", 2, 0) // and nobody waits for it again
	})
	t.Run("a holder that has the token is waited for", func(t *testing.T) {
		w := newWorld(t)
		lock := hold(t, w)
		c := w.cache(2)
		c.Debug = func(message string, _ ...any) {
			if message == "read the store" && w.store.gets == 1 {
				time.AfterFunc(50*time.Millisecond, func() {
					_ = w.store.Set(context.Background(), "token:k",
						keyring.Entry{Token: secret.New("theirs"),
							IssuedAt:  start,
							ExpiresAt: start.Add(time.Hour)})
					lock.release()
				})
			}
		}
		if answer, err := c.Get(t.Context()); err != nil ||
			answer.Token.Reveal() != "theirs" ||
			w.mints != 0 {
			t.Errorf("%q, %v, %d mints", answer.Token.Reveal(), err, w.mints)
		}
	})
	t.Run("who is told to stop stops waiting, and mints nothing", func(t *testing.T) {
		w := newWorld(t)
		hold(t, w)
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, cancel)
		if _, err := w.cache(2).Get(ctx); !errors.Is(err, context.Canceled) ||
			w.mints != 0 {
			t.Errorf("error %v, %d mints", err, w.mints)
		}
	})
	t.Run("without a store nobody waits", func(t *testing.T) {
		w := newWorld(t)
		hold(t, w)
		w.store.kind = keyring.None
		w.want(2, "minted-1", 1, 0)
	})
}

// TestALockThatIsHeldAnewIsNotTakenAway has two wait for a holder that hangs. The one that comes
// late finds the lock of a holder that does not.
func TestALockThatIsHeldAnewIsNotTakenAway(t *testing.T) {
	w := newWorld(t)
	locks := make([]*fileLock, 5)
	for i := range locks {
		locks[i] = w.cache(i).lock()
		defer locks[i].release()
	}
	hanging, early, late, next, last := locks[0], locks[1], locks[2], locks[3], locks[4]
	if !hanging.tryExclusive() {
		t.Fatal("the lock is not free")
	}
	for _, waiter := range []*fileLock{early, late} {
		if freed, err := waiter.awaitHolder(t.Context(), time.Millisecond); freed ||
			err != nil {
			t.Fatalf("freed %v, %v", freed, err)
		}
	}
	if !early.abandonHolder() || !next.tryExclusive() {
		t.Fatal("the lock of a holder that hangs is not taken away")
	}
	if !late.abandonHolder() {
		t.Error("who comes late does not see that there is another lock")
	}
	if last.tryExclusive() {
		t.Error("the new holder's lock was taken away")
	}
}

func TestDirsThatAreNoUse(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, dir := range map[string]string{"no directory": "",
		"a directory that does not exist": "/nonexistent/directory", "a file": file} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.dir = dir
			w.want(1, "minted-1", 1, 0)
			w.want(1, "minted-1", 1, 0)
			w.want(2, "minted-1", 1, 0)
		})
	}
}

func TestAFailureIsRemembered(t *testing.T) {
	w := newWorld(t)
	w.mintErr = errMint
	fail := func(caller, mints int) error {
		t.Helper()
		_, err := w.cache(caller).Get(t.Context())
		if !errors.Is(err, errMint) || errors.Is(err, errOther) || w.mints != mints {
			t.Errorf("caller %d: error %v, %d mints, want %d", caller, err, w.mints,
				mints)
		}
		return err
	}
	first := fail(1, 1)
	for range 5 {
		w.advance(500 * time.Millisecond)
		if again := fail(1, 1); again.Error() != first.Error() {
			t.Errorf("%q became %q", first, again)
		}
	}
	fail(2, 2) // another process tries for itself, and its failure is now the last one
	w.advance(1)
	fail(1, 3)
	w.advance(5*time.Second - 1)
	fail(1, 3)
	w.advance(1)
	fail(1, 4)
	w.advance(1)
	c := w.cache(1)
	c.Interactive = true
	if _, err := c.Get(t.Context()); !errors.Is(err, errMint) || w.mints != 5 {
		t.Errorf("by hand: %v, %d mints", err, w.mints)
	}
	w.mintErr = nil
	w.advance(1)
	w.want(2, "minted-6", 6, 0)
}

// slowStore lets its callers wait.
type slowStore struct {
	keyring.Store
	wait func()
}

func (s slowStore) Get(ctx context.Context, key string) (keyring.Entry, error) {
	s.wait()
	return s.Store.Get(ctx, key)
}

// TestAStoreThatHangsIsWaitedForOnceACommand: kubectl asks up to six times.
func TestAStoreThatHangsIsWaitedForOnceACommand(t *testing.T) {
	tests := []struct {
		name string
		err  error
		took time.Duration
		gets int // of six calls
	}{
		{"it does not answer", keyring.ErrTimeout, 3 * time.Second, 1},
		{"a person has dismissed its prompt", keyring.ErrLocked, 4 * time.Second, 1},
		{"it is locked, and says so at once", keyring.ErrLocked, 0, 6},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.store.getErr, w.mintErr = tt.err, tt.err
			for range 6 {
				c := w.cache(1)
				c.Kinds, c.Store = []error{tt.err}, slowStore{w.store,
					func() { w.advance(tt.took) }}
				if _, err := c.Get(t.Context()); !errors.Is(err, tt.err) {
					t.Errorf("error %v", err)
				}
				w.advance(100 * time.Millisecond)
			}
			if w.store.gets != tt.gets {
				t.Errorf("the store was read %d times", w.store.gets)
			}
			w.store.getErr, w.mintErr = nil, nil
			w.get(2) // another process
			w.advance(failureHolds)
			w.get(1)
		})
	}
}

// TestAGoodTokenIsAnsweredThoughTheBootstrapCredentialCannotBeRead, also when its client asks
// again.
func TestAGoodTokenIsAnsweredThoughTheBootstrapCredentialCannotBeRead(t *testing.T) {
	w := newWorld(t)
	w.keep(start, start.Add(time.Hour))
	w.set(start.Add(56 * time.Minute))
	w.mintErr, w.during = keyring.ErrTimeout, func() { w.advance(3 * time.Second) }
	for range 3 {
		if token := w.get(1).Token.Reveal(); token != "kept" {
			t.Errorf("got %q", token)
		}
	}
}

func TestAStaleTokenIsReplacedByRefresh(t *testing.T) {
	w := newWorld(t)
	w.keep(start, start.Add(time.Hour))
	for _, tt := range []struct {
		at    time.Duration
		token string
	}{{56 * time.Minute, "kept"}, {61 * time.Minute, "minted-1"}} {
		w.set(start.Add(tt.at))
		c := w.cache(1)
		c.Refresh = func(context.Context) (keyring.Entry, error) {
			return keyring.Entry{},
				errMint
		}
		if answer, err := c.Get(t.Context()); err != nil ||
			answer.Token.Reveal() != tt.token {
			t.Errorf("after %v: %q, %v", tt.at, answer.Token.Reveal(), err)
		}
	}
}

func TestWhatIsNotRemembered(t *testing.T) {
	t.Run("a mint that was cancelled", func(t *testing.T) {
		w := newWorld(t)
		ctx, cancel := context.WithCancel(t.Context())
		w.during, w.mintErr = cancel, context.Canceled
		if _, err := w.cache(1).Get(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v", err)
		}
		w.during, w.mintErr = nil, nil
		w.want(1, "minted-2", 2, 0)
	})
	t.Run("the failure of one process, by those that waited for it", func(t *testing.T) {
		w := newWorld(t)
		w.mintErr = errMint
		for _, caller := range []int{1, 2} {
			c := w.cache(caller)
			c.IsShared = func(error) bool { return false }
			_, _ = c.Get(t.Context())
		}
		calls := openCallLog(w.dir, wayName("token:k", ""), w.cache(1).Kinds)
		defer calls.close()
		if err, failed := calls.failure(Caller{PID: 3}, w.clock(), start); failed {
			t.Errorf("shared: %v", err)
		}
	})
	t.Run("a failure of the future, from before the clock was set back", func(t *testing.T) {
		w := newWorld(t)
		w.mintErr = errMint
		w.advance(time.Hour)
		_, _ = w.cache(1).Get(t.Context())
		w.mintErr = nil
		w.set(start)
		w.want(1, "minted-2", 2, 0)
	})
	t.Run("a failure on another way", func(t *testing.T) {
		w := newWorld(t)
		w.mintErr = errMint
		forged := w.cache(1)
		forged.Way = "a proxy that hangs"
		_, _ = forged.Get(t.Context())
		for way, shared := range map[string]bool{"a proxy that hangs": true, "": false} {
			calls := openCallLog(w.dir, wayName("token:k", way), w.cache(1).Kinds)
			if _, failed := calls.failure(Caller{PID: 3}, w.clock(),
				start); failed != shared {
				t.Errorf("on %q: %v", way, failed)
			}
			calls.close()
		}
	})
	t.Run("a failure before another process's success", func(t *testing.T) {
		w := newWorld(t)
		w.store.getErr, w.mintErr = keyring.ErrLocked, errMint
		_, _ = w.cache(1).Get(t.Context())
		w.mintErr = nil
		w.want(2, "minted-2", 2, 0)
		w.want(1, "minted-3", 3, 0)
	})
	t.Run("the end of a long error", func(t *testing.T) {
		w := newWorld(t)
		w.mintErr = errors.New(strings.Repeat("ä", failureSize))
		for range 2 {
			_, _ = w.cache(1).Get(t.Context())
		}
		if _, err := w.cache(1).Get(t.Context()); err == nil || w.mints != 1 ||
			len(err.Error()) > maxText+len("…") || !strings.HasSuffix(err.Error(),
			"ä…") {
			t.Errorf("%d mints, %v", w.mints, err)
		}
	})
	t.Run("an error too long for its place", func(t *testing.T) {
		w := newWorld(t)
		w.mintErr = errors.New(string(make([]byte, failureSize)))
		_, _ = w.cache(1).Get(t.Context())
		w.mintErr = nil
		w.want(1, "minted-2", 2, 0)
	})
}

func TestAMissReadsTheStoreOnceWhenNobodyElseStores(t *testing.T) {
	w := newWorld(t)
	w.want(1, "minted-1", 1, 0)
	if w.store.gets != 1 {
		t.Errorf("the store was read %d times", w.store.gets)
	}
}

func TestATokenStoredBetweenTheLookAndTheLockIsUsed(t *testing.T) {
	w := newWorld(t)
	w.store.afterGet = func() { w.get(2) }
	w.want(1, "minted-1", 1, 0)
}

// TestALockOfAnotherWayIsNotWaitedFor: a forged profile may mint the same token by way of a proxy
// that never answers.
func TestALockOfAnotherWayIsNotWaitedFor(t *testing.T) {
	w := newWorld(t)
	release := Hold(w.dir, "token:k", "a proxy that hangs")
	defer release()
	honest := w.cache(1)
	honest.Wait = time.Hour
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	answer, err := honest.Get(ctx)
	if err != nil || answer.Token.Reveal() != "minted-1" {
		t.Errorf("%v, %d mints", err, w.mints)
	}
	// two locks, one of which was never opened for calls
	if got := len(Files(w.dir, "token:k")); got != 3 {
		t.Errorf("%d files are found: %q", got, Files(w.dir, "token:k"))
	}
	if got := Files(w.dir, "token:other"); len(got) > 0 {
		t.Errorf("for another key: %q", got)
	}
}
