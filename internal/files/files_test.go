//go:build unix

package files

import (
	"crypto/rand"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/files/filestest"
)

func TestReplace(t *testing.T) {
	tests := []struct {
		name string
		old  fs.FileMode // 0: no file
		mode fs.FileMode
		want fs.FileMode
	}{
		{name: "a new file is private", want: 0o600},
		{name: "a new file gets the mode asked for", mode: 0o644, want: 0o644},
		{name: "an existing file keeps its mode", old: 0o640, want: 0o640},
		{name: "an existing file gets the mode asked for", old: 0o644, mode: 0o600,
			want: 0o600},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f")
			if tt.old != 0 {
				write(t, path, "old", tt.old)
			}
			if err := Replace(path, []byte("new"), tt.mode); err != nil {
				t.Fatal(err)
			}
			got, err := os.ReadFile(path)
			if err != nil || string(got) != "new" {
				t.Errorf("read %q, %v", got, err)
			}
			if info, _ := os.Stat(path); info.Mode().Perm() != tt.want {
				t.Errorf("mode %v, want %v", info.Mode().Perm(), tt.want)
			}
			onlyFile(t, path)
		})
	}
}

func TestReplaceRefusesALink(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	write(t, target, "old", 0o600)
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	if err := Replace(link, []byte("new"), 0); !errors.Is(err, ErrUntrusted) {
		t.Errorf("error %v", err)
	}
	if got, _ := os.ReadFile(target); string(got) != "old" {
		t.Errorf("the target is now %q", got)
	}
}

func TestReplaceLeavesNothingWhenItFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := Replace(path, []byte("new"), 0); err == nil {
		t.Fatal("a directory was replaced")
	}
	onlyFile(t, path)
}

func TestReadTrusted(t *testing.T) {
	tests := []struct {
		name string
		mode fs.FileMode
		size int64
		err  bool
		kind error
	}{
		{name: "a private file is read", mode: 0o600, size: 100},
		{name: "a file that others can read is read", mode: 0o644, size: 100},
		{name: "a file that the group can write is refused", mode: 0o660, size: 100,
			err:  true,
			kind: ErrUntrusted},
		{name: "a file that others can write is refused", mode: 0o606, size: 100, err: true,
			kind: ErrUntrusted},
		{name: "a file of just the limit is read", mode: 0o600, size: 4},
		{name: "a longer file is refused", mode: 0o600, size: 3, err: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "f")
			write(t, path, "text", tt.mode)
			got, err := ReadTrusted(path, tt.size)
			if (err != nil) != tt.err || tt.kind != nil && !errors.Is(err, tt.kind) {
				t.Fatalf("error %v", err)
			}
			if !tt.err && string(got) != "text" {
				t.Errorf("read %q", got)
			}
		})
	}
}

func TestReadTrustedRefusesWhatIsNoRegularFile(t *testing.T) {
	dir := t.TempDir()
	target, link := filepath.Join(dir, "target"), filepath.Join(dir, "link")
	write(t, target, "text", 0o600)
	if err := os.Symlink(target, link); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{link, dir, "/dev/null"} {
		if _, err := ReadTrusted(path, 10); !errors.Is(err, ErrUntrusted) {
			t.Errorf("%s: error %v", path, err)
		}
	}
}

func TestDirs(t *testing.T) {
	base := t.TempDir()
	path := filepath.Join(base, "a")
	if err := CreatePrivateDir(filepath.Join(path, "b")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("two levels at once: %v", err)
	}
	if err := CreatePrivateDir(path); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		mode    fs.FileMode
		trusted bool
	}{{0o700, true}, {0o755, true}, {0o775, false}, {0o777, false}} {
		if err := os.Chmod(path, test.mode); err != nil {
			t.Fatal(err)
		}
		for name, err := range map[string]error{"checked": CheckDir(path),
			"to be private": CreatePrivateDir(path)} {
			if trusted := err == nil; trusted != test.trusted || err != nil &&
				!errors.Is(err, ErrUntrusted) {
				t.Errorf("%s, mode %04o: %v", name, test.mode, err)
			}
		}
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != test.mode {
			t.Errorf("the mode was changed from %04o: %v, %v", test.mode, info.Mode(),
				err)
		}
	}
}

