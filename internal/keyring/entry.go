package keyring

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

const (
	// entryVersion is the version of the stored form. A value of another version is not read,
	// whatever it holds.
	entryVersion = 1
	// maxValue bounds an encoded entry in bytes. A ServiceAccount token has about one
	// thousand; no answer of a store that is many times larger is worth parsing.
	maxValue = 128 << 10
	// maxKey bounds a key in bytes, so that the key and its part's name fit every platform's
	// item names.
	maxKey = 200

	// What a key begins with.
	tokenPrefix     = "token:"
	bootstrapPrefix = "bootstrap:"
)

// storedEntry is the form of an entry in a store. The key is repeated inside, because some stores
// let a person copy a value from one item to another.
type storedEntry struct {
	Version   int       `json:"version"`
	Key       string    `json:"key"`
	Token     string    `json:"token"`
	IssuedAt  time.Time `json:"issuedAt"`
	ExpiresAt time.Time `json:"expiresAt"`
	Origin    string    `json:"origin,omitempty"`
}

// Encode returns the stored form of entry under key. It refuses what Decode would not give back: a
// key that is no key, an empty token, one that is not UTF-8, or a missing time. A form of more than
// 128 KiB is ErrTooBig.
func Encode(key string, entry Entry) ([]byte, error) {
	stored := storedEntry{
		Version:   entryVersion,
		Key:       key,
		Token:     entry.Token.Reveal(),
		IssuedAt:  entry.IssuedAt.UTC(),
		ExpiresAt: entry.ExpiresAt.UTC(),
		Origin:    entry.Origin,
	}
	if err := stored.check(key); err != nil {
		return nil, fmt.Errorf("encoding the entry: %w", err)
	}
	value, err := json.Marshal(stored)
	if err != nil {
		return nil, fmt.Errorf("encoding the entry: %w", err)
	}
	if len(value) > maxValue {
		return nil, tooBig(len(value), maxValue)
	}
	return value, nil
}

// Decode returns the entry that Encode made for key. Whatever is wrong with value, the error is
// ErrNotFound with the reason, and never any part of value.
func Decode(key string, value []byte) (Entry, error) {
	if len(value) > maxValue {
		return Entry{}, notFound("the entry is too long")
	}
	var stored storedEntry
	if err := json.Unmarshal(value, &stored); err != nil {
		return Entry{}, notFound("the entry is corrupt") // err may quote the value
	}
	if err := stored.check(key); err != nil {
		return Entry{}, notFound(err.Error())
	}
	return Entry{Token: secret.New(stored.Token), IssuedAt: stored.IssuedAt,
		ExpiresAt: stored.ExpiresAt, Origin: stored.Origin}, nil
}

// check reports what keeps e from being the entry under key. Its messages hold nothing of e but the
// version.
func (e storedEntry) check(key string) error {
	switch {
	case !validKey(key):
		return fmt.Errorf("%q is no key", key)
	case e.Version != entryVersion:
		return fmt.Errorf("the entry is of version %d, not %d", e.Version, entryVersion)
	case e.Key != key:
		return errors.New("the entry was written for another key")
	case e.Token == "":
		return errors.New("the entry has no token")
	case !utf8.ValidString(e.Token):
		return errors.New("the token is not UTF-8")
	case e.IssuedAt.IsZero() || e.ExpiresAt.IsZero():
		return errors.New("the entry has no time of issue or of expiry")
	case e.ExpiresAt.Before(e.IssuedAt):
		return errors.New("the entry expires before it was issued")
	}
	return nil
}

// validKey reports whether key is one of this program's: "token:ID" or "bootstrap:ID", where ID has
// only characters that no store, shell or part's name gives a meaning to.
func validKey(key string) bool {
	id, ok := strings.CutPrefix(key, tokenPrefix)
	if !ok {
		id, ok = strings.CutPrefix(key, bootstrapPrefix)
	}
	return ok && id != "" && len(key) <= maxKey && strings.IndexFunc(id, strange) < 0
}

func strange(r rune) bool {
	return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '-' ||
		r == '_' || r == '.')
}

// reason is an error of this package's with a text. Unlike one of fmt.Errorf it costs nothing when
// the program starts.
type reason struct {
	kind *error
	text string
}

func (r *reason) Error() string { return (*r.kind).Error() + ": " + r.text }
func (r *reason) Unwrap() error { return *r.kind }

func notFound(text string) error { return &reason{&ErrNotFound, text} }

func tooBig(size, limit int) error {
	return fmt.Errorf("%w: %d bytes, not %d", ErrTooBig, size, limit)
}
