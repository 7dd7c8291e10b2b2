package keyring

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

func TestKeyUsersAreRead(t *testing.T) {
	const text = "    0:     9 8/8 3/1000000 40/25000000\n" +
		" 1000:    19 19/19 17/200 18750/20000\n"
	tests := []struct {
		name  string
		text  string
		uid   int
		want  Room
		fails bool
	}{
		{name: "an ordinary user", text: text, uid: 1000,
			want: Room{183, 1250, 200, 20000, "kernel.keys.max"}},
		{name: "root has settings of its own", text: text, uid: 0,
			want: Room{999997, 24999960, 1000000, 25000000, "kernel.keys.root_max"}},
		{name: "somebody without a key", text: text, uid: 2000, fails: true},
		{name: "another format", text: "1000 keys\n", uid: 1000, fails: true},
		{name: "nothing", uid: 1000, fails: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseKeyUsers(tt.text, tt.uid)
			if got != tt.want || (err != nil) != tt.fails {
				t.Errorf("got %+v and %v", got, err)
			}
		})
	}
}

func TestKernelTellsItsRoomBeforeTheQuotaIsUsedUp(t *testing.T) {
	runWithinQuota(t, "room")
}

// helpRoom PREFIX keeps a bootstrap credential and a token for one profile after the other, as
// long as there is room for both. No store may run full before, and not much be left at the end.
func helpRoom(arguments []string) error {
	k := kernelItems{sys: System{}.withDefaults(), uid: os.Geteuid(), prefix: arguments[0]}
	defer dropAll(k)
	dropAll(k)
	if err := set(k, "token:first", time.Now(), time.Now().Add(time.Hour)); err != nil {
		return err // who has no key has no line in /proc/key-users
	}
	store, count := k.store(), 0
	token := secret.New(strings.Repeat("x", 1000))
	for ; ; count++ {
		room, limited := RoomIn(store)
		if !limited {
			return errors.New("the quota is not told")
		}
		if room.Less(2).Check() != nil {
			break
		}
		for _, kind := range []string{"bootstrap", "token"} {
			key := fmt.Sprintf("%s:%064d", kind, count)
			err := store.Set(context.Background(), key, Entry{Token: token,
				IssuedAt: time.Now(), ExpiresAt: time.Now().Add(time.Hour)})
			if err != nil || !present(k, key) {
				return fmt.Errorf("%s is not kept: %w", key, err)
			}
		}
		for i := range count {
			if !present(k, fmt.Sprintf("bootstrap:%064d", i)) {
				return fmt.Errorf("bootstrap credential %d is gone", i)
			}
		}
	}
	if room, _ := RoomIn(store); count < 10 || room.Bytes > 3*entrySize {
		return fmt.Errorf("there is room for %d bytes after %d profiles", room.Bytes, count)
	}
	return nil
}

func TestRoomRunsOutOfKeysToo(t *testing.T) {
	room := Room{Keys: 1, Bytes: 20000, MaxKeys: 200, MaxBytes: 20000}
	if err := room.Less(1).Check(); err != nil {
		t.Error(err)
	}
	var quota *QuotaError
	if err := room.Less(2).Check(); !errors.As(err, &quota) || !errors.Is(err, ErrQuota) {
		t.Errorf("got %v, want a QuotaError", err)
	}
}
