package files

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

// ErrBusy says that another process held a lock for as long as it was waited for.
var ErrBusy = errors.New("another command holds the lock")

const (
	lockPoll   = 20 * time.Millisecond
	lockSuffix = ".lock"
)

// Lock waits for a lock between processes until ctx ends, which is an ErrBusy; it tries at least
// once. The kernel releases it when its holder dies. Its file goes away with the lock, so that none are left in a directory
// that people look into.
func Lock(ctx context.Context, path string) (release func(), err error) {
	for {
		lock := flock.New(path, flock.SetPermissions(PrivateFile))
		locked, err := lock.TryLock()
		if !locked && err == nil {
			locked, err = lock.TryLockContext(ctx, lockPoll)
		}
		if !locked {
			_ = lock.Close()
			if ctx.Err() != nil {
				return nil, fmt.Errorf("%w: %q", ErrBusy, path)
			}
			return nil, fmt.Errorf("locking %q: %w", path, err)
		}
		if isAt(lock, path) {
			return func() { unlock(lock, path) }, nil
		}
		// its former holder has removed the file: whoever comes now locks another
		_ = lock.Close()
	}
}

func isAt(lock *flock.Flock, path string) bool {
	held, err := lock.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(path)
	return err == nil && os.SameFile(held, there)
}

// unlock removes the file first, so that nobody can lock it in between. Windows removes no open
// file: there it is closed before, and a process that opens it in between keeps it. Elsewhere a
// file that cannot be removed stays: once it is unlocked, it can be another's lock.
func unlock(lock *flock.Flock, path string) {
	err := os.Remove(path)
	_ = lock.Close()
	if err != nil && runtime.GOOS == "windows" {
		_ = os.Remove(path)
	}
}

// Once has Lock and Guard try once, and wait for nobody.
var Once = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// Sweep removes from a directory the lock files of processes that were killed while they had a
// Guard.
func Sweep(dir string) {
	for _, name := range namesIn(dir) {
		base, found := strings.CutPrefix(strings.TrimSuffix(name, lockSuffix), ".")
		if !found || !strings.HasSuffix(name, lockSuffix) {
			continue
		}
		if release, err := Guard(Once, filepath.Join(dir, base)); err == nil {
			release()
		}
	}
}

// Guard is Lock for whoever changes the file at path. It removes the temporary files of one who was
// killed in a Replace.
func Guard(ctx context.Context, path string) (release func(), err error) {
	dir, base := filepath.Split(path)
	release, err = Lock(ctx, filepath.Join(dir, "."+base+lockSuffix))
	if err != nil {
		return nil, err
	}
	for _, name := range namesIn(dir) {
		middle, found := strings.CutPrefix(name, "."+base+".")
		if found && strings.HasSuffix(middle, tempSuffix) {
			_ = os.Remove(filepath.Join(dir, name))
		}
	}
	return release, nil
}

// namesIn lists a directory in no order, which takes two thirds of os.ReadDir's time. It is empty
// where there is none.
func namesIn(dir string) []string {
	opened, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer opened.Close()
	names, _ := opened.Readdirnames(-1)
	return names
}
