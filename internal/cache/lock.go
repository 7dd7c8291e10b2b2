package cache

import (
	"context"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// lockPoll is how often a waiter looks whether the lock's holder is done.
const lockPoll = 5 * time.Millisecond

// fileLock is one profile's lock between processes. The kernel releases it when its holder dies. A lock that cannot be
// had for want of a folder or of space is free: minting twice is better than not at all.
type fileLock struct {
	flock *flock.Flock // nil: there is no folder
}

func (c *Cache) lock() *fileLock {
	if c.Folder == "" {
		return &fileLock{}
	}
	return &fileLock{flock: flock.New(filepath.Join(c.Folder, fileName(c.Key)+".lock"), flock.SetPermissions(0o600))}
}

// fileName is a key without its colon, which Windows reserves.
func fileName(key string) string { return strings.ReplaceAll(key, ":", "-") }

func (l *fileLock) tryExclusive() bool {
	if l.flock == nil {
		return true
	}
	locked, err := l.flock.TryLock()
	return locked || err != nil
}

// awaitHolder waits until nobody holds the lock, at most for the time given, and reports whether that came to pass.
// Waiters share the lock to find out, so one release lets all of them go on at once.
func (l *fileLock) awaitHolder(ctx context.Context, atMost time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	locked, err := l.flock.TryRLockContext(ctx, lockPoll)
	if locked {
		_ = l.flock.Unlock()
	}
	return locked && err == nil
}

func (l *fileLock) release() {
	if l.flock != nil {
		_ = l.flock.Close()
	}
}
