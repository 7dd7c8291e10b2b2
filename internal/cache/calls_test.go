package cache

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

func TestARepeatIsCheckedOnce(t *testing.T) {
	w := newWorld(t)
	w.keep(start, start.Add(time.Hour))
	w.want(1, "kept", 0, 0)
	w.want(1, "kept", 0, 1)
	for range 20 {
		w.advance(15*time.Second/20 - 1)
		w.want(1, "kept", 0, 1)
	}
	w.advance(20)
	w.want(1, "kept", 0, 2)
	w.want(2, "kept", 0, 2) // another process repeats nothing
}

func TestAClientThatComesBackWhenItWasToldRepeatsNothing(t *testing.T) {
	w := newWorld(t)
	w.keep(start, start.Add(time.Hour).Add(900*time.Millisecond))
	expires := w.want(1, "kept", 0, 0).Expires
	w.set(expires)
	w.mintErr = errMint
	expires = w.want(1, "kept", 1, 0).Expires
	w.set(expires)
	w.want(1, "kept", 1, 0)
}

func TestARefusedTokenIsReplaced(t *testing.T) {
	w := newWorld(t)
	w.keep(start, start.Add(time.Hour))
	w.accepted = func(token string) (bool, error) { return token != "kept", nil }
	w.want(1, "kept", 0, 0)
	w.want(1, "minted-1", 1, 1)
	w.want(1, "minted-1", 1, 1)
	w.want(2, "minted-1", 1, 1)
}

// TestTwoClientsWithTheSameRefusedToken get the one new token.
func TestTwoClientsWithTheSameRefusedToken(t *testing.T) {
	w := newWorld(t)
	w.keep(start, start.Add(time.Hour))
	w.accepted = func(token string) (bool, error) { return token != "kept", nil }
	w.want(1, "kept", 0, 0)
	w.want(2, "kept", 0, 0)
	w.want(1, "minted-1", 1, 1)
	w.want(2, "minted-1", 1, 1)
}

// TestANewerTokenOfAnotherProcess is stored between the check and the lock.
func TestANewerTokenOfAnotherProcess(t *testing.T) {
	w := newWorld(t)
	w.keep(start, start.Add(time.Hour))
	w.want(1, "kept", 0, 0)
	w.accepted = func(string) (bool, error) {
		w.keepToken("theirs", start, start.Add(time.Hour))
		return false, nil
	}
	w.want(1, "theirs", 0, 1)
}

func TestARefusedTokenThatCannotBeReplacedIsAnError(t *testing.T) {
	w := newWorld(t)
	w.keep(start, start.Add(time.Hour))
	w.accepted = func(string) (bool, error) { return false, nil }
	w.want(1, "kept", 0, 0)
	w.mintErr = errMint
	if _, err := w.cache(1).Get(t.Context()); !errors.Is(err, errMint) {
		t.Errorf("error %v", err)
	}
}

func TestACheckThatCannotBeMadeKeepsNothingFromTheClient(t *testing.T) {
	w := newWorld(t)
	w.keep(start, start.Add(time.Hour))
	w.accepted = func(string) (bool, error) { return false, errOther }
	w.want(1, "kept", 0, 0)
	w.want(1, "kept", 0, 1)
	w.want(1, "kept", 0, 1)
}

func TestACheckHasThreeSeconds(t *testing.T) {
	w := newWorld(t)
	w.keep(start, start.Add(time.Hour))
	w.want(1, "kept", 0, 0)
	c, asked := w.cache(1), false
	c.Valid = func(ctx context.Context, _ secret.String) (bool, error) {
		asked = true
		if deadline, bounded := ctx.Deadline(); !bounded ||
			time.Until(deadline) > 3*time.Second {
			t.Errorf("deadline %v, %v", deadline, bounded)
		}
		return true, nil
	}
	if _, err := c.Get(t.Context()); err != nil || !asked {
		t.Errorf("error %v, asked %v", err, asked)
	}
}

// TestWhatLoopsCost counts what the API server is asked in an hour in which shells run the plugin
// every second.
func TestWhatLoopsCost(t *testing.T) {
	// checks of a shell: a token that is revoked is noticed within five minutes
	const least = 12
	tests := []struct {
		name          string
		accepted      bool
		shells        int
		checks, mints int // at most
	}{
		{name: "one shell, a token that is good", accepted: true, shells: 1, checks: 20,
			mints: 1},
		{name: "three shells, a token that is good", accepted: true, shells: 3, checks: 60,
			mints: 1},
		// As with a token for other audiences than the API server's.
		{name: "one shell, a server that refuses every token", accepted: false, shells: 1,
			checks: 20, mints: 21},
		{name: "three shells, a server that refuses every token", accepted: false,
			shells: 3,
			checks: 60, mints: 61},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.life = 2 * time.Hour
			w.accepted = func(string) (bool, error) { return tt.accepted, nil }
			for range 3600 {
				for shell := range tt.shells {
					w.get(shell + 1)
				}
				w.advance(time.Second)
			}
			t.Logf("%d checks, %d mints", w.checks, w.mints)
			if w.checks < least*tt.shells || w.checks > tt.checks ||
				w.mints > tt.mints {
				t.Errorf("%d checks and %d mints, wanted are %d to %d, and at "+
					"most %d", w.checks,
					w.mints,
					least*tt.shells, tt.checks, tt.mints)
			}
		})
	}
}

