package keyring

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"
)

// memory is a platform whose items have a limit, and which breaks when it is told to.
type memory struct {
	limit  int
	items  map[string][]byte
	writes int    // changes that may still be made before errKilled; negative means any number
	before func() // called before each change
}

var errKilled = errors.New("killed")

func newMemory(limit int) *memory {
	return &memory{limit: limit, items: map[string][]byte{}, writes: -1}
}

func (m *memory) read(_ context.Context, name string) ([]byte, error) {
	value, ok := m.items[name]
	if !ok {
		return nil, ErrNotFound
	}
	return value, nil
}

func (m *memory) change() error {
	if m.writes == 0 {
		return errKilled
	}
	m.writes--
	if m.before != nil {
		m.before()
	}
	return nil
}

func (m *memory) write(_ context.Context, name string, value []byte, _ time.Time) error {
	if len(value) > m.limit {
		return ErrTooBig
	}
	if err := m.change(); err != nil {
		return err
	}
	m.items[name] = bytes.Clone(value)
	return nil
}

func (m *memory) remove(_ context.Context, name string) error {
	if err := m.change(); err != nil {
		return err
	}
	delete(m.items, name)
	return nil
}

func (m *memory) names(context.Context) ([]string, error) {
	return slices.Collect(maps.Keys(m.items)), nil
}

const testLimit = 200 // holds a manifest

func value(fill byte, size int) []byte { return bytes.Repeat([]byte{fill}, size) }

func mustWrite(t *testing.T, p parted, name string, value []byte) {
	t.Helper()
	if err := p.write(t.Context(), name, value, time.Time{}); err != nil {
		t.Fatal(err)
	}
}

func TestValuesOfAnySizeComeBackAndLeaveNothing(t *testing.T) {
	m := newMemory(testLimit)
	p := parted{items: m, limit: testLimit}
	sizes := []int{1, 199, 200, 201, 400, 401, 10_000, 5_000, 200, 3_000, 1}
	for i, size := range sizes {
		want := value(byte('A'+i), size)
		mustWrite(t, p, "name", want)
		if got, err := p.read(t.Context(), "name"); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("a value of %d bytes came back as %d bytes, %v", size, len(got),
				err)
		}
		if parts := len(m.items) - 1; size <= testLimit && parts != 0 || size > testLimit &&
			parts != (size+testLimit-1)/testLimit {
			t.Errorf("a value of %d bytes has %d parts", size, parts)
		}
		if names, err := p.names(t.Context()); err != nil ||
			!slices.Equal(names, []string{"name"}) {
			t.Errorf("the names are %q, %v", names, err)
		}
	}
	mustWrite(t, p, "name", value('x', 1000))
	if err := p.remove(t.Context(), "name"); err != nil || len(m.items) != 0 {
		t.Errorf("%d items are left after the removal, %v", len(m.items), err)
	}
}

func TestAValueLargerThanAnyEntryIsTooBig(t *testing.T) {
	p := parted{items: newMemory(testLimit), limit: testLimit}
	if err := p.write(t.Context(), "name", value('x', maxValue+1),
		time.Time{}); !errors.Is(err, ErrTooBig) {
		t.Errorf("got %v, want ErrTooBig", err)
	}
}

func TestAKilledWriterLeavesTheOldValueOrTheNew(t *testing.T) {
	sizes := []int{0, 50, 350, 900}
	for _, before := range sizes {
		for _, after := range sizes[1:] {
			for steps := range 14 {
				t.Run(fmt.Sprintf("%d bytes over %d, killed after %d changes",
					after, before,
					steps), func(t *testing.T) {
					m := newMemory(testLimit)
					p := parted{items: m, limit: testLimit}
					if before > 0 {
						mustWrite(t, p, "name", value('o', before))
					}
					m.writes = steps
					killed := p.write(t.Context(), "name", value('n', after),
						time.Time{})
					m.writes = -1
					checkEither(t, p, before, after, killed == nil)

					mustWrite(t, p, "name", value('l', 250))
					if got, err := p.read(t.Context(), "name"); err != nil ||
						!bytes.Equal(got, value('l', 250)) {
						t.Errorf("the next value came back as %d bytes, %v",
							len(got), err)
					}
					if len(m.items) != 3 { // the manifest and two parts
						t.Errorf("the next value has %d items",
							len(m.items))
					}
					if err := p.remove(t.Context(), "name"); err != nil ||
						len(m.items) != 0 {
						t.Errorf("%d items are left after the removal, %v",
							len(m.items), err)
					}
				})
			}
		}
	}
}

