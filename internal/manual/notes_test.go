package manual

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestExitStatusIsThatOfTheOtherPages looks for each line as a row of a table.
func TestExitStatusIsThatOfTheOtherPages(t *testing.T) {
	var text strings.Builder
	for _, pattern := range []string{"README.md", "docs/*.md"} {
		paths, err := filepath.Glob(filepath.Join("..", "..", pattern))
		if err != nil || len(paths) == 0 {
			t.Fatalf("%s: %v", pattern, err)
		}
		for _, path := range paths {
			data, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			text.Write(data)
		}
	}
	for _, status := range exitStatus {
		if row := "| " + status.name + " | " + status.text + " |"; !strings.Contains(text.String(),
			row) {
			t.Errorf("no page has %q", row)
		}
	}
}
