package keyring

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

// testKernel is the kernel keyring with names of the test's own, which are removed when it ends:
// the user keyring outlives the process, and it holds the entries of whoever runs the tests.
func testKernel(t *testing.T) kernelItems {
	t.Helper()
	k := kernelItems{sys: System{}.withDefaults(), uid: os.Geteuid()}
	k.prefix = fmt.Sprintf("%s-test-%d-%s:", service, os.Getpid(), t.Name())
	t.Cleanup(func() { dropAll(k) })
	return k
}

func dropAll(k kernelItems) {
	keys, _ := k.list()
	for _, key := range keys {
		_ = k.drop(key.name)
	}
}

func TestKernelKeepsReplacesAndForgets(t *testing.T) {
	wantKeepsReplacesAndForgets(t, testKernel(t).store(), strings.Repeat("x", 20_000),
		strings.Repeat("y", 40_000), "short")
}

// wantKeepsReplacesAndForgets tries what every store does, with tokens that are special to this
// one.
func wantKeepsReplacesAndForgets(t *testing.T, s Store, tokens ...string) {
	t.Helper()
	_, err := s.Get(t.Context(), testKey)
	wantError(t, "getting an absent entry", err, ErrNotFound)
	wantError(t, "deleting an absent entry", s.Delete(t.Context(), testKey), nil)

	for _, token := range append([]string{"first", "second, longer"}, tokens...) {
		mustSet(t, s, testKey, token)
		wantToken(t, s, testKey, token)
	}
	mustSet(t, s, "bootstrap:b", "credential")
	if keys, err := s.Keys(t.Context()); err != nil ||
		!slices.Equal(keys, []string{"bootstrap:b", testKey}) {
		t.Errorf("the keys are %q, %v", keys, err)
	}
	wantError(t, "deleting", s.Delete(t.Context(), testKey), nil)
	_, err = s.Get(t.Context(), testKey)
	wantError(t, "getting a deleted entry", err, ErrNotFound)
	wantToken(t, s, "bootstrap:b", "credential")
}

func TestKernelTakesABadValueForAMiss(t *testing.T) {
	k := testKernel(t)
	for _, bad := range badValues {
		if len(bad.value) == 0 || len(bad.value) > kernelLimit {
			continue // the kernel keeps no such payload
		}
		if err := k.write(t.Context(), testKey, []byte(bad.value),
			time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		_, err := k.store().Get(t.Context(), testKey)
		wantError(t, bad.name, err, ErrNotFound)
	}
}

func TestKernelKeyIsItsOwnersAlone(t *testing.T) {
	k := testKernel(t)
	mustSet(t, k.store(), testKey, "t")
	id, err := k.find(testKey)
	if err != nil {
		t.Fatal(err)
	}
	description, err := unix.KeyctlString(unix.KEYCTL_DESCRIBE, id)
	if fields := strings.Split(description, ";"); err != nil || fields[3] != "3f3f0000" {
		t.Errorf("the key is %q, %v", description, err)
	}
	if isRoot() {
		cmd := helper(t, "read", nil, strconv.Itoa(id))
		asOther(t, cmd)
		if out := mustRun(t, cmd); out != unix.EACCES.Error() {
			t.Errorf("another user reads the key: %s", out)
		}
	}
}

// helpRead ID reads a key by its id and prints how that went.
func helpRead(arguments []string) error {
	id, err := strconv.Atoi(arguments[0])
	if err != nil {
		return err
	}
	_, err = readKey(id)
	fmt.Println(err)
	return nil
}

// withoutUserKeyring are ways to start a process whose session keyring does not link the user
// keyring.
var withoutUserKeyring = map[string][]string{
	"a fresh session": {"keyctl", "session", "-"},
	"no session, as in cron": {"keyctl", "session", "-", "sh", "-c",
		`keyctl revoke @s; exec setsid --wait "$@"`, "-"},
	"a session with an unreadable linkup": {"keyctl", "session", "-", "sh", "-c",
		`keyctl setperm @s 0; exec "$@"`, "-"},
}

func TestKernelKeyIsReadWithoutTheUserKeyringInTheSession(t *testing.T) {
	for name, wrapper := range withoutUserKeyring {
		t.Run(name, func(t *testing.T) {
			k := testKernel(t)
			mustSet(t, k.store(), testKey, "the token")
			if out := mustRun(t,
				helper(t, "get", wrapper, k.prefix,
					testKey)); !strings.HasSuffix(out, "the token") {
				t.Errorf("got %s", out)
			}
		})
	}
}

func TestKernelKeyOfAKilledWriterIsReadToo(t *testing.T) {
	k := testKernel(t)
	mustSet(t, k.store(), testKey, "the token")
	id, err := k.find(testKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.KeyctlSetperm(id, 0x3f010000); err != nil { // what add_key gives
		t.Fatal(err)
	}
	for name, wrapper := range withoutUserKeyring {
		if out := mustRun(t, helper(t, "get", wrapper, k.prefix,
			testKey)); !strings.HasSuffix(out,
			"the token") {
			t.Errorf("%s: got %s", name, out)
		}
	}
}

// helpGet PREFIX KEY writes, reads and deletes an entry of its own, then prints the token under
// KEY.
func helpGet(arguments []string) error {
	s := kernelItems{sys: System{}.withDefaults(), uid: os.Geteuid(),
		prefix: arguments[0]}.store()
	err := s.Set(context.Background(), "token:own", liveEntry("own"))
	_, getErr := s.Get(context.Background(), "token:own")
	if err := errors.Join(err, getErr, s.Delete(context.Background(),
		"token:own")); err != nil {
		return err
	}
	entry, err := s.Get(context.Background(), arguments[1])
	fmt.Println(entry.Token.Reveal())
	return err
}

func TestKernelDropsAnExpiredKey(t *testing.T) {
	s := testKernel(t).store()
	now := time.Now()
	if err := s.Set(t.Context(), testKey,
		Entry{Token: secret.New("t"), IssuedAt: now,
			ExpiresAt: now.Add(time.Second)}); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if _, err := s.Get(t.Context(), testKey); !errors.Is(err, ErrNotFound) {
			return fmt.Errorf("got %w, want ErrNotFound", err)
		}
		return nil
	})
	if keys, err := s.Keys(t.Context()); err != nil || len(keys) != 0 {
		t.Errorf("the keys are %q, %v", keys, err)
	}
	mustSet(t, s, testKey, "next")
	wantToken(t, s, testKey, "next")
}

