package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestClusterRunsUntilToldToStop(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	ctx, stop := context.WithCancel(t.Context())
	out, in := io.Pipe()
	var stderr bytes.Buffer
	code := make(chan int)
	go func() {
		defer in.Close()
		code <- run(ctx, []string{"--bin", "../../bin", "--dir", dir}, in, &stderr)
	}()

	kubeconfig := exported(out)
	_, statErr := os.Stat(kubeconfig)
	stop()
	if got := <-code; got != 0 {
		t.Fatalf("exit code %d\n%s", got, &stderr)
	}
	if statErr != nil {
		t.Errorf("kubeconfig %q while it ran: %v", kubeconfig, statErr)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("state left: %v", err)
	}
}

// exported returns the path in the line for the shell, and an empty one when the
// output ends without it.
func exported(out io.Reader) string {
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if path, ok := strings.CutPrefix(lines.Text(), "export KUBECONFIG='"); ok {
			return strings.TrimSuffix(path, "'")
		}
	}
	return ""
}

func TestWrongFlagIsAUsageError(t *testing.T) {
	if got := run(t.Context(), []string{"--no-such-flag"}, io.Discard, io.Discard); got != 2 {
		t.Errorf("exit code %d, want 2", got)
	}
}
