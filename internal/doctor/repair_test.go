//go:build unix

package doctor

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/files"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

func TestModesAreSetOfWhatIsOurs(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for path, mode := range map[string]os.FileMode{dir: 0o777, file: 0o666} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	if err := modes(withoutOthers, dir, file)(t.Context()); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]os.FileMode{dir: 0o700, file: 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", path, info.Mode(), err)
		}
	}
	link := filepath.Join(dir, "link") // whoever could write to the directory can have left one
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	if err := modes(privateDir, link)(t.Context()); !errors.Is(err, files.ErrUntrusted) {
		t.Errorf("of a link: %v", err)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("what it leads to: %v, %v", info.Mode(), err)
	}
	if os.Geteuid() != 0 {
		return
	}
	if err := os.Chown(file, 1, 1); err != nil {
		t.Fatal(err)
	}
	if err := modes(private, file)(t.Context()); !errors.Is(err, files.ErrUntrusted) ||
		isOwn(file) {
		t.Errorf("of another user's: %v", err)
	}
}

// TestFixing is about what is said and done, and in which order.
func TestFixing(t *testing.T) {
	var said, done []string
	step := func(what string, err error) Finding {
		return warn("check", what, "wrong").with(func(context.Context) error {
			done = append(done, what)
			return err
		})
	}
	failing := step("rm b", errors.New("it is held"))
	careful := step("chmod d", nil)
	careful.repair.careful = true
	items := []Finding{
		step("rm a", nil),
		failing,
		step("rm a", nil),
		warn("check", "rm c", "far"),
		careful,
	}
	report := func(kind ui.Kind, text string) { said = append(said, string(kind)+": "+text) }
	for _, test := range []struct {
		name string
		ask  func(string) (bool, error)
		done []string
		says []string
	}{
		{"without asking", nil, []string{"rm a", "rm b"}, []string{"warning: wrong; fix: rm a",
			"warning: wrong; fix: rm b",
			"warning: wrong; nobody has looked at it, so it stays; once you have: chmod d",
			"done: fixed by rm a", "warning: not fixed: it is held; by hand: rm b"}},
		{"agreed to", func(q string) (bool, error) { return q == "Do these 3?", nil },
			[]string{"rm a", "rm b", "chmod d"}, []string{"warning: wrong; fix: rm a",
				"warning: wrong; fix: rm b", "warning: wrong; fix: chmod d",
				"done: fixed by rm a", "warning: not fixed: it is held; by hand: rm b",
				"done: fixed by chmod d"}},
		{"not agreed to", func(string) (bool, error) { return false, nil }, nil, []string{
			"warning: wrong; fix: rm a", "warning: wrong; fix: rm b",
			"warning: wrong; fix: chmod d"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			said, done = nil, nil
			count, err := Fixing{Ask: test.ask, Report: report}.Fix(t.Context(), items)
			if err != nil ||
				count != strings.Count(strings.Join(test.says, "\n"), "fixed by") {
				t.Errorf("%d, %v", count, err)
			}
			if !slices.Equal(done, test.done) || !slices.Equal(said, test.says) {
				t.Errorf("did %q and said\n%s", done, strings.Join(said, "\n"))
			}
		})
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	done = nil
	if _, err := (Fixing{Report: report}).Fix(ended, items); !errors.Is(
		err,
		context.Canceled,
	) ||
		len(done) > 0 {
		t.Errorf("interrupted: did %q, %v", done, err)
	}
}