func TestKernelTimeoutIsRoundedUpAndNeverForEver(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	tests := []struct {
		name    string
		expires time.Time
		kept    bool
	}{
		{"a moment left", now.Add(time.Nanosecond), true},
		{"a century left", now.AddDate(100, 0, 0), true},
		{"nothing left", now, false},
		{"long expired", now.Add(-time.Hour), false},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			k := testKernel(t)
			k.sys.Now = func() time.Time { return now }
			mustSet(t, k.store(), testKey, "old")
			if err := k.store().Set(t.Context(), testKey,
				Entry{Token: secret.New("new"), IssuedAt: now.Add(-2 * time.Hour),
					ExpiresAt: test.expires}); err != nil {
				t.Fatal(err)
			}
			entry, err := k.store().Get(t.Context(), testKey)
			if test.kept && (err != nil || entry.Token.Reveal() != "new") ||
				!test.kept &&
					!errors.Is(err, ErrNotFound) {
				t.Errorf("got %q, %v", entry.Token.Reveal(), err)
			}
			if left := timeLeft(t, k); test.kept && (left == "" || left == "perm") {
				t.Errorf("the kernel keeps the key for %q", left)
			}
		})
	}
}

// timeLeft is the column of /proc/keys that says for how long the kernel keeps the only key of the
// test.
func timeLeft(t *testing.T, k kernelItems) string {
	t.Helper()
	keys, err := os.ReadFile("/proc/keys")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(keys)) {
		if strings.Contains(line, k.prefix) {
			return strings.Fields(line)[3]
		}
	}
	return ""
}

func TestKernelRevokedKeyIsAMiss(t *testing.T) {
	k := testKernel(t)
	mustSet(t, k.store(), testKey, "t")
	id, err := k.find(testKey)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unix.KeyctlInt(unix.KEYCTL_REVOKE, id, 0, 0, 0); err != nil {
		t.Fatal(err)
	}
	_, err = k.store().Get(t.Context(), testKey)
	wantError(t, "getting a revoked key", err, ErrNotFound)
	mustSet(t, k.store(), testKey, "next")
	wantToken(t, k.store(), testKey, "next")
}

func TestKernelKeyOfAnotherOwnerIsAMiss(t *testing.T) {
	k := testKernel(t)
	mustSet(t, k.store(), testKey, "t")
	foreign := k
	foreign.uid++
	_, err := foreign.store().Get(t.Context(), testKey)
	wantError(t, "getting another user's key", err, ErrNotFound)
	if keys, err := foreign.store().Keys(t.Context()); err != nil || len(keys) != 0 {
		t.Errorf("the keys are %q, %v", keys, err)
	}

	id, err := k.find(testKey)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := unix.KeyctlInt(unix.KEYCTL_CHOWN, id, otherUser, -1, 0); err != nil {
		return // only an administrator gives a key away
	}
	_, err = k.store().Get(t.Context(), testKey)
	wantError(t, "getting a key that was given away", err, ErrNotFound)
	mustSet(t, k.store(), testKey, "next")
	wantToken(t, k.store(), testKey, "next")
}

func TestKernelMakesRoomWhereTheQuotaIsUsedUp(t *testing.T) {
	runWithinQuota(t, "quota")
}

