package keyring

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring/secretservicetest"
)

// listen counts the calls of a method that the Secret Service gets from now on.
func listen(t *testing.T, service *secretservicetest.Service) (heard func(member string) int) {
	t.Helper()
	conn, err := service.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	messages := make(chan *dbus.Message, 4096)
	rules := []string{"type='method_call',destination='" + secretsName + "'"}
	if err := conn.BusObject().Call("org.freedesktop.DBus.Monitoring.BecomeMonitor", 0, rules,
		uint32(0)).Err; err != nil {
		t.Fatal(err)
	}
	conn.Eavesdrop(messages)
	counts := map[string]int{}
	return func(member string) int {
		for len(messages) > 0 {
			counts[(<-messages).Headers[dbus.FieldMember].Value().(string)]++
		}
		return counts[member]
	}
}

// TestManyEntriesAreDeletedWithOneSearch has more of them than are asked about at once.
func TestManyEntriesAreDeletedWithOneSearch(t *testing.T) {
	service := secretservicetest.New(t)
	s := openService(t, testService(service)).(*store)
	f := newFronted(s, testKernel(t).prefix)
	mustSet(t, s, lastingKey, "b")
	count := askedAtOnce + 2
	for i := range count {
		mustSet(t, s, fmt.Sprintf("token:%d", i), "t")
	}
	mustSet(t, f, "token:in-front", "t")
	mustSet(t, f, "token:other", "t")
	heard := listen(t, service)
	left, err := DeleteListed(t.Context(), f, func(key string) bool {
		return isToken(key) && key != "token:other" && key != "token:1"
	})
	if want := []string{lastingKey, "token:1", "token:other"}; err != nil ||
		!slices.Equal(left, want) {
		t.Errorf("%q, %v are left", left, err)
	}
	if keys, err := f.Keys(t.Context()); err != nil || !slices.Equal(keys, left) {
		t.Errorf("%q, %v are there", keys, err)
	}
	for member, want := range map[string]int{"SearchItems": 2, "Delete": count - 1} {
		if got := heard(member); got != want { // one search is that of Keys
			t.Errorf("%d times %s, want %d", got, member, want)
		}
	}
}

func TestManyEntriesOfTheKernelKeyringAreDeletedWithTheirParts(t *testing.T) {
	k := testKernel(t)
	s := k.store()
	s.items.limit = 200
	token := strings.Repeat("t", 3*s.items.limit)
	for _, key := range []string{testKey, bootstrapKey} {
		mustSet(t, s, key, token)
	}
	left, err := DeleteListed(t.Context(), s, func(key string) bool { return key == testKey })
	if err != nil || !slices.Equal(left, []string{bootstrapKey}) {
		t.Errorf("%q, %v are left", left, err)
	}
	wantToken(t, s, bootstrapKey, token)
	keys, err := k.list()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		if strings.HasPrefix(key.name, testKey) {
			t.Errorf("%q is still there", key.name)
		}
	}
}

// TestNobodyIsAskedForMany: an entry that needs somebody is for who deletes one by one.
func TestNobodyIsAskedForMany(t *testing.T) {
	d, sys := startDemanding(t, secretservicetest.Password)
	s := openService(t, sys)
	all := func(string) bool { return true }
	_, err := DeleteListed(t.Context(), s, all)
	wantError(t, "deleting what is locked", err, ErrLocked)
	d.mutex.Lock()
	d.open = true
	d.mutex.Unlock()
	_, err = DeleteListed(t.Context(), s, all)
	wantError(t, "deleting what asks", err, ErrLocked)
	if len(d.shown) > 0 {
		t.Error("somebody was asked")
	}
	d.wantLeft(t, "deleting", false)
}

func TestAStoreThatCannotListLeavesNothingToBeDeletedAtOnce(t *testing.T) {
	s := storeOf(newMemory(1<<20), Keyring)
	s.items.items = indexed{unlisted: newMemory(1 << 20)}
	mustSet(t, s, testKey, "t")
	_, err := DeleteListed(t.Context(), s, func(string) bool { return true })
	wantError(t, "deleting", err, errors.ErrUnsupported)
	wantToken(t, s, testKey, "t")
}
