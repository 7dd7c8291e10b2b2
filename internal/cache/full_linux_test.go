package cache

import (
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// TestAFullDisk limits how large this process's files may grow, to nothing: writing then fails as on a full disk.
func TestAFullDisk(t *testing.T) {
	w := newWorld(t)
	signal.Ignore(syscall.SIGXFSZ) // it would end the tests
	defer signal.Reset(syscall.SIGXFSZ)
	var before syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: 0, Max: before.Max}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before) }()
	if err := os.WriteFile(filepath.Join(w.folder, "x"), []byte("x"), 0o600); err == nil {
		t.Fatal("the disk is not full")
	}
	w.want(1, "minted-1", 1, 0)
	w.want(1, "minted-1", 1, 0)
	w.advance(57 * time.Minute)
	w.want(1, "minted-2", 2, 0)
}