// runWithinQuota runs a helper as a user whose quota can be used up: root's own never is.
func runWithinQuota(t *testing.T, name string) {
	t.Helper()
	cmd := helper(t, name, []string{"keyctl", "session", "-"}, testKernel(t).prefix)
	if isRoot() {
		asOther(t, cmd)
	}
	mustRun(t, cmd)
}

// helpQuota PREFIX fills the quota of its user.
func helpQuota(arguments []string) error {
	k := kernelItems{sys: System{}.withDefaults(), uid: os.Geteuid(), prefix: arguments[0]}
	defer dropAll(k)
	for _, step := range []func(kernelItems) error{keepTheNewest, dropTheExpiredFirst,
		neverDropABootstrap} {
		dropAll(k)
		if err := step(k); err != nil {
			return err
		}
	}
	return nil
}

// enough entries of bulk to use up any usual quota, 20,000 bytes by default, at most 4 MB.
const enough = 1000

var bulk = strings.Repeat("x", 3000)

func set(k kernelItems, key string, issued time.Time, expires time.Time) error {
	err := k.store().Set(context.Background(), key, Entry{Token: secret.New(bulk),
		IssuedAt: issued, ExpiresAt: expires})
	if err != nil {
		return fmt.Errorf("setting %s: %w", key, err)
	}
	return nil
}

func present(k kernelItems, key string) bool {
	_, err := k.store().Get(context.Background(), key)
	return err == nil
}

// fill sets tokens, each issued a second after the one before, until the first is dropped.
func fill(k kernelItems, now time.Time) (last int, err error) {
	for i := range enough {
		if err := set(k, fmt.Sprintf("token:%d", i), now.Add(time.Duration(i)*time.Second),
			now.Add(2*time.Hour)); err != nil {
			return i, err
		}
		if !present(k, "token:0") {
			return i, nil
		}
	}
	return 0, errors.New("the quota was not used up")
}

func keepTheNewest(k kernelItems) error {
	now := time.Now()
	if err := set(k, "bootstrap:b", now.Add(-time.Hour), now.Add(time.Hour)); err != nil {
		return err
	}
	last, err := fill(k, now)
	if err != nil {
		return err
	}
	if !present(k, "bootstrap:b") || !present(k, "token:1") ||
		!present(k, fmt.Sprintf("token:%d", last)) {
		return errors.New("more was dropped than the oldest token")
	}
	return nil
}

func dropTheExpiredFirst(k kernelItems) error {
	now := time.Now()
	earlier := k
	earlier.sys.Now = func() time.Time { return now.Add(-time.Hour) }
	for _, key := range []string{"token:expired", "bootstrap:expired"} {
		if err := set(earlier, key, now.Add(-2*time.Minute),
			now.Add(-time.Minute)); err != nil {
			return err
		}
	}
	if _, err := fill(k, now); err != nil {
		return err
	}
	if present(k, "token:expired") || present(k, "bootstrap:expired") ||
		!present(k, "token:1") {
		return errors.New("a good token was dropped before the expired entries")
	}
	return nil
}

func neverDropABootstrap(k kernelItems) error {
	now := time.Now()
	for i := range enough {
		err := set(k, fmt.Sprintf("bootstrap:%d", i), now, now.Add(time.Hour))
		if err == nil {
			continue
		}
		if !errors.Is(err, ErrQuota) {
			return fmt.Errorf("got %w, want ErrQuota", err)
		}
		if keys, err := k.store().Keys(context.Background()); err != nil || len(keys) != i {
			return fmt.Errorf("%d bootstrap credentials of %d are left: %w", len(keys),
				i, err)
		}
		return nil
	}
	return errors.New("the quota was not used up")
}

func TestKernelUnderASystemCallFilterIsUnavailable(t *testing.T) {
	for _, name := range []string{"no keyctl", "old kernel"} {
		t.Run(name, func(t *testing.T) { mustRun(t, helper(t, name, nil)) })
	}
}

func TestKernelServesManyAtOnce(t *testing.T) {
	s := testKernel(t).store()
	mustSet(t, s, testKey, "t0")
	done := make(chan error)
	const workers = 8
	for i := range workers {
		go func() {
			var err error
			for range 50 {
				if i%4 == 0 {
					err = errors.Join(err,
						s.Set(t.Context(), testKey, liveEntry("t"+strconv.Itoa(i))))
				}
				// at no moment is there nothing
				_, getErr := s.Get(t.Context(), testKey)
				err = errors.Join(err, getErr)
				runtime.Gosched()
			}
			done <- err
		}()
	}
	for range workers {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestAPanicOnTheThreadOfTheUserKeyringMakesTheStoreUnavailable(t *testing.T) {
	if err := possessing(func() error { panic("hunter2") }); !errors.Is(err, ErrUnavailable) {
		t.Errorf("got %v, want ErrUnavailable", err)
	}
}
