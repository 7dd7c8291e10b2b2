package yamledit

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestALockOfKubectlIsRespected(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.lock")
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0)
	if err != nil {
		t.Fatal(err)
	}
	_ = file.Close()
	if _, err := acquire(path, 50*time.Millisecond); !errors.Is(err, ErrLocked) || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v", err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if _, err := acquire(path, time.Minute); !errors.Is(err, ErrLocked) || time.Since(start) > 10*time.Second {
		t.Errorf("a lock that was left behind: %v after %v", err, time.Since(start))
	}
	go func() {
		time.Sleep(100 * time.Millisecond)
		_ = os.Remove(path)
	}()
	if err := os.Chtimes(path, time.Now(), time.Now()); err != nil {
		t.Fatal(err)
	}
	l, err := acquire(path, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0); !errors.Is(err, fs.ErrExist) {
		t.Errorf("kubectl would not see our lock: %v", err)
	}
	l.release()
	onlyFiles(t, filepath.Dir(path))
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
		write(t, name, "")
		if err := os.Link(name, strings.Replace(name, "config", "Config", 1)); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Link(lower, other); err != nil {
		t.Fatal(err)
	}
	resolved, err := ResolveAll([]string{upper, lower, other})
	if err != nil || !reflect.DeepEqual(resolved, []string{upper, other}) {
		t.Errorf("%q, %v", resolved, err)
	}
	release, err := LockAll([]string{upper, lower}, nil)
	if err != nil {
		t.Fatal(err)
	}
	release()
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func onlyFiles(t *testing.T, folder string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]bool{}
	for _, entry := range entries {
		found[entry.Name()] = true
	}
	want := map[string]bool{}
	for _, name := range names {
		want[name] = true
	}
	if !reflect.DeepEqual(found, want) {
		t.Errorf("in the folder: %v, want %v", found, want)
	}
}
