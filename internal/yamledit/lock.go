package yamledit

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"
)

// How long another writer is waited for, and the age at which a lock that nobody holds any more is
// recognised. The longest that kubectl holds its own is a fraction of a second. A lock of this
// program's ends with its holder, so one that is there is of a command that is at work, and before
// this one's turn may be that of many.
const (
	lockWait  = 10 * time.Second // for one of client-go's
	lockLimit = 2 * time.Minute  // for all of them
	lockPoll  = 10 * time.Millisecond
	lockStale = time.Minute
)

// lock excludes every other writer of a file: kubectl and others that use client-go, for which
// PATH.lock has to be there (clientcmd.ModifyConfig), and this program, which also holds a lock of
// the kernel's on that file. The kernel's goes away with its holder, so a lock file that a killed
// process of ours left is taken over, and needs nobody to delete it.
type lock struct{ flock *flock.Flock }

// lockAll locks files under the names that were given, which are those that kubectl locks, and
// under the names that links lead to. The order is the same for everybody. A file in a directory
// that cannot be written to needs no lock: nobody with our rights can replace it.
func lockAll(given, resolved []string) (release func(), err error) {
	var held []*lock
	release = func() {
		for _, l := range slices.Backward(held) {
			l.release()
		}
	}
	for _, path := range lockNames(given, resolved) {
		if slices.ContainsFunc(held, func(l *lock) bool { return l.isAt(path) }) {
			continue // another name of one lock file, however it is spelled
		}
		l, err := acquire(path, lockWait, lockLimit)
		if isUnwritable(err) {
			continue
		}
		if err != nil {
			release()
			return nil, err
		}
		held = append(held, l)
	}
	return release, nil
}

func isUnwritable(err error) bool {
	return errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EROFS) ||
		errors.Is(err, fs.ErrNotExist)
}

// lockNames returns the lock files in an order that does not depend on how the files are spelled:
// two that lock the same files never wait for each other.
func lockNames(given, resolved []string) []string {
	var names []string
	for _, path := range slices.Concat(given, resolved) {
		names = append(names, entryPath(path)+".lock")
	}
	slices.SortFunc(names, func(a, b string) int {
		return cmp.Or(strings.Compare(strings.ToLower(a), strings.ToLower(b)),
			strings.Compare(a, b))
	})
	return names
}

// acquire waits for each lock of client-go's, and for all locks together.
func acquire(path string, each, all time.Duration) (*lock, error) {
	began := time.Now()
	var foreign fs.FileInfo // that was there the last time, since
	var since time.Time
	for ; ; time.Sleep(lockPoll) {
		l, err := tryLock(path)
		if l != nil || err != nil {
			return l, err
		}
		info, err := os.Lstat(path)
		switch {
		case err != nil || !isForeign(info):
			foreign = nil
		case isStale(info):
			age := time.Since(info.ModTime()).Round(time.Second)
			return nil, fmt.Errorf("%w: %q was left behind %v ago", ErrLocked, path,
				age)
		case foreign == nil || !isUnchanged(foreign, info):
			foreign, since = info, time.Now()
		}
		waited := time.Since(began)
		if waited > all || foreign != nil && time.Since(since) > each {
			return nil, fmt.Errorf("%w: %q is still there after %v", ErrLocked, path,
				waited.Round(time.Second))
		}
	}
}

// isUnchanged reports whether a lock file is the one that was there before: the next one can have the
// inode of the last.
func isUnchanged(before, now fs.FileInfo) bool {
	return os.SameFile(before, now) && before.ModTime().Equal(now.ModTime())
}

func isStale(info fs.FileInfo) bool { return time.Since(info.ModTime()) > lockStale }

// tryLock returns nil when somebody else has the lock.
func tryLock(path string) (*lock, error) {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return tryOpen(path, os.O_CREATE|os.O_EXCL|os.O_RDWR)
	case err != nil:
		return nil, err
	case isForeign(info):
		return nil, nil
	}
	return tryOpen(path, os.O_RDWR)
}

// isForeign tells a lock of client-go's, which has no permission bits, from one of ours.
func isForeign(info fs.FileInfo) bool {
	return !info.Mode().IsRegular() || info.Mode().Perm()&0o200 == 0
}

func tryOpen(path string, flag int) (*lock, error) {
	l := &lock{flock.New(path, flock.SetFlag(flag), flock.SetPermissions(0o600))}
	locked, err := l.flock.TryLock()
	switch {
	case errors.Is(err, fs.ErrExist), errors.Is(err, fs.ErrNotExist) && flag&os.O_CREATE == 0:
		return nil, nil // somebody else was quicker
	case err != nil && flag&os.O_CREATE != 0 && !errors.As(err, new(*fs.PathError)):
		// no flock on this file system: that the file exists has to do, as for client-go
		return l, nil
	case err != nil:
		return nil, err
	case !locked || !l.isAt(path):
		_ = l.flock.Close()
		return nil, nil
	}
	return l, nil
}

// isAt reports whether the file that is locked is still the one at path: its former holder can have
// removed it.
func (l *lock) isAt(path string) bool {
	held, err := l.flock.Stat()
	if err != nil {
		return false
	}
	there, err := os.Lstat(path)
	return err == nil && os.SameFile(held, there)
}

// release removes the file first, so that nobody can lock it in between. Windows removes no open
// file: there it is closed before, and a process that opens it in between keeps it.
func (l *lock) release() {
	if os.Remove(l.flock.Path()) == nil {
		_ = l.flock.Close()
		return
	}
	_ = l.flock.Close()
	_ = os.Remove(l.flock.Path())
}
