package keyring

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// items is what a platform offers: named values of bounded size. Each call is bounded in time by
// its implementation.
type items interface {
	// read returns the item's value, or ErrNotFound.
	read(ctx context.Context, name string) ([]byte, error)
	// write replaces the item. The store may drop it at expires.
	write(ctx context.Context, name string, value []byte, expires time.Time) error
	// remove deletes the item; an absent one is not an error.
	remove(ctx context.Context, name string) error
	// names lists the items of this program, in any order.
	names(ctx context.Context) ([]string, error)
}

// parted keeps values that are larger than an item, by splitting them over several.
//
// A small value is the item NAME itself. A large one is a manifest in NAME and the parts NAME/a1,
// NAME/a2 and so on, or NAME/b1, NAME/b2: a new value is written to the slot that the old one does
// not use, then the manifest is switched, then the old slot is cleared. So a writer that is killed
// leaves the old value or the new one. Two writers at once may use the same slot; the manifest's
// digest makes what they leave a miss, never a mix. The parts of a slot have no gaps, also after a
// kill, because they are written upwards and removed downwards: they are found without a list of
// items.
type parted struct {
	items
	limit int // bytes an item holds; 0 means no limit
}

// manifest is the item under a large value's name. Only an entry has a token and only a manifest
// has parts, so neither is taken for the other.
type manifest struct {
	Version int    `json:"version"`
	Slot    string `json:"slot"`
	Parts   int    `json:"parts"`
	SHA256  string `json:"sha256"`
}

const (
	slotA = "a"
	slotB = "b"
)

// read returns the whole value under name, or ErrNotFound when any part is missing or not of this
// value.
func (p parted) read(ctx context.Context, name string) ([]byte, error) {
	head, err := p.items.read(ctx, name)
	if err != nil || p.limit == 0 {
		return head, err
	}
	m, ok := p.parseManifest(head)
	if !ok {
		return head, nil
	}
	var value []byte
	for i := 1; i <= m.Parts; i++ {
		part, err := p.items.read(ctx, partName(name, m.Slot, i))
		if errors.Is(err, ErrNotFound) {
			return nil, notFound("a part of the entry is missing")
		}
		if err != nil {
			return nil, err
		}
		value = append(value, part...)
	}
	if digest(value) != m.SHA256 {
		return nil, notFound("the entry's parts are not of one value")
	}
	return value, nil
}

// write replaces the value under name and removes the parts that it does not need.
func (p parted) write(ctx context.Context, name string, value []byte, expires time.Time) error {
	if p.limit == 0 {
		return p.items.write(ctx, name, value, expires)
	}
	if len(value) > maxValue {
		return tooBig(len(value), maxValue)
	}
	old, err := p.slotOf(ctx, name)
	if err != nil {
		return err
	}
	if len(value) <= p.limit {
		return p.writeSmall(ctx, name, value, expires, old)
	}
	slot := slotA
	if old == slotA {
		slot = slotB
	}
	parts, err := p.writeParts(ctx, name, slot, value, expires)
	if err != nil {
		return err
	}
	head, err := json.Marshal(manifest{Version: entryVersion, Slot: slot, Parts: parts,
		SHA256: digest(value)})
	if err != nil {
		return err
	}
	if err := p.items.write(ctx, name, head, expires); err != nil {
		return err
	}
	return errors.Join(p.clear(ctx, name, slot, parts+1), p.clear(ctx, name, other(slot), 1))
}

// writeSmall stores a value that fits one item. Parts are looked for only when the old value had
// some: a look costs as much as a read, and nearly no value is ever split.
func (p parted) writeSmall(ctx context.Context, name string, value []byte, expires time.Time,
	old string) error {
	if err := p.items.write(ctx, name, value, expires); err != nil || old == "" {
		return err
	}
	return errors.Join(p.clear(ctx, name, slotA, 1), p.clear(ctx, name, slotB, 1))
}

func (p parted) writeParts(ctx context.Context, name, slot string, value []byte,
	expires time.Time) (int, error) {
	parts := 0
	for len(value) > 0 {
		size := min(p.limit, len(value))
		parts++
		if err := p.items.write(ctx, partName(name, slot, parts), value[:size],
			expires); err != nil {
			return 0, err
		}
		value = value[size:]
	}
	return parts, nil
}

// remove deletes the value under name, the manifest first: without it the parts are nothing.
func (p parted) remove(ctx context.Context, name string) error {
	if err := p.items.remove(ctx, name); err != nil || p.limit == 0 {
		return err
	}
	return errors.Join(p.clear(ctx, name, slotA, 1), p.clear(ctx, name, slotB, 1))
}

// names lists the whole values, not their parts.
func (p parted) names(ctx context.Context) ([]string, error) {
	all, err := p.items.names(ctx)
	if err != nil {
		return nil, err
	}
	var whole []string
	for _, name := range all {
		if !strings.Contains(name, "/") {
			whole = append(whole, name)
		}
	}
	return whole, nil
}

// clear removes the parts of a slot from number from on.
func (p parted) clear(ctx context.Context, name, slot string, from int) error {
	last := from - 1
	for {
		_, err := p.items.read(ctx, partName(name, slot, last+1))
		if errors.Is(err, ErrNotFound) {
			break
		}
		if err != nil {
			return err
		}
		last++
	}
	for ; last >= from; last-- {
		if err := p.items.remove(ctx, partName(name, slot, last)); err != nil {
			return err
		}
	}
	return nil
}

// slotOf returns the slot of the value under name, or "" when it has none.
func (p parted) slotOf(ctx context.Context, name string) (string, error) {
	head, err := p.items.read(ctx, name)
	if errors.Is(err, ErrNotFound) {
		return "", nil
	}
	m, _ := p.parseManifest(head)
	return m.Slot, err
}

// parseManifest reports whether head is a manifest, and one whose parts may be looked for.
func (p parted) parseManifest(head []byte) (manifest, bool) {
	var m manifest
	if len(head) > p.limit || json.Unmarshal(head, &m) != nil {
		return manifest{}, false
	}
	known := m.Version == entryVersion && (m.Slot == slotA || m.Slot == slotB)
	if !known || m.Parts < 1 || m.Parts > maxValue/p.limit+1 {
		return manifest{}, false
	}
	return m, true
}

func partName(name, slot string, number int) string {
	return fmt.Sprintf("%s/%s%d", name, slot, number)
}

func other(slot string) string {
	if slot == slotA {
		return slotB
	}
	return slotA
}

func digest(value []byte) string {
	sum := sha256.Sum256(value)
	return hex.EncodeToString(sum[:])
}
