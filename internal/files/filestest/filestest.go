// Package filestest writes, reads and lists files in tests. A failure ends the test.
//
// It imports nothing of this module.
package filestest

import (
	"os"
	"reflect"
	"slices"
	"testing"
)

// Nobody is a user who is neither root nor, in most places, the one who runs the tests.
const Nobody = 65534

// Write creates or truncates a file with mode 0600.
func Write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// Read returns a file's text.
func Read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Only is an error of the test when a directory holds other entries than these.
func Only(t *testing.T, dir string, names ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, entry := range entries {
		found = append(found, entry.Name())
	}
	slices.Sort(names)
	if !reflect.DeepEqual(found, names) {
		t.Errorf("%q holds %q, want %q", dir, found, names)
	}
}
