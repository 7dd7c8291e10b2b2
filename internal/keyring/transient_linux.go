package keyring

import (
	"context"
	"errors"
	"strings"

	"github.com/godbus/dbus/v5"
)

// Tokens go to the collection that gnome-keyring and its like have in memory: they live an hour,
// and each change of a collection that lasts encrypts and writes the whole of it anew, which takes
// 27 ms with a thousand items. A service without that collection keeps them with the rest.

// isTransient holds for a path of an item in memory.
func isTransient(item dbus.ObjectPath) bool {
	return strings.HasPrefix(string(item), string(sessionCollection)+"/")
}

// found is the one item of a name that a search has led to: of a token that in memory, where there is
// one.
func found(name string, unlocked, locked []dbus.ObjectPath) (item dbus.ObjectPath, isOne bool) {
	count := 0
	for _, path := range unlocked {
		if isToken(name) && isTransient(path) {
			item, count = path, count+1
		}
	}
	if count == 0 && len(unlocked) == 1 && len(locked) == 0 {
		return unlocked[0], true
	}
	return item, count == 1
}

// exchange is bounded, and makes the caller known. It asks nobody to unlock anything: what is in
// memory is never locked.
func (s secretService) exchange(ctx context.Context,
	talk func(context.Context, *caller) error) error {
	return uninterrupted(func() error {
		return boundedErr(ctx, s.sys.Limits.Call, func(ctx context.Context) error {
			conn, err := s.connect(ctx)
			if err != nil {
				return err
			}
			defer s.leave(conn)
			if err := conn.introduce(ctx); err != nil {
				return err
			}
			return talk(ctx, conn)
		})
	})
}

// writeTransient stores a token in memory, and takes away what an earlier version has kept of it
// elsewhere. It is errUnusual where the service has no such collection.
func (s secretService) writeTransient(ctx context.Context, name string, value []byte) error {
	return s.exchange(ctx, func(ctx context.Context, c *caller) error {
		err := c.create(ctx, sessionCollection, name, value)
		if errors.Is(err, errUnusual) { // a service that was started again knows no session
			err = c.create(ctx, sessionCollection, name, value)
		}
		if err != nil {
			return err
		}
		return c.dropOthers(ctx, name, func(item dbus.ObjectPath) bool {
			return !isTransient(item)
		})
	})
}

// removeTransient deletes a token in memory. isAll says that there was one, and that there is none
// of its name elsewhere.
func (s secretService) removeTransient(ctx context.Context, name string) (isAll bool, err error) {
	err = s.exchange(ctx, func(ctx context.Context, c *caller) error {
		unlocked, locked, err := c.search(ctx, attributes(name))
		if err != nil {
			return err
		}
		for _, item := range unlocked {
			if isTransient(item) {
				if err := c.drop(ctx, item); err != nil {
					return err
				}
				isAll = len(unlocked) == 1 && len(locked) == 0
			}
		}
		return nil
	})
	return isAll, err
}

// dropOthers deletes the items of a name that can be without asking anybody.
func (c *caller) dropOthers(ctx context.Context, name string,
	isOther func(dbus.ObjectPath) bool) error {
	unlocked, _, err := c.search(ctx, attributes(name))
	for _, item := range unlocked {
		if isOther(item) {
			err = errors.Join(err, c.drop(ctx, item))
		}
	}
	if fatal(err) {
		return err
	}
	return nil
}
