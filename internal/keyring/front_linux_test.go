package keyring

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// storeOf is a store over items of the test's.
func storeOf(items items, kind Kind) *store {
	return &store{kind: kind, description: "memory", sys: System{}.withDefaults(),
		items: parted{items: items}}
}

// testFront is a store over memory, with a front of the test's own.
func testFront(t *testing.T, kind Kind) (f *fronted, behind *memory) {
	t.Helper()
	behind = newMemory(1 << 20)
	return newFronted(storeOf(behind, kind), testKernel(t).prefix), behind
}

const bootstrapKey = "bootstrap:0123"

func TestATokenIsInFrontOfItsStore(t *testing.T) {
	f, behind := testFront(t, Keyring)
	mustSet(t, f, testKey, "t")
	mustSet(t, f, bootstrapKey, "b")
	wantToken(t, f.front, testKey, "t")
	if len(behind.items) != 1 {
		t.Errorf("the store holds %d items", len(behind.items))
	}
	if _, err := f.front.Get(t.Context(), bootstrapKey); !errors.Is(err, ErrNotFound) {
		t.Errorf("the bootstrap credential is in front: %v", err)
	}
	clear(behind.items) // a hit asks nobody behind
	wantToken(t, f, testKey, "t")
	if _, err := f.Get(t.Context(), bootstrapKey); !errors.Is(err, ErrNotFound) {
		t.Errorf("a bootstrap credential that the store does not have: %v", err)
	}
}

func TestATokenLeavesNoOlderOneBehind(t *testing.T) {
	f, behind := testFront(t, Keyring)
	if err := f.store.Set(t.Context(), testKey, liveEntry("old")); err != nil {
		t.Fatal(err)
	}
	mustSet(t, f, testKey, "t")
	if len(behind.items) != 0 {
		t.Errorf("the store holds %d items", len(behind.items))
	}
	wantToken(t, f, testKey, "t")
}

// TestAFrontThatLostItsEntry has it from the store, and then in front again.
func TestAFrontThatLostItsEntry(t *testing.T) {
	for name, lose := range map[string]func(kernelItems, int) error{
		"by a restart": func(_ kernelItems, id int) error {
			_, err := unix.KeyctlInt(unix.KEYCTL_UNLINK, id, unix.KEY_SPEC_USER_KEYRING, 0, 0)
			return err
		},
		"to a revocation": func(_ kernelItems, id int) error {
			_, err := unix.KeyctlInt(unix.KEYCTL_REVOKE, id, 0, 0, 0)
			return err
		},
		"to somebody who wrote another entry there": func(k kernelItems, _ int) error {
			other, err := Encode("token:other", liveEntry("other"))
			if err == nil {
				_, err = k.add(testKey, other)
			}
			return err
		},
		"to somebody who wrote nonsense there": func(k kernelItems, _ int) error {
			_, err := k.add(testKey, []byte("nonsense"))
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			f, _ := testFront(t, Keyring)
			mustSet(t, f.store, testKey, "t")
			wantToken(t, f, testKey, "t") // and has it in front from then on
			k := f.front.items.items.(kernelItems)
			id, err := k.find(testKey)
			if err == nil {
				err = lose(k, id)
			}
			if err != nil {
				t.Fatal(err)
			}
			wantToken(t, f, testKey, "t")
			wantToken(t, f.front, testKey, "t")
		})
	}
}

func TestAnExpiredEntryInFrontIsLookedForBehind(t *testing.T) {
	f, _ := testFront(t, Keyring)
	mustSet(t, f, testKey, "old")
	if err := f.store.Set(t.Context(), testKey, liveEntry("new")); err != nil {
		t.Fatal(err)
	}
	f.sys.Now = func() time.Time { return time.Now().Add(100 * time.Hour) }
	wantToken(t, f, testKey, "new")
}

func TestForgettingClearsBoth(t *testing.T) {
	f, behind := testFront(t, Keyring)
	mustSet(t, f.store, testKey, "t")
	wantToken(t, f, testKey, "t")
	if keys, err := f.Keys(t.Context()); err != nil || !slices.Equal(keys, []string{testKey}) {
		t.Errorf("%q, %v", keys, err)
	}
	clear(behind.items)
	if keys, err := f.Keys(t.Context()); err != nil || !slices.Equal(keys, []string{testKey}) {
		t.Errorf("of the front alone: %q, %v", keys, err)
	}
	mustSet(t, f.store, testKey, "t")
	wantToken(t, f, testKey, "t")
	if err := f.Delete(t.Context(), testKey); err != nil {
		t.Fatal(err)
	}
	_, frontErr := f.front.Get(t.Context(), testKey)
	wantError(t, "the front", frontErr, ErrNotFound)
	if len(behind.items) > 0 {
		t.Error("the store still has it")
	}
}

// unwritable are items that can be read and deleted.
type unwritable struct{ *memory }

func (unwritable) write(context.Context, string, []byte, time.Time) error { return errKilled }

// TestAProbeIsOfTheStoreBehind: the front would say that all is well.
func TestAProbeIsOfTheStoreBehind(t *testing.T) {
	f := newFronted(storeOf(unwritable{newMemory(1 << 20)}, Sealed), testKernel(t).prefix)
	if err := Probe(t.Context(), f, time.Now()); !errors.Is(err, errKilled) {
		t.Error(err)
	}
}

// TestAFrontTakesNoMoreThanItsQuota runs as a user who has one.
func TestAFrontTakesNoMoreThanItsQuota(t *testing.T) { runWithinQuota(t, "front") }

// helpFront PREFIX uses 200 tokens, many more than the quota holds. A bootstrap credential in the
// kernel keyring itself still finds room.
func helpFront(arguments []string) error {
	f := newFronted(storeOf(newMemory(1<<20), Sealed), arguments[0])
	k := f.front.items.items.(kernelItems)
	defer dropAll(k)
	if err := useFronted(f, 200); err != nil {
		return err
	}
	inFront, err := f.front.Keys(context.Background())
	if err != nil || len(inFront) == 0 || len(inFront) == 200 {
		return fmt.Errorf("%d keys are in front, %w", len(inFront), err)
	}
	own := kernelItems{sys: k.sys, uid: k.uid, prefix: arguments[0] + "own:", front: k.prefix}
	defer dropAll(own)
	if err := own.store().Set(context.Background(), bootstrapKey, liveEntry(bulk)); err != nil {
		return err
	}
	after, err := f.front.Keys(context.Background())
	if len(after) >= len(inFront) {
		return fmt.Errorf("%d of %d keys are still in front, %w", len(after), len(inFront), err)
	}
	return nil
}

// useFronted does with some tokens what a profile each would: nothing may fail.
func useFronted(f *fronted, count int) error {
	ctx := context.Background()
	key := func(i int) string { return fmt.Sprintf("token:%064d", i) }
	value := func(i int) string { return fmt.Sprint(i) + strings.Repeat("x", 1000) }
	for i := range count {
		if err := f.Set(ctx, key(i), liveEntry(value(i))); err != nil {
			return err
		}
	}
	for i := range count {
		entry, err := f.Get(ctx, key(i))
		if err != nil || entry.Token.Reveal() != value(i) {
			return fmt.Errorf("token %d: %w", i, err)
		}
	}
	if keys, err := f.Keys(ctx); err != nil || len(keys) != count {
		return fmt.Errorf("%d keys, %w", len(keys), err)
	}
	return f.Delete(ctx, key(0))
}
