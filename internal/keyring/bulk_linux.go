package keyring

import (
	"context"
	"errors"
	"slices"

	"github.com/godbus/dbus/v5"
)

// removeListed goes through the items once, and deletes those that isGone says go. It is ErrLocked
// where some cannot be seen, or a person would have to be asked for one. Each exchange is bounded
// by itself: a deletion from a collection that lasts writes all of it anew.
func (s secretService) removeListed(ctx context.Context,
	isGone func(name string) bool) (left []string, err error) {
	items, err := s.listed(ctx)
	if err != nil {
		return nil, err
	}
	for some := range slices.Chunk(items, askedAtOnce) {
		err := s.exchange(ctx, func(ctx context.Context, c *caller) error {
			defer s.sys.noticing()()
			names, err := c.usernames(ctx, some)
			var gone []dbus.ObjectPath
			for i, name := range names {
				if isGone(name) {
					gone = append(gone, some[i])
				} else {
					left = append(left, name)
				}
			}
			if err != nil {
				return err
			}
			return c.dropAll(ctx, gone)
		})
		if err != nil {
			return nil, err
		}
	}
	return left, nil
}

// listed is caller.all, once a person has unlocked the collection, where one may be asked.
func (s secretService) listed(ctx context.Context) (items []dbus.ObjectPath, err error) {
	list := func(ctx context.Context, c *caller) (err error) {
		items, err = c.all(ctx)
		return err
	}
	if err = s.exchange(ctx, list); errors.Is(err, ErrLocked) {
		if err = s.check(ctx); err == nil {
			err = s.exchange(ctx, list)
		}
	}
	if err != nil {
		return nil, err
	}
	return items, nil
}

// dropAll deletes items, at most askedAtOnce.
func (c *caller) dropAll(ctx context.Context, items []dbus.ObjectPath) error {
	return c.askAll(ctx, items, secretsItem+".Delete", nil,
		func(_ int, call *dbus.Call) error {
			var prompt dbus.ObjectPath
			err := reply(call, &prompt)
			if err == nil && prompt != noPrompt {
				err = ErrLocked
			}
			return err
		})
}