func TestAfterALongSilenceARepeatIsCheckedAtOnce(t *testing.T) {
	w := newWorld(t)
	w.life = 24 * time.Hour
	w.keep(start, start.Add(24*time.Hour))
	for range 1000 {
		w.get(1)
		w.advance(time.Second)
	}
	w.advance(4 * longestQuiet)
	before := w.checks
	w.get(1)
	w.advance(quiet)
	w.get(1)
	if w.checks != before+2 {
		t.Errorf("%d checks", w.checks-before)
	}
}

func TestCallsAreForgottenWhenTheirFileIsOfNoUse(t *testing.T) {
	path := func(w *world) string { return callsOf(w.dir) }
	tests := []struct {
		name string
		do   func(t *testing.T, w *world)
	}{
		{"a file of zeros", func(t *testing.T, w *world) {
			put(t, path(w), make([]byte,
				20000))
		}},
		{"a short file", func(t *testing.T, w *world) { put(t, path(w), []byte("x")) }},
		{"a file of noise", func(t *testing.T, w *world) { put(t, path(w), noise(20000)) }},
		{"a record of which a part was written", func(t *testing.T, w *world) {
			data, err := os.ReadFile(path(w))
			if err != nil {
				t.Fatal(err)
			}
			data[offset(Caller{PID: 1, Start: 1}.hash())+9] ^= 1
			put(t, path(w), data)
		}},
		{"no file", func(t *testing.T, w *world) { _ = os.Remove(path(w)) }},
		{"a slot that another caller has taken", func(_ *testing.T, w *world) {
			for caller := 2; ; caller++ {
				other := Caller{PID: caller, Start: 1}
				if offset(other.hash()) == offset(Caller{PID: 1, Start: 1}.hash()) {
					w.get(caller)
					return
				}
			}
		}},
		{"a process of the same id that began later", func(_ *testing.T, w *world) {}},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t)
			w.keep(start, start.Add(time.Hour))
			w.want(1, "kept", 0, 0)
			tt.do(t, w)
			c := w.cache(1)
			if i == len(tests)-1 {
				c.Caller.Start++
			}
			if _, err := c.Get(t.Context()); err != nil || w.checks != 0 {
				t.Errorf("error %v, %d checks", err, w.checks)
			}
		})
	}
}

// TestLinksAreNotFollowed: the directory may be one that a kubeconfig has chosen.
func TestLinksAreNotFollowed(t *testing.T) {
	w := newWorld(t)
	victim := filepath.Join(t.TempDir(), "victim")
	put(t, victim, []byte("mine"))
	for _, file := range filesOf(w.dir) {
		if err := os.Symlink(victim, file); err != nil {
			t.Fatal(err)
		}
	}
	w.mintErr = errMint
	_, _ = w.cache(1).Get(t.Context())
	w.mintErr = nil
	w.get(1)
	if got, _ := os.ReadFile(victim); string(got) != "mine" {
		t.Errorf("the file that a link leads to is now %d bytes", len(got))
	}
}

func TestTheFileOfCallsHoldsNoToken(t *testing.T) {
	w := newWorld(t)
	w.get(1)
	w.get(1)
	data, err := os.ReadFile(callsOf(w.dir))
	if err != nil || len(data) == 0 || len(data) > warningOffset {
		t.Fatalf("%d bytes, %v", len(data), err)
	}
	for _, file := range Files(w.dir, "token:k") {
		if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, info, err)
		}
	}
}

func FuzzCalls(f *testing.F) {
	caller := Caller{PID: 1, Start: 1}
	f.Add(make([]byte, 2000))
	f.Add(record{caller: caller.hash(), token: 1, expires: 2, checked: 3, quiet: 4}.encode())
	f.Add(noise(failureSize))
	f.Fuzz(func(t *testing.T, data []byte) {
		if r, ok := decodeRecord(data); ok && string(r.encode()) != string(data) {
			t.Errorf("%+v is not %x", r, data)
		}
		_, _ = decodeFailure(data)
		dir := t.TempDir()
		put(t, callsOf(dir), data)
		_, _ = Warning(dir, "token:k", []error{errMint}, start)
		calls := openCallLog(dir, wayName("token:k", ""), []error{errMint})
		defer calls.close()
		_ = calls.isRepeat(caller, secret.New("t"), start)
		_, _ = calls.failure(caller, start, start)
		calls.rememberFailure(caller, start, errMint, true)
		calls.answered(caller, secret.New("t"), start.Add(time.Hour))
		calls.markValid(caller, secret.New("t"), start, true)
		if err, failed := calls.failure(caller, start, time.Time{}); !failed ||
			!errors.Is(err, errMint) {
			t.Errorf("after writing: %v", err)
		}
		if calls.isRepeat(caller, secret.New("t"), start) {
			t.Error("a repeat right after the check")
		}
	})
}

func put(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func noise(size int) []byte {
	b := make([]byte, size)
	for i, state := 0, uint32(1); i < size; i++ {
		state = state*1664525 + 1013904223
		b[i] = byte(state >> 24)
	}
	return b
}
