package yamledit

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/files"
	"github.com/sa-exec-credential/sa-exec-credential/internal/files/filestest"
)

// TestLinksOfOthersAreNotFollowed gives links away, which only root can, and is refused as root,
// too.
func TestLinksOfOthersAreNotFollowed(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can give a link away: only the user's own is tried")
	}
	dir := t.TempDir()
	file, link, chain := filepath.Join(dir, "file"), filepath.Join(dir, "link"),
		filepath.Join(dir, "chain")
	for from, to := range map[string]string{link: file, chain: link} {
		if err := os.Symlink(to, from); err != nil {
			t.Fatal(err)
		}
	}
	edit := func(path string) error {
		_, err := Edit([]string{path}, plain, func([]*File) error { return nil })
		return err
	}
	filestest.Write(t, file, people)
	for _, path := range []string{link, chain} {
		if err := edit(path); err != nil {
			t.Errorf("one's own link: %v", err)
		}
	}
	if os.Geteuid() != 0 {
		return
	}
	if err := os.Lchown(link, filestest.Nobody, -1); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{link, chain} {
		for what, err := range map[string]error{"edited": edit(path),
			"created": MakeDir(path)} {
			if !errors.Is(err, files.ErrUntrusted) {
				t.Errorf("another's link, %s: %v", what, err)
			}
		}
	}
}