func TestNothingIsCreatedWhereEverybodyCanWrite(t *testing.T) {
	for mode, wanted := range map[fs.FileMode]bool{0o777: false, 0o777 | fs.ModeSticky: false,
		0o770: true} {
		base := t.TempDir()
		if err := os.Chmod(base, mode); err != nil {
			t.Fatal(err)
		}
		err := CreatePrivateDir(filepath.Join(base, "d"))
		if created := err == nil; created != wanted || err != nil && !errors.Is(err,
			ErrUntrusted) {
			t.Errorf("in one of mode %v: %v", mode, err)
		}
	}
}

func TestCreateBelow(t *testing.T) {
	home := t.TempDir()
	for range 2 {
		if err := CreateBelow(home, "Library", "Caches"); err != nil {
			t.Fatal(err)
		}
	}
	if info, err := os.Stat(filepath.Join(home, "Library", "Caches")); err != nil ||
		!info.IsDir() {
		t.Errorf("%v, %v", info, err)
	}
	if err := CreateBelow(filepath.Join(home, "none"), "d"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("below one that does not exist: %v", err)
	}
}

// TestWhatBelongsToAnotherUserIsRefused gives everything away in turn, which only root can.
func TestWhatBelongsToAnotherUserIsRefused(t *testing.T) {
	checkLink := func(path string) error { return CheckDir(path + "-link") }
	read := func(path string) error { _, err := ReadTrusted(path, 10); return err }
	tests := []struct {
		name  string
		given string // what is given away, after the path
		check func(path string) error
	}{
		{"a directory", "", CheckDir},
		{"a link to a directory of one's own", "-link", checkLink},
		{"the directory that a link leads to", "", checkLink},
		{"a directory that is to be private", "", CreatePrivateDir},
		{"the directory that one is to be created in", "", func(path string) error {
			return CreatePrivateDir(filepath.Join(path, rand.Text()))
		}},
		{"a file", "/f", func(path string) error { return read(path + "/f") }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "d")
			if err := os.Mkdir(path, 0o700); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(path, "f"), "text", 0o600)
			if err := os.Symlink(path, path+"-link"); err != nil {
				t.Fatal(err)
			}
			if err := tt.check(path); err != nil {
				t.Errorf("one's own: %v", err)
			}
			if os.Geteuid() != 0 {
				return
			}
			if err := os.Lchown(path+tt.given, filestest.Nobody, -1); err != nil {
				t.Fatal(err)
			}
			if err := tt.check(path); !errors.Is(err, ErrUntrusted) {
				t.Errorf("another's: %v", err)
			}
		})
	}
}

// TestWhatBelongsToRootIsTrusted: it could have written everything else as well.
func TestWhatBelongsToRootIsTrusted(t *testing.T) {
	if err := CheckDir("/"); err != nil {
		t.Error(err)
	}
}

func TestAFileIsNoPrivateDirectory(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	write(t, path, "text", 0o600)
	for name, err := range map[string]error{"created": CreatePrivateDir(path),
		"checked": CheckDir(path)} {
		if !errors.Is(err, ErrUntrusted) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("the file is now %v, %v", info, err)
	}
}

func TestReadMounted(t *testing.T) {
	dir := t.TempDir()
	file, link := filepath.Join(dir, "f"), filepath.Join(dir, "link")
	write(t, file, "text", 0o666)
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, path string
		limit      int64
		want       string // empty: an error
	}{
		{"a file is read through a link", link, 4, "text"},
		{"a longer file is refused", link, 3, ""},
		{"a device is refused", "/dev/null", 10, ""},
		{"a directory is refused", dir, 10, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := ReadMounted(tt.path, tt.limit)
			if string(got) != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("read %q, %v", got, err)
			}
		})
	}
}

func write(t *testing.T, path, text string, mode fs.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func onlyFile(t *testing.T, path string) {
	t.Helper()
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		t.Fatal(err)
	}
	if len(entries) != 1 {
		t.Errorf("left beside the file: %v", entries)
	}
}
