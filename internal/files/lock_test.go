package files

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

func TestLock(t *testing.T) {
	t.Run("one holder at a time, however many want it", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), ".p.lock")
		var holders, most atomic.Int32
		var wait sync.WaitGroup
		for range 40 {
			wait.Go(func() {
				release, err := Lock(t.Context(), path)
				if err != nil {
					t.Error(err)
					return
				}
				most.Store(max(most.Load(), holders.Add(1)))
				time.Sleep(time.Millisecond)
				holders.Add(-1)
				release()
			})
		}
		wait.Wait()
		if most.Load() != 1 {
			t.Errorf("up to %d held it at once", most.Load())
		}
		if _, err := os.Lstat(path); !os.IsNotExist(err) {
			t.Errorf("the file stays: %v", err)
		}
	})
	t.Run("one that is held is waited for, and then named", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), ".p.lock")
		release, err := Lock(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		ctx, cancel := context.WithTimeout(t.Context(), 3*lockPoll)
		defer cancel()
		if _, err := Lock(ctx, path); !errors.Is(err, ErrBusy) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("a directory that is missing is an error of the system's", func(t *testing.T) {
		if _, err := Lock(t.Context(), filepath.Join(t.TempDir(), "none", "l")); err == nil ||
			errors.Is(err, ErrBusy) {
			t.Errorf("error %v", err)
		}
	})
	t.Run("a file that a killed process left is taken over", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), ".p.lock")
		if err := os.WriteFile(path, nil, PrivateFile); err != nil {
			t.Fatal(err)
		}
		release, err := Lock(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		release()
	})
}
