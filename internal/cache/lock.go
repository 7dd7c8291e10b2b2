package cache

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
)

const (
	// guardLimit is how long taking a lock away may wait for others who do the same, and
	// guardPoll how often that looks whether they are done.
	guardLimit = time.Second
	guardPoll  = 5 * time.Millisecond
)

// fileLock is one profile's lock between processes. The kernel releases it when its holder dies. A
// lock that cannot be had for want of a directory or of space is free: minting twice is better than
// not at all.
type fileLock struct {
	flock  *flock.Flock // nil: there is nothing to lock, or nothing to share
	guard  string       // a file that is locked while the lock's own is taken away
	waited os.FileInfo  // the file whose holder was waited for
}

func (c *Cache) lock() *fileLock {
	if c.Store.Kind() == keyring.None {
		return &fileLock{}
	}
	return lockOf(c.Dir, wayName(c.Key, c.Way))
}

func lockOf(dir, name string) *fileLock {
	path := filepath.Join(dir, name+lockExtension)
	if dir == "" || !regularOrAbsent(path) {
		return &fileLock{}
	}
	guard := filepath.Join(dir, name+callsExtension)
	return &fileLock{flock: flock.New(path, flock.SetPermissions(0o600)), guard: guard}
}

// regularOrAbsent passes over what somebody could have put into a directory that a kubeconfig
// chose: a link to another file, or a pipe that opening would wait for.
func regularOrAbsent(path string) bool {
	info, err := os.Lstat(path)
	return err != nil || info.Mode().IsRegular()
}

// fileName is a key without its colon, which Windows reserves.
func fileName(key string) string { return strings.ReplaceAll(key, ":", "-") }

const (
	lockExtension  = ".lock"
	callsExtension = ".calls"
)

// wayName is the name, but for the extension, of the files of a key and one way to mint its token.
func wayName(key, way string) string {
	return fmt.Sprintf("%s-%016x", fileName(key), shortHash([]byte(way)))
}

func (l *fileLock) tryExclusive() bool {
	if l.flock == nil {
		return true
	}
	locked, err := l.flock.TryLock()
	return locked || err != nil
}

// awaitHolder waits until nobody holds the lock, at most for the time given, and reports whether
// that came to pass. An error says nothing of the holder.
//
// Waiters share the lock to find out, so one release lets all of them go on at once. The kernel
// wakes them: hundreds that look again and again would take the processor from the one that mints.
func (l *fileLock) awaitHolder(ctx context.Context, atMost time.Duration) (freed bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, atMost)
	defer cancel()
	l.waited, _ = os.Stat(l.flock.Path())
	done := make(chan error, 1)
	go func() { // left behind when the holder hangs
		shared := flock.New(l.flock.Path(), flock.SetPermissions(0o600))
		err := shared.RLock()
		_ = shared.Close()
		done <- err
	}()
	select {
	case err := <-done:
		return err == nil, err
	case <-ctx.Done():
		return false, nil
	}
}

// abandonHolder takes the lock from a holder that hangs, or was stopped, by taking the file away:
// all who wait then find a new one, so that one of them mints for the others. It reports whether
// there is now another file to lock.
//
// One waiter at a time looks and removes: who has looked and comes late would remove the new file,
// which is locked again.
func (l *fileLock) abandonHolder() bool {
	if !regularOrAbsent(l.guard) {
		return false
	}
	guard := flock.New(l.guard, flock.SetPermissions(0o600))
	defer guard.Close()
	ctx, cancel := context.WithTimeout(context.Background(), guardLimit)
	defer cancel()
	if locked, err := guard.TryLockContext(ctx, guardPoll); !locked || err != nil {
		return false
	}
	current, err := os.Stat(l.flock.Path())
	if err != nil || l.waited == nil || !os.SameFile(l.waited, current) {
		// somebody else has taken it away
		return errors.Is(err, fs.ErrNotExist) || err == nil && l.waited != nil
	}
	return os.Remove(l.flock.Path()) == nil
}

// Hold takes the lock of a key and a way, for one whose token the caller is about to keep, if
// nobody has it. It cannot fail: a lock that cannot be had is free.
func Hold(dir, key, way string) (release func()) {
	lock := lockOf(dir, wayName(key, way))
	_ = lock.tryExclusive()
	return lock.release
}

func (l *fileLock) release() {
	if l.flock != nil {
		_ = l.flock.Close()
	}
}
