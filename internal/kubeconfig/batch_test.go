package kubeconfig

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/yamledit"
)

func TestBatchMergesAllEntriesButTheOneWhoseNameIsTaken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	const taken = "apiVersion: v1\nkind: Config\ncontexts:\n- name: profile-7\n  context: " +
		"{cluster: a, user: b}\n"
	if err := os.WriteFile(path, []byte(taken), 0o600); err != nil {
		t.Fatal(err)
	}
	const callers = 40
	batch := NewBatch([]string{path}, callers)
	errs := make([]error, callers)
	var wait sync.WaitGroup
	for i := range callers {
		wait.Go(func() {
			entry := numberedEntry(i)
			merged, err := batch.Merge(&entry)
			files, readErr := merged.Files()
			errs[i] = errors.Join(err, readErr)
			if err == nil {
				_, err = files.Resolve(entry.ContextName)
				errs[i] = err
			}
		})
	}
	wait.Wait()
	for i, err := range errs {
		if i == 7 && !errors.Is(err, ErrForeign) || i != 7 && err != nil {
			t.Errorf("caller %d: %v", i, err)
		}
	}
	uses, err := FindPluginContexts([]string{path})
	if err != nil || len(uses) != callers-1 {
		t.Errorf("%d contexts of ours (%v), want %d", len(uses), err, callers-1)
	}
}

func numberedEntry(i int) Entry {
	name := fmt.Sprintf("profile-%d", i)
	return Entry{ContextName: name, ClusterName: name + "-c", UserName: name + "-u",
		Server:    "https://example.com",
		Namespace: "build", Profile: name, Command: "/usr/bin/sa-exec-credential"}
}

// TestBatchWritesFewTimes: each time the file is written, as many entries wait as were written
// before, however many callers come at the same time.
func TestBatchWritesFewTimes(t *testing.T) {
	for callers, most := range map[int]int{fewest: 1, 8 * fewest: 4, 16 * fewest: 5} {
		path := filepath.Join(t.TempDir(), "config")
		batch := NewBatch([]string{path}, callers)
		writes := map[*Files]bool{}
		var mutex sync.Mutex
		var wait sync.WaitGroup
		for i := range callers {
			wait.Go(func() {
				entry := numberedEntry(i)
				merged, err := batch.Merge(&entry)
				if err != nil {
					t.Error(err)
				}
				files, err := merged.Files()
				if err != nil {
					t.Error(err)
				}
				mutex.Lock()
				defer mutex.Unlock()
				writes[files] = true
			})
		}
		wait.Wait()
		if len(writes) > most {
			t.Errorf("%d callers: written %d times, want %d at most", callers,
				len(writes), most)
		}
	}
}

func TestBatchWaitsForNobodyWhoHasLeft(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	batch := NewBatch([]string{path}, 3)
	done := make(chan error)
	go func() {
		entry := numberedEntry(1)
		_, err := batch.Merge(&entry)
		done <- err
	}()
	batch.Leave()
	batch.Leave()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestBatchChecksAllAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config")
	entries := []Entry{numberedEntry(1), numberedEntry(2)}
	batch := NewBatch([]string{path}, 2)
	batch.Check(entries)
	// what is checked stays so; anything else is looked at as it is now
	if err := os.WriteFile(path, []byte("nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := batch.CanMerge(entries[0]); err != nil {
		t.Error(err)
	}
	other := entries[1]
	other.Server = "https://elsewhere.example"
	if err := batch.CanMerge(other); !errors.Is(err, yamledit.ErrMalformed) {
		t.Errorf("another entry: %v", err)
	}
}

func TestBatchWaitsLongerWhereWritesTakeLong(t *testing.T) {
	for took, want := range map[time.Duration]time.Duration{0: 2 * time.Second,
		200 * time.Millisecond: 2 * time.Second, time.Second: 10 * time.Second} {
		if got := (&Batch{took: took}).patience(); got != want {
			t.Errorf("after a write of %s: %s, not %s", took, got, want)
		}
	}
}

// TestBatchTakesNoMoreForAnEntryOfMany counts what is allocated, which no other program changes:
// looking at all items for each entry would show.
func TestBatchTakesNoMoreForAnEntryOfMany(t *testing.T) {
	few, many := allocatedForAnEntry(t, 100), allocatedForAnEntry(t, 800)
	if many > few*115/100 {
		t.Errorf("%d bytes for each of 800 entries, and %d for each of 100", many, few)
	}
}

func allocatedForAnEntry(t *testing.T, count int) uint64 {
	entries := make([]Entry, count)
	for i := range entries {
		entries[i] = numberedEntry(i)
	}
	batch := NewBatch([]string{filepath.Join(t.TempDir(), "config")}, count)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	batch.Check(entries)
	runtime.ReadMemStats(&after)
	if batch.checked == nil {
		t.Error("the entries were not checked")
	}
	return (after.TotalAlloc - before.TotalAlloc) / uint64(count)
}
