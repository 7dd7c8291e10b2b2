package keyring

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// kernelLimit is the longest payload of a "user" key in bytes, see keyrings(7).
	kernelLimit = 32767
	// ownerOnly are a key's permissions: everything for its owner, nothing for others, see
	// keyctl_setperm(3). The kernel's own choice lets the owner read only in a process whose
	// session keyring links the user keyring.
	ownerOnly = 0x3f3f0000
)

// kernelItems are "user" keys in the user keyring, see keyrings(7). They are in memory only, and
// the kernel drops them when they expire.
type kernelItems struct {
	sys    System
	uid    int    // owner that a key must have
	prefix string // begins the description of every key of ours
	// front begins those of keys in front of other stores, which go as well to make room
	front string
	// isFront says that what is here is also elsewhere, or can be: nothing goes for it but what
	// has expired.
	isFront bool
}

func openKernel(sys System) (prober, error) {
	return kernelItems{sys: sys, uid: os.Geteuid(), prefix: service + ":",
		front: frontPrefix}.store(), nil
}

func (k kernelItems) store() *store {
	return &store{
		kind:        Kernel,
		description: "kernel keyring",
		sys:         k.sys,
		items:       parted{items: k, limit: kernelLimit},
		check:       k.check,
		isImmediate: true,
	}
}

// check makes a round trip: a seccomp profile may refuse any of the calls, and only a try tells.
func (k kernelItems) check(ctx context.Context) error {
	name := "probe." + strconv.Itoa(os.Getpid())
	if err := k.write(ctx, name, []byte("probe"), k.sys.Now().Add(time.Minute)); err != nil {
		return err
	}
	_, err := k.read(ctx, name)
	return errors.Join(err, k.remove(ctx, name))
}

func (k kernelItems) read(_ context.Context, name string) ([]byte, error) {
	id, err := k.find(name)
	if err != nil {
		return nil, kernelError("reading the kernel keyring", err)
	}
	value, err := readKey(id)
	if errors.Is(err, unix.EACCES) {
		// A writer that was killed before it set the permissions.
		err = possessing(func() error { value, err = readKey(id); return err })
	}
	if err != nil {
		return nil, kernelError("reading the kernel keyring", err)
	}
	return value, nil
}

// write adds the key, or changes it in place: at no moment is neither the old value nor the new one
// there. Until the permissions are set, a new key can be read by fewer processes than wanted, never
// by other users.
func (k kernelItems) write(ctx context.Context, name string, value []byte,
	expires time.Time) error {
	seconds := math.Ceil(expires.Sub(k.sys.Now()).Seconds())
	if seconds <= 0 {
		return k.remove(ctx, name) // a timeout of zero would mean for ever
	}
	err := possessing(func() error {
		if _, err := k.find(name); errors.Is(err, errForeign) {
			if err := k.drop(name); err != nil {
				return err
			}
		}
		id, err := k.addWithinQuota(name, value)
		if err != nil {
			return err
		}
		_, err = unix.KeyctlInt(unix.KEYCTL_SET_TIMEOUT, id,
			int(min(seconds, math.MaxInt32)), 0, 0)
		return err
	})
	return kernelError("writing to the kernel keyring", err)
}

