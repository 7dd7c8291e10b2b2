package keyring

import (
	"context"
	"errors"
)

// DeleteListed deletes all entries that isGone says go, and lists the keys of those that are left.
// It goes through a store once, where Delete looks for each entry by itself, and nobody is asked to
// unlock anything for it. A store that cannot list what it has is an errors.ErrUnsupported. After
// an error some of the entries may be gone: each can still be deleted by itself.
func DeleteListed(ctx context.Context, store Store,
	isGone func(key string) bool) (left []string, err error) {
	if s, ok := store.(interface {
		deleteListed(ctx context.Context, isGone func(key string) bool) ([]string, error)
	}); ok {
		return s.deleteListed(ctx, isGone)
	}
	return nil, errors.ErrUnsupported
}

func (s *store) deleteListed(ctx context.Context, isGone func(key string) bool) (left []string,
	err error) {
	if problem := s.gaveUp.Load(); problem != nil {
		return nil, *problem
	}
	isOurs := func(name string) bool { return validKey(name) && isGone(name) }
	if quick, ok := s.items.items.(interface {
		removeListed(ctx context.Context, isGone func(name string) bool) ([]string, error)
	}); ok {
		left, err = quick.removeListed(ctx, isOurs)
		return valid(left), err
	}
	if !s.isListed() {
		return nil, errors.ErrUnsupported
	}
	keys, err := s.Keys(ctx)
	for _, key := range keys {
		if isOurs(key) {
			err = errors.Join(err, s.Delete(ctx, key))
		} else {
			left = append(left, key)
		}
	}
	return left, err
}
