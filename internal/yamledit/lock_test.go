package yamledit

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/files/filestest"
)

func TestALockOfKubectlIsRespected(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.lock")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0)
	if err != nil {
		t.Fatal(err)
	}
	_ = file.Close()
	if _, err := acquire(path, 50*time.Millisecond, time.Hour); !errors.Is(err, ErrLocked) ||
		!strings.Contains(err.Error(), path) {
		t.Errorf("error %v", err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if _, err := acquire(path, time.Minute, time.Hour); !errors.Is(err, ErrLocked) ||
		time.Since(start) > 10*time.Second {
		t.Errorf("a lock that was left behind: %v after %v", err, time.Since(start))
	}
	go func() {
		time.Sleep(100 * time.Millisecond)
		_ = os.Remove(path)
	}()
	if err := os.Chtimes(path, time.Now(), time.Now()); err != nil {
		t.Fatal(err)
	}
	l, err := acquire(path, time.Minute, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0); !errors.Is(err, fs.ErrExist) {
		t.Errorf("kubectl would not see our lock: %v", err)
	}
	l.release()
	filestest.Only(t, filepath.Dir(path))
}

// TestALockThatIsHeldIsWaitedFor: its holder lives, however long one of kubectl's would be waited
// for.
func TestALockThatIsHeldIsWaitedFor(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.lock")
	held, err := tryLock(path)
	if err != nil || held == nil {
		t.Fatal(held, err)
	}
	if _, err := acquire(path, 0, 0); !errors.Is(err, ErrLocked) {
		t.Errorf("in the end: error %v", err)
	}
	go func() {
		time.Sleep(3 * lockPoll)
		held.release()
	}()
	l, err := acquire(path, 0, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	l.release()
}

// Hard links stand for a file system that ignores case: there, too, one file is under both names.
func TestOneFileUnderNamesOfAnotherCaseIsOne(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	lower, upper := filepath.Join(dir, "config"), filepath.Join(dir, "Config")
	other := filepath.Join(dir, "other")
	for _, name := range []string{lower, lower + ".lock"} {
		filestest.Write(t, name, "")
		if err := os.Link(name, strings.Replace(name, "config", "Config", 1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(lower, other); err != nil {
		t.Fatal(err)
	}
	resolved, err := resolveAll([]string{upper, lower, other})
	if err != nil || !reflect.DeepEqual(resolved, []string{upper, other}) {
		t.Errorf("%q, %v", resolved, err)
	}
	release, err := lockAll([]string{upper, lower}, nil)
	if err != nil {
		t.Fatal(err)
	}
	release()
}

// A waiter can have opened the lock file that its holder is about to remove.
func TestOnlyOneHoldsALockWhoseFileIsRemovedAndCreatedAllTheTime(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.lock")
	var holders, taken atomic.Int32
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for taken.Load() < 500 {
				l, err := tryLock(path)
				if err != nil {
					t.Error(err)
					return
				}
				if l == nil {
					continue
				}
				if now := holders.Add(1); now != 1 {
					t.Errorf("%d holders", now)
				}
				runtime.Gosched()
				holders.Add(-1)
				taken.Add(1)
				l.release()
			}
		})
	}
	group.Wait()
	filestest.Only(t, filepath.Dir(path))
}

func TestFilesAreLockedInOneOrder(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
	a, b := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	for _, tt := range []struct {
		given []string
		want  []string
	}{
		{[]string{a, b}, []string{"a.lock", "b.lock"}},
		{[]string{b, a}, []string{"a.lock", "b.lock"}},
		{[]string{"b", a}, []string{"a.lock", "b.lock"}},
		{[]string{"B", a}, []string{"a.lock", "B.lock"}},
		{[]string{"b", "A"}, []string{"A.lock", "b.lock"}},
	} {
		var names []string
		for _, name := range lockNames(tt.given, nil) {
			names = append(names, filepath.Base(name))
		}
		if !reflect.DeepEqual(names, tt.want) {
			t.Errorf("%q: %q", tt.given, names)
		}
	}
}
