package yamledit

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/files/filestest"
)

// TestWhatCannotBeWrittenIsSaidBefore also by an Edit, which could rename another file over it.
func TestWhatCannotBeWrittenIsSaidBefore(t *testing.T) {
	dir := t.TempDir()
	const text = "name: old\n"
	if err := errors.Join(os.Chmod(filepath.Dir(dir), 0o755),
		os.WriteFile(filepath.Join(dir, "file"), []byte(text), 0o444),
		os.Mkdir(filepath.Join(dir, "closed"), 0o555),
		syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".", "file", "closed", "pipe"} {
		if err := os.Chown(filepath.Join(dir, name), filestest.Nobody, -1); err != nil {
			t.Fatal(err)
		}
	}
	filestest.AsNobody(t, func() {
		for _, name := range []string{"file", "file/below", "closed/new", "closed/a/b",
			"pipe", "."} {
			path := filepath.Join(dir, name)
			if err := Check([]string{path}, plain, rename); !errors.Is(err,
				ErrReadOnly) {
				t.Errorf("%s: Check gave %v", name, err)
			}
			changed, err := Edit([]string{path}, plain, rename)
			if changed || !errors.Is(err, ErrReadOnly) {
				t.Errorf("%s: Edit gave %v, %v", name, changed, err)
			}
		}
	})
	if data, err := os.ReadFile(filepath.Join(dir, "file")); err != nil ||
		string(data) != text {
		t.Errorf("the file holds %q, %v", data, err)
	}
}

func TestCheckWritesNothing(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a", "file")
	if err := Check([]string{path}, plain, rename); err != nil {
		t.Error(err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("there is %v, %v", entries, err)
	}
}
