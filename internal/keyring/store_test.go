package keyring

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// failing are items that cannot be read, and that count how often somebody tried.
type failing struct {
	*memory
	tries  atomic.Int32
	err    error  // nil: it hangs
	cancel func() // called while it hangs
}

func (f *failing) read(ctx context.Context, _ string) ([]byte, error) {
	f.tries.Add(1)
	if f.cancel != nil {
		f.cancel()
	}
	if f.err == nil {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return nil, f.err
}

// hangs is the limit of a store that hangs: time enough on a busy machine for it to be asked.
const hangs = 200 * time.Millisecond

func TestAStoreIsGivenUpOnce(t *testing.T) {
	key := "token:" + strings.Repeat("0", 64)
	tests := []struct {
		name        string
		err         error
		interactive bool
		tries       int32 // of three calls
	}{
		{"one that hangs", nil, false, 1},
		{"a prompt that nobody answers", nil, true, 1},
		{"a prompt that is dismissed", ErrLocked, true, 1},
		{"one that is locked, with nobody to ask", ErrLocked, false, 3},
		{"one that is not there", ErrUnavailable, true, 3},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			items := &failing{memory: &memory{}, err: tt.err}
			limit, want := time.Hour, tt.err
			if want == nil {
				limit, want = hangs, ErrTimeout
			}
			s := &store{items: parted{items: items},
				sys: System{Interactive: tt.interactive,
					Limits: Limits{Call: limit, Prompt: limit}}}
			for range 3 {
				if _, err := s.Get(t.Context(), key); !errors.Is(err, want) {
					t.Errorf("error %v, want %v", err, want)
				}
			}
			if tries := items.tries.Load(); tries != tt.tries {
				t.Errorf("%d tries, want %d", tries, tt.tries)
			}
		})
	}
	t.Run("but for what nothing else will do for", func(t *testing.T) {
		items := &failing{memory: &memory{}}
		s := &store{items: parted{items: items},
			sys: System{Limits: Limits{Call: hangs}}}
		for _, key := range []string{key, "bootstrap:" + strings.Repeat("0", 64), key} {
			if _, err := s.Get(t.Context(), key); !errors.Is(err, ErrTimeout) {
				t.Errorf("error %v", err)
			}
		}
		if tries := items.tries.Load(); tries != 2 {
			t.Errorf("%d tries, want one of each", tries)
		}
	})
	t.Run("not by a caller who gives up", func(t *testing.T) {
		items := &failing{memory: &memory{}}
		s := &store{items: parted{items: items},
			sys: System{Limits: Limits{Call: time.Hour}}}
		for range 2 {
			ctx, cancel := context.WithCancel(t.Context())
			items.cancel = cancel
			_, _ = s.Get(ctx, key)
		}
		if tries := items.tries.Load(); tries != 2 {
			t.Errorf("%d tries", tries)
		}
	})
}

func TestLimitsByDefault(t *testing.T) {
	if got, want := (System{}).withDefaults().Limits, (Limits{Call: 3 * time.Second,
		Prompt: time.Minute, Notice: 3 * time.Second}); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	for interactive, want := range map[bool]time.Duration{false: 3 * time.Second,
		true: time.Minute} {
		if got := (System{Interactive: interactive}).withDefaults().longest(); got != want {
			t.Errorf("interactive %v: %v", interactive, got)
		}
	}
}

func TestAnEntryKeepsTheOriginOfItsStore(t *testing.T) {
	kept := &keptItems{}
	for _, origin := range []string{"one", ""} {
		s := &store{sys: System{Origin: origin}.withDefaults(), items: parted{items: kept}}
		entry := liveEntry("t")
		entry.Origin = "another"
		if err := s.Set(t.Context(), testKey, entry); err != nil {
			t.Fatal(err)
		}
		if got, err := s.Get(t.Context(), testKey); err != nil || got.Origin != origin {
			t.Errorf("stored by %q, got that of %q, %v", origin, got.Origin, err)
		}
	}
}

// keptItems is a platform that holds one item.
type keptItems struct {
	items
	value []byte
}

func (k *keptItems) read(context.Context, string) ([]byte, error) { return k.value, nil }

func (k *keptItems) write(_ context.Context, _ string, value []byte, _ time.Time) error {
	k.value = value
	return nil
}

// waiting are items that take as long as somebody has not been told.
type waiting struct {
	*memory
	told chan struct{}
}

func (w waiting) read(ctx context.Context, name string) ([]byte, error) {
	select {
	case <-w.told:
		return nil, ErrNotFound
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func TestASlowStoreIsSaidToBeAndWaitedFor(t *testing.T) {
	items := waiting{&memory{}, make(chan struct{})}
	s := &store{items: parted{items: items}, sys: System{Slow: func() { close(items.told) },
		Limits: Limits{Call: time.Hour, Notice: time.Millisecond}}}
	if _, err := s.Get(t.Context(), "token:"+strings.Repeat("0", 64)); !errors.Is(err,
		ErrNotFound) {
		t.Error(err)
	}
}
