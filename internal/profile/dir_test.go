//go:build unix

package profile

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/files"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
)

func TestDir(t *testing.T) {
	dir := DirIn(t.TempDir())
	if names, err := dir.Names(); err != nil || names != nil {
		t.Errorf("before the first: %v, %v", names, err)
	}
	if _, err := dir.Load("a"); !errors.Is(err, ErrMissing) {
		t.Errorf("before the first: %v", err)
	}
	want := example(t)
	for _, name := range []string{"b", "a"} {
		want.Name = name
		if err := dir.Save(want); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := dir.Load("a"); err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v", got, err)
	}
	write(t, string(dir), ".c.yaml", "x", 0o600)
	write(t, string(dir), "d.json", "x", 0o600)
	if names, err := dir.Names(); err != nil || !slices.Equal(names, []string{"a", "b"}) {
		t.Errorf("names %v, %v", names, err)
	}
	for range 2 {
		if err := dir.Remove("a"); err != nil {
			t.Error(err)
		}
	}
	if _, err := dir.Load("a"); !errors.Is(err, ErrMissing) {
		t.Errorf("after removing: %v", err)
	}
}

func TestSaveIgnoresTheUmask(t *testing.T) {
	base := t.TempDir()
	defer syscall.Umask(syscall.Umask(0))
	dir := DirIn(base)
	p := example(t)
	if err := dir.Save(p); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{
		dir.path(p.Name): 0o600, string(dir): 0o700, filepath.Dir(string(dir)): 0o700} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
}

func TestNamesThatAreNoNames(t *testing.T) {
	dir := DirIn(t.TempDir())
	p := example(t)
	for _, name := range []string{"../x", "", ".", "a/b", "/etc/passwd"} {
		p.Name = name
		_, loadErr := dir.Load(name)
		for _, err := range []error{loadErr, dir.Save(p), dir.Remove(name)} {
			if !errors.Is(err, ErrName) {
				t.Errorf("%q: %v", name, err)
			}
		}
	}
}

func TestWhatOthersCouldHaveWrittenIsRefused(t *testing.T) {
	tests := []struct {
		name string
		do   func(t *testing.T, dir Dir)
		err  error // nil: it is read
	}{
		{name: "a private profile is read", do: func(*testing.T, Dir) {}},
		{name: "a profile that the group can write is refused", err: files.ErrUntrusted,
			do: func(t *testing.T, f Dir) { chmod(t, f.path("p"), 0o620) }},
		{name: "a profile that others can write is refused", err: files.ErrUntrusted,
			do: func(t *testing.T, f Dir) { chmod(t, f.path("p"), 0o602) }},
		{name: "a directory of profiles that others can write is refused",
			err: files.ErrUntrusted,
			do:  func(t *testing.T, f Dir) { chmod(t, string(f), 0o703) }},
		{name: "a directory above it that others can write is refused",
			err: files.ErrUntrusted,
			do: func(t *testing.T, f Dir) {
				chmod(t, filepath.Dir(string(f)),
					0o777)
			}},
		{name: "a linked profile is refused", err: files.ErrUntrusted,
			do: func(t *testing.T, f Dir) { moveAndLink(t, f.path("p")) }},
		{name: "a profile that is a directory is refused", err: files.ErrUntrusted,
			do: func(t *testing.T, f Dir) {
				remove(t, f.path("p"))
				if err := os.Mkdir(f.path("p"), 0o700); err != nil {
					t.Fatal(err)
				}
			}},
		{name: "a profile that is a pipe is refused and not waited for",
			err: files.ErrUntrusted,
			do: func(t *testing.T, f Dir) {
				remove(t, f.path("p"))
				if err := syscall.Mkfifo(f.path("p"), 0o600); err != nil {
					t.Fatal(err)
				}
			}},
		{name: "a linked directory of the user's own is read",
			do: func(t *testing.T, f Dir) { moveAndLink(t, string(f)) }},
		{name: "a link to a directory that others can write is refused",
			err: files.ErrUntrusted,
			do: func(t *testing.T, f Dir) {
				chmod(t, string(f), 0o777)
				moveAndLink(t, string(f))
			}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := DirIn(t.TempDir())
			p := example(t)
			p.Name = "p"
			if err := dir.Save(p); err != nil {
				t.Fatal(err)
			}
			tt.do(t, dir)
			if _, err := dir.Load("p"); !errors.Is(err, tt.err) {
				t.Errorf("error %v, want %v", err, tt.err)
			}
		})
	}
}

func TestALongProfileIsRefused(t *testing.T) {
	dir := DirIn(t.TempDir())
	if err := os.MkdirAll(string(dir), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, string(dir), "p.yaml", string(make([]byte, 1<<20+1)), 0o600)
	_, err := dir.Load("p")
	if !errors.Is(err, ErrMalformed) ||
		!strings.Contains(err.Error(), strconv.Quote(dir.path("p"))) {
		t.Errorf("got %v, want ErrMalformed with the path in quotes", err)
	}
}

// TestALongProfileIsNotWritten: nobody could read it again.
func TestALongProfileIsNotWritten(t *testing.T) {
	dir := DirIn(t.TempDir())
	p := Profile{Name: "p", Cluster: Cluster{Server: "https://k",
		CertificateAuthorityData: make(Base64, 1<<20)},
		Namespace: "build", ServiceAccount: "ci", Duration: Duration{time.Hour},
		Store:     keyring.None,
		Bootstrap: Bootstrap{Source: SourceInCluster}}
	if err := dir.Save(p); !errors.Is(err, ErrMalformed) {
		t.Errorf("got %v, want %v", err, ErrMalformed)
	}
	if names, err := dir.Names(); err != nil || len(names) > 0 {
		t.Errorf("there are the profiles %q, %v", names, err)
	}
}

func write(t *testing.T, dir, name, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

func chmod(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

// moveAndLink leaves a symbolic link at path to what was there.
func moveAndLink(t *testing.T, path string) {
	t.Helper()
	target := filepath.Join(t.TempDir(), "moved")
	if err := os.Rename(path, target); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, path); err != nil {
		t.Fatal(err)
	}
}
