package keyring

import (
	"errors"
	"fmt"
)

// entrySize is what an entry with a ServiceAccount's token takes of a quota in bytes, the key's
// name and what the kernel adds to it among them (measured: 16 fit into 20,000).
const entrySize = 1300

// Room is what the quota of a store leaves to this user.
type Room struct {
	// Keys and Bytes can still be written. What the store drops by itself to make room,
	// expired entries and tokens that can be minted again, is among them.
	Keys, Bytes int
	// MaxKeys and MaxBytes are the whole quota.
	MaxKeys, MaxBytes int
	// Sysctl prefixes the settings that raise it, such as "kernel.keys.max".
	Sysctl string
}

// RoomIn asks a store for its room. It is not limited where the store has no quota, or does not
// tell it.
func RoomIn(s Store) (room Room, limited bool) {
	measured, ok := s.(interface{ Room() (Room, error) })
	if !ok {
		return Room{}, false
	}
	room, err := measured.Room()
	return room, err == nil
}

// Room asks the platform; it is an error where that has no quota.
func (s *store) Room() (Room, error) {
	measured, ok := s.items.items.(interface{ room() (Room, error) })
	if !ok {
		return Room{}, errors.ErrUnsupported
	}
	return measured.room()
}

// Less is the room when a number of entries has been written.
func (r Room) Less(entries int) Room {
	r.Keys -= entries
	r.Bytes -= entries * entrySize
	return r
}

// Check is an ErrQuota, a *QuotaError, when there is none left.
func (r Room) Check() error {
	if r.Keys < 0 || r.Bytes < 0 {
		return &QuotaError{Room: r}
	}
	return nil
}

// QuotaError is an ErrQuota that is known before anything is written.
type QuotaError struct {
	Room  Room     // what would be left, below zero
	Users []string // the profiles that use the store
}

// Error implements error.
func (e *QuotaError) Error() string {
	return fmt.Sprintf("%v: %d keys and %d bytes are this user's in the kernel keyring, and "+
		"too few are left for a further profile", ErrQuota, e.Room.MaxKeys, e.Room.MaxBytes)
}

// Unwrap makes it an ErrQuota.
func (e *QuotaError) Unwrap() error { return ErrQuota }