func checkEither(t *testing.T, p parted, before, after int, finished bool) {
	t.Helper()
	got, err := p.read(t.Context(), "name")
	switch {
	case err == nil && bytes.Equal(got, value('n', after)):
	case err == nil && !finished && before > 0 && bytes.Equal(got, value('o', before)):
	case errors.Is(err, ErrNotFound) && !finished && before == 0:
	default:
		t.Errorf("got %d bytes, %v", len(got), err)
	}
}

func TestAKilledRemovalIsAMissAndCanBeRepeated(t *testing.T) {
	for steps := range 6 {
		m := newMemory(testLimit)
		p := parted{items: m, limit: testLimit}
		mustWrite(t, p, "name", value('o', 700))
		m.writes = steps
		_ = p.remove(t.Context(), "name")
		m.writes = -1
		if _, err := p.read(t.Context(), "name"); steps > 0 && !errors.Is(err,
			ErrNotFound) {
			t.Errorf("after %d changes: got %v, want ErrNotFound", steps, err)
		}
		if err := p.remove(t.Context(), "name"); err != nil || len(m.items) != 0 {
			t.Errorf("after %d changes: %d items are left, %v", steps, len(m.items),
				err)
		}
	}
}

func TestTwoWritersAtOnceNeverMakeAMix(t *testing.T) {
	for _, before := range []int{0, 700} {
		for at := range 8 {
			for steps := range 10 {
				m := newMemory(testLimit)
				p := parted{items: m, limit: testLimit}
				if before > 0 {
					mustWrite(t, p, "name", value('o', before))
				}
				changes := 0
				// the other writer gets its turn, and is killed or not
				m.before = func() {
					if changes++; changes != at+1 {
						return
					}
					m.before, m.writes = nil, steps
					_ = p.write(t.Context(), "name", value('2', 900),
						time.Time{})
					m.writes = -1
				}
				_ = p.write(t.Context(), "name", value('1', 600), time.Time{})
				m.before = nil
				got, err := p.read(t.Context(), "name")
				whole := bytes.Equal(got, value('1', 600)) || bytes.Equal(got,
					value('2', 900)) ||
					bytes.Equal(got, value('o', before))
				if err == nil && !whole || err != nil && !errors.Is(err,
					ErrNotFound) {
					t.Fatalf("at change %d, after %d of the other's: got a "+
						"mix of %d bytes, %v", at,
						steps, len(got), err)
				}
			}
		}
	}
}

func TestAChangedPartIsAMiss(t *testing.T) {
	for _, name := range []string{"name/a1", "name/a2"} {
		m := newMemory(testLimit)
		p := parted{items: m, limit: testLimit}
		mustWrite(t, p, "name", value('o', 400))
		m.items[name][0] = 'x'
		if _, err := p.read(t.Context(), "name"); !errors.Is(err, ErrNotFound) {
			t.Errorf("got %v, want ErrNotFound", err)
		}
		delete(m.items, name)
		if _, err := p.read(t.Context(), "name"); !errors.Is(err, ErrNotFound) {
			t.Errorf("got %v, want ErrNotFound", err)
		}
	}
}

func TestAListIsKeptWhereThePlatformHasNone(t *testing.T) {
	m := newMemory(testLimit)
	x := indexed{unlisted: m, limit: testLimit}
	p := parted{items: x, limit: testLimit}
	var want []string
	for i := range 20 { // the list outgrows an item
		name := fmt.Sprintf("token:%032d", i)
		want = append(want, name)
		mustWrite(t, p, name, value('x', 100+20*i))
	}
	mustWrite(t, p, want[3], value('y', 10))
	checkNames(t, p, want)
	for _, name := range want[:19] {
		if err := p.remove(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	checkNames(t, p, want[19:])

	m.items[indexName] = []byte("corrupt")
	checkNames(t, p, nil)
	mustWrite(t, p, want[5], value('z', 10))
	checkNames(t, p, want[5:6])
}

func checkNames(t *testing.T, p parted, want []string) {
	t.Helper()
	got, err := p.names(t.Context())
	slices.Sort(got)
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("the names are %q, %v, want %q", got, err, want)
	}
}