func (k kernelItems) remove(_ context.Context, name string) error {
	err := possessing(func() error { return k.drop(name) })
	if err = kernelError("deleting from the kernel keyring", err); errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

func (k kernelItems) names(context.Context) ([]string, error) {
	keys, err := k.list()
	var names []string
	for _, key := range keys {
		if _, err := k.find(key.name); err == nil {
			names = append(names, key.name)
		}
	}
	return names, kernelError("listing the kernel keyring", err)
}

// errForeign means that the key found is another user's.
var errForeign error = &reason{&ErrNotFound, "the key belongs to another user"}

// find returns the id of the key of a name, unix.ENOKEY, or errForeign.
func (k kernelItems) find(name string) (int, error) {
	id, err := unix.KeyctlSearch(unix.KEY_SPEC_USER_KEYRING, "user", k.prefix+name, 0)
	if err != nil {
		return 0, err
	}
	description := make([]byte, 512) // longer than any of ours, so that one call is enough
	size, err := unix.KeyctlBuffer(unix.KEYCTL_DESCRIBE, id, description, 0)
	if err != nil {
		return 0, err
	}
	if uid, _, _ := k.parse(string(description[:min(size, len(description))])); uid != k.uid {
		return 0, errForeign
	}
	return id, nil
}

// parse returns the owner and the name of a key from what KEYCTL_DESCRIBE gives,
// "type;uid;gid;perm;description". It is not ok when the key is not of our type or prefix.
func (k kernelItems) parse(description string) (uid int, name string, ok bool) {
	fields := strings.SplitN(description, ";", 5)
	if len(fields) != 5 || fields[0] != "user" {
		return 0, "", false
	}
	uid, err := strconv.Atoi(fields[1])
	name, ours := strings.CutPrefix(fields[4], k.prefix)
	return uid, name, ours && err == nil
}

// addWithinQuota adds the key, and where the quota is used up makes room: first expired entries,
// then tokens, the oldest first. A bootstrap credential is never dropped for a token that can be
// minted again.
func (k kernelItems) addWithinQuota(name string, value []byte) (int, error) {
	id, err := k.add(name, value)
	if !errors.Is(err, unix.EDQUOT) {
		return id, err
	}
	victims, listErr := k.victims(name)
	if listErr != nil {
		return 0, listErr
	}
	for _, victim := range victims {
		owner := k
		owner.prefix = victim.key.prefix
		if err := owner.drop(victim.key.name); err != nil {
			return 0, err
		}
		if id, err = k.addSoon(name, value); !errors.Is(err, unix.EDQUOT) {
			return id, err
		}
	}
	return 0, err
}

// add adds the key or changes it in place, and sets its permissions. A new key whose permissions
// cannot be set is taken away again.
func (k kernelItems) add(name string, value []byte) (int, error) {
	id, err := unix.AddKey("user", k.prefix+name, value, unix.KEY_SPEC_USER_KEYRING)
	if err != nil {
		return 0, err
	}
	err = unix.KeyctlSetperm(id, ownerOnly)
	// a new key, and no room for the link when this thread asked for it
	if errors.Is(err, unix.EACCES) {
		if err = linkUserKeyring(); err == nil {
			err = unix.KeyctlSetperm(id, ownerOnly)
		}
	}
	if err != nil {
		_, _ = unix.KeyctlInt(unix.KEYCTL_UNLINK, id, unix.KEY_SPEC_USER_KEYRING, 0, 0)
	}
	return id, err
}

// addSoon gives the kernel a tenth of a second: it counts a dropped key until its collector has
// run.
func (k kernelItems) addSoon(name string, value []byte) (id int, err error) {
	for range 20 {
		if id, err = k.add(name, value); !errors.Is(err, unix.EDQUOT) {
			return id, err
		}
		time.Sleep(5 * time.Millisecond)
	}
	return id, err
}

// victim is an entry that may go for another one.
type victim struct {
	key   kernelKey
	size  int // of the quota, in bytes
	entry Entry
}

// victims lists what may go for name, the most useless first.
func (k kernelItems) victims(name string) ([]victim, error) {
	keys, err := k.list()
	if err != nil {
		return nil, err
	}
	if k.front != "" {
		front := k
		front.prefix = k.front
		more, err := front.list()
		if err != nil {
			return nil, err
		}
		keys = append(keys, more...)
	}
	var expired, tokens []victim
	for _, key := range keys {
		whole, _, _ := strings.Cut(key.name, "/")
		if whole == name || key.foreign {
			continue
		}
		value, err := readKey(key.id)
		entry, decodeErr := Decode(whole, value)
		// the kernel counts the payload, and the description with a byte at its end
		v := victim{key: key, entry: entry,
			size: len(value) + len(key.prefix+key.name) + 1}
		switch {
		case errors.Is(err, unix.EKEYEXPIRED),
			decodeErr == nil && !entry.ExpiresAt.After(k.sys.Now()):
			expired = append(expired, v)
		case isToken(whole) && !k.isFront:
			// an undecodable one has the zero time: first
			tokens = append(tokens, v)
		}
	}
	slices.SortStableFunc(tokens,
		func(a, b victim) int { return a.entry.IssuedAt.Compare(b.entry.IssuedAt) })
	return append(expired, tokens...), nil
}

// keyUsers is where the kernel shows quotas, see proc_key_users(5).
const keyUsers = "/proc/key-users"

// room reads the quota, and adds what would be dropped to make room.
func (k kernelItems) room() (Room, error) {
	data, err := os.ReadFile(keyUsers)
	if err != nil {
		return Room{}, err
	}
	room, err := parseKeyUsers(string(data), k.uid)
	if err != nil {
		return Room{}, err
	}
	victims, err := k.victims("")
	for _, v := range victims {
		room.Keys++
		room.Bytes += v.size
	}
	return room, err
}

// parseKeyUsers reads the line of a user: "UID: USAGE NKEYS/NIKEYS QNKEYS/MAXKEYS
// QNBYTES/MAXBYTES". Who has no line has no key yet, and no quota that can be read.
func parseKeyUsers(text string, uid int) (room Room, err error) {
	for line := range strings.Lines(text) {
		var user, usage, keys, instantiated, counted, bytes int
		if _, err := fmt.Sscanf(line, "%d: %d %d/%d %d/%d %d/%d", &user, &usage, &keys,
			&instantiated, &counted, &room.MaxKeys, &bytes,
			&room.MaxBytes); err != nil {
			return Room{}, err
		}
		if user == uid {
			room.Keys, room.Bytes = room.MaxKeys-counted, room.MaxBytes-bytes
			room.Sysctl = "kernel.keys.max"
			if uid == 0 {
				room.Sysctl = "kernel.keys.root_max"
			}
			return room, nil
		}
	}
	return Room{}, fmt.Errorf("%s has no user %d", keyUsers, uid)
}

// drop takes the key out of the user keyring. It is revoked first, because that gives its bytes
// back to the quota at once. Expired and revoked keys are no longer found by a search, so the list
// is what is looked through.
func (k kernelItems) drop(name string) error {
	keys, err := k.list()
	if err != nil {
		return err
	}
	for _, key := range keys {
		if key.name == name {
			if err := key.unlink(); err != nil {
				return err
			}
		}
	}
	return nil
}

// removeListed removes all keys that isGone says go, with one list of them.
func (k kernelItems) removeListed(_ context.Context, isGone func(name string) bool) (left []string,
	err error) {
	err = possessing(func() error {
		keys, err := k.list()
		for _, key := range keys {
			whole, _, _ := strings.Cut(key.name, "/")
			if isGone(whole) {
				err = errors.Join(err, key.unlink())
			} else if _, dead := k.find(key.name); dead == nil {
				left = append(left, key.name)
			}
		}
		return err
	})
	return left, kernelError("deleting from the kernel keyring", err)
}

// kernelKey is a key with our prefix in the user keyring, living or dead.
type kernelKey struct {
	id      int
	prefix  string
	name    string // without the prefix
	foreign bool   // belongs to another user
}

// unlink takes the key out of the user keyring, and revokes it for those who have it still.
func (k kernelKey) unlink() error {
	if !k.foreign {
		// a dead key cannot be revoked again
		_, _ = unix.KeyctlInt(unix.KEYCTL_REVOKE, k.id, 0, 0, 0)
	}
	_, err := unix.KeyctlInt(unix.KEYCTL_UNLINK, k.id, unix.KEY_SPEC_USER_KEYRING, 0, 0)
	return err
}

func (k kernelItems) list() ([]kernelKey, error) {
	ids, err := readKey(unix.KEY_SPEC_USER_KEYRING)
	if err != nil {
		return nil, err
	}
	var keys []kernelKey
	for ; len(ids) >= 4; ids = ids[4:] {
		id := int(int32(binary.NativeEndian.Uint32(ids)))
		description, err := unix.KeyctlString(unix.KEYCTL_DESCRIBE, id)
		if err != nil {
			continue // gone meanwhile, or not ours to see
		}
		if uid, name, ok := k.parse(description); ok {
			keys = append(keys, kernelKey{id: id, prefix: k.prefix, name: name,
				foreign: uid != k.uid})
		}
	}
	return keys, nil
}

// readKey returns a key's payload; that of a keyring is a list of 32-bit ids.
func readKey(id int) ([]byte, error) {
	buffer := make([]byte, 4096)
	for {
		size, err := unix.KeyctlBuffer(unix.KEYCTL_READ, id, buffer, 0)
		if err != nil {
			return nil, err
		}
		if size <= len(buffer) {
			return buffer[:size], nil
		}
		buffer = make([]byte, size)
	}
}

// possessing runs call on a thread that possesses the keys of the user keyring, which their
// permissions may ask for. The thread's own keyring links it; both end with the thread, because it
// is never given back to the runtime. A panic in call is ErrUnavailable, as in bounded, which
// cannot see it.
func possessing(call func() error) error {
	done := make(chan error, 1)
	go func() {
		err := ErrUnavailable
		defer func() {
			_ = recover()
			done <- err
		}()
		runtime.LockOSThread()
		// a full quota may refuse it; call is then refused only where it needs the link
		_ = linkUserKeyring()
		err = call()
	}()
	return <-done
}

// linkUserKeyring makes the calling thread possess the keys of the user keyring. The goroutine must
// be locked to it.
func linkUserKeyring() error {
	_, err := unix.KeyctlInt(unix.KEYCTL_LINK, unix.KEY_SPEC_USER_KEYRING,
		unix.KEY_SPEC_THREAD_KEYRING, 0, 0)
	return err
}

// kernelError gives err the type that this package declares for it, and says what was being done.
func kernelError(doing string, err error) error {
	typed := ErrUnavailable
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrNotFound):
		return fmt.Errorf("%s: %w", doing, err)
	case errors.Is(err, unix.ENOKEY), errors.Is(err, unix.EKEYEXPIRED),
		errors.Is(err, unix.EKEYREVOKED):
		typed = ErrNotFound
	case errors.Is(err, unix.EDQUOT):
		typed = ErrQuota
	case errors.Is(err, unix.EPERM), errors.Is(err, unix.ENOSYS):
		typed = ErrRefused
	}
	return fmt.Errorf("%s: %w: %w", doing, typed, err)
}
