package files

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
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
	t.Run("one that is tried once", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), ".p.lock")
		release, err := Lock(Once, path)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Lock(Once, path); !errors.Is(err, ErrBusy) {
			t.Errorf("while it is held: %v", err)
		}
		release()
	})
	t.Run("a directory that is missing is an error of the system's", func(t *testing.T) {
		if _, err := Lock(t.Context(), filepath.Join(t.TempDir(), "none",
			"l")); err == nil ||
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

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

func TestGuard(t *testing.T) {
	t.Run("removes what a Replace left that was killed, and nothing else", func(t *testing.T) {
		dir := t.TempDir()
		for _, name := range []string{"a.yaml", ".a.yaml.1234.tmp", ".ab.yaml.1234.tmp",
			".a.yaml.1234.bak", "b.tmp"} {
			if err := os.WriteFile(filepath.Join(dir, name), nil,
				PrivateFile); err != nil {
				t.Fatal(err)
			}
		}
		release, err := Guard(t.Context(), filepath.Join(dir, "a.yaml"))
		if err != nil {
			t.Fatal(err)
		}
		release()
		want := []string{".a.yaml.1234.bak", ".ab.yaml.1234.tmp", "a.yaml", "b.tmp"}
		if got := names(t, dir); !slices.Equal(got, want) {
			t.Errorf("there are %q, want %q", got, want)
		}
	})
	t.Run("is for one at a time", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "a.yaml")
		release, err := Guard(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		defer release()
		ctx, cancel := context.WithTimeout(t.Context(), 3*lockPoll)
		defer cancel()
		if _, err := Guard(ctx, path); !errors.Is(err, ErrBusy) {
			t.Errorf("error %v", err)
		}
	})
}

func TestSweep(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{".killed.yaml.lock", ".killed.yaml.1234.tmp", "killed.yaml",
		"other.lock", ".lock"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, PrivateFile); err != nil {
			t.Fatal(err)
		}
	}
	release, err := Guard(t.Context(), filepath.Join(dir, "held.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	Sweep(dir)
	want := []string{".held.yaml.lock", ".lock", "killed.yaml", "other.lock"}
	if got := names(t, dir); !slices.Equal(got, want) {
		t.Errorf("there are %q, want %q", got, want)
	}
	release()
	Sweep(filepath.Join(dir, "none"))
}
