package keyring

import (
	"context"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"time"
)

// indexName is the item that holds the list of the others. It is no key, so it cannot be taken for
// an entry.
const indexName = "index"

// unlisted is a platform that cannot list its items.
type unlisted interface {
	read(ctx context.Context, name string) ([]byte, error)
	write(ctx context.Context, name string, value []byte, expires time.Time) error
	remove(ctx context.Context, name string) error
}

// indexed lists the items of a platform that cannot do so itself, by a list in an item of its own.
// The list holds keys, no secret. Two processes that change it at once may lose one name from it;
// the next write of that item puts it back. The list serves people (status, logout), nothing is
// ever decided by it.
type indexed struct {
	unlisted
	limit int // bytes an item holds
}

func (x indexed) write(ctx context.Context, name string, value []byte, expires time.Time) error {
	if err := x.unlisted.write(ctx, name, value, expires); err != nil || isPart(name) {
		return err
	}
	return x.change(ctx, func(names []string) []string { return append(names, name) })
}

func (x indexed) remove(ctx context.Context, name string) error {
	if err := x.unlisted.remove(ctx, name); err != nil || isPart(name) {
		return err
	}
	return x.change(ctx, func(names []string) []string {
		return slices.DeleteFunc(names, func(n string) bool { return n == name })
	})
}

func (x indexed) names(ctx context.Context) ([]string, error) {
	value, err := x.list().read(ctx, indexName)
	var names []string
	if errors.Is(err, ErrNotFound) || err == nil && json.Unmarshal(value, &names) != nil {
		return nil, nil // a corrupt list is begun anew
	}
	return names, err
}

// change rewrites the list when edit changes it.
func (x indexed) change(ctx context.Context, edit func([]string) []string) error {
	old, err := x.names(ctx)
	if err != nil {
		return err
	}
	names := edit(slices.Clone(old))
	slices.Sort(names)
	names = slices.Compact(names)
	if slices.Equal(old, names) {
		return nil
	}
	value, err := json.Marshal(names)
	if err != nil {
		return err
	}
	return x.list().write(ctx, indexName, value, time.Time{})
}

// list is where the list itself is kept; it may be larger than an item.
func (x indexed) list() parted { return parted{items: plain{x.unlisted}, limit: x.limit} }

// plain gives unlisted the method that only lists of lists would need.
type plain struct{ unlisted }

func (plain) names(context.Context) ([]string, error) { return nil, nil }

// isPart reports whether an item is a part of a value, or the list.
func isPart(name string) bool { return name == indexName || strings.Contains(name, "/") }
