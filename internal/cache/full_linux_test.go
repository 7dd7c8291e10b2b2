package cache

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

// TestAFullDisk is a process of its own: the go command's record of a test is a file, too.
func TestAFullDisk(t *testing.T) {
	if output, err := process(t, t.TempDir(), "full").CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, output)
	}
}

// onFullDisk limits how large this process's files may grow, to nothing: writing then fails as on a
// full disk. A miss, a repeat that finds the token, and a stale token have to go as they always do.
func onFullDisk(dir string) error {
	signal.Ignore(syscall.SIGXFSZ) // it would end the process
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{}); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(dir, "x"), []byte("x"), 0o600); err == nil {
		return errors.New("the disk is not full")
	}
	now, mints := start, 0
	c := &Cache{Store: newMemory(), Key: "token:k", Machine: "m", Dir: dir,
		Caller: Caller{PID: 1}, Wait: time.Second,
		Now: func() time.Time {
			return now
		}, IsShared: func(error) bool {
			return true
		}, Warn: func(error) {}, Debug: func(string, ...any) {},
		Valid: func(context.Context, secret.String) (bool, error) { return true, nil },
		Mint: func(context.Context) (keyring.Entry, error) {
			mints++
			return keyring.Entry{Token: secret.New(fmt.Sprint("minted-", mints)),
				IssuedAt:  now,
				ExpiresAt: now.Add(time.Hour)}, nil
		}}
	for _, step := range []struct {
		after time.Duration
		token string
	}{{0, "minted-1"}, {0, "minted-1"}, {57 * time.Minute, "minted-2"}} {
		now = now.Add(step.after)
		if answer, err := c.Get(context.Background()); err != nil ||
			answer.Token.Reveal() != step.token {
			return fmt.Errorf("got %q, %w, want %q", answer.Token.Reveal(), err,
				step.token)
		}
	}
	return nil
}
