package keyring

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

const testKey = "token:0123456789abcdef"

var (
	testIssued  = time.Date(2026, 3, 1, 12, 0, 0, 123456789, time.UTC)
	testExpires = testIssued.Add(time.Hour)
)

func testEntry(token string) Entry {
	return Entry{Token: secret.New(token), IssuedAt: testIssued, ExpiresAt: testExpires}
}

// liveEntry is one that has not expired by the real clock.
func liveEntry(token string) Entry {
	now := time.Now()
	return Entry{Token: secret.New(token), IssuedAt: now, ExpiresAt: now.Add(time.Hour)}
}

func TestEncodedEntryIsDecoded(t *testing.T) {
	for _, token := range []string{"a", "eyJhbGciOiJSUzI1NiJ9.e30.c2ln",
		`quotes " and \ and <>&`,
		"čeština\n\x01", strings.Repeat("x", 100_000)} {
		value, err := Encode(testKey, testEntry(token))
		if err != nil {
			t.Fatal(err)
		}
		got, err := Decode(testKey, value)
		if err != nil {
			t.Fatal(err)
		}
		if got.Token.Reveal() != token || !got.IssuedAt.Equal(testIssued) ||
			!got.ExpiresAt.Equal(testExpires) {
			t.Errorf("a token of %d bytes came back different", len(token))
		}
	}
}

func TestEncodeRefuses(t *testing.T) {
	tests := []struct {
		name  string
		key   string
		entry Entry
		want  error
	}{
		{"a key of no known kind", "other:1", testEntry("t"), nil},
		{"a key with a path in it", "token:a/b", testEntry("t"), nil},
		{"a key without an ID", "token:", testEntry("t"), nil},
		{"a key that is too long", "token:" + strings.Repeat("a", maxKey), testEntry("t"),
			nil},
		{"an empty token", testKey, testEntry(""), nil},
		{"a token that JSON would change", testKey, testEntry("\xff\xfe"), nil},
		{"an entry without times", testKey, Entry{Token: secret.New("t")}, nil},
		{"an expiry before the issue", testKey, Entry{Token: secret.New("t"),
			IssuedAt:  testExpires,
			ExpiresAt: testIssued}, nil},
		{"a token that is too long", testKey, testEntry(strings.Repeat("x", maxValue)),
			ErrTooBig},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := Encode(test.key, test.entry)
			if err == nil || test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
		})
	}
}

// badValues are what a store may hold under testKey instead of an entry. Each has "hunter2" where a
// secret could be.
var badValues = []struct{ name, value string }{
	{"nothing", ``},
	{"no JSON", `hunter2`},
	{"a truncated entry",
		`{"version":1,"key":"token:0123456789abcdef","token":"hunter2","issuedAt":"2026-03-01T12:00:00Z","expi`},
	{"two entries", `{"version":1,"key":"token:0123456789abcdef","token":"hunter2","issuedAt":"2026-03-01T12:00:00Z","expiresAt":"2026-03-01T13:00:00Z"}{}`},
	{"an entry of a newer version",
		`{"version":2,"key":"token:0123456789abcdef","token":"hunter2","issuedAt":"2026-03-01T12:00:00Z","expiresAt":"2026-03-01T13:00:00Z"}`},
	{"an entry without a version",
		`{"key":"token:0123456789abcdef","token":"hunter2","issuedAt":"2026-03-01T12:00:00Z","expiresAt":"2026-03-01T13:00:00Z"}`},
	{"an entry of another key",
		`{"version":1,"key":"token:fedcba9876543210","token":"hunter2","issuedAt":"2026-03-01T12:00:00Z","expiresAt":"2026-03-01T13:00:00Z"}`},
	{"an entry with an empty token",
		`{"version":1,"key":"token:0123456789abcdef","token":"","issuedAt":"2026-03-01T12:00:00Z","expiresAt":"2026-03-01T13:00:00Z"}`},
	{"an entry without a time",
		`{"version":1,"key":"token:0123456789abcdef","token":"hunter2","issuedAt":"2026-03-01T12:00:00Z"}`},
	{"an entry with a time that is none",
		`{"version":1,"key":"token:0123456789abcdef","token":"t","issuedAt":"hunter2","expiresAt":"2026-03-01T13:00:00Z"}`},
	{"an entry with its times swapped",
		`{"version":1,"key":"token:0123456789abcdef","token":"hunter2","issuedAt":"2026-03-01T13:00:00Z","expiresAt":"2026-03-01T12:00:00Z"}`},
	{"a token that is a number",
		`{"version":1,"key":"token:0123456789abcdef","token":2,"issuedAt":"2026-03-01T12:00:00Z","expiresAt":"2026-03-01T13:00:00Z"}`},
	{"a manifest without its parts", `{"version":1,"slot":"a","parts":2,"sha256":"hunter2"}`},
	{"more than any entry has",
		`{"version":1,"key":"token:0123456789abcdef","token":"hunter2` +
			strings.Repeat(" ", maxValue)},
}

func TestDecodeTakesABadValueForAMissAndDoesNotShowIt(t *testing.T) {
	for _, bad := range badValues {
		t.Run(bad.name, func(t *testing.T) {
			entry, err := Decode(testKey, []byte(bad.value))
			if !errors.Is(err, ErrNotFound) {
				t.Fatalf("got %v, want ErrNotFound", err)
			}
			if !entry.Token.Empty() || strings.Contains(err.Error(), "hunter2") {
				t.Errorf("the bad value shows in %v", err)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	good, err := Encode(testKey, testEntry("good"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	for _, bad := range badValues[:len(badValues)-1] {
		f.Add([]byte(bad.value))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		entry, err := Decode(testKey, value)
		if err != nil {
			if !errors.Is(err, ErrNotFound) {
				t.Fatalf("got %v, want ErrNotFound", err)
			}
			return
		}
		again, err := Encode(testKey, entry)
		if err != nil {
			t.Fatalf("what was decoded is not encoded: %v", err)
		}
		if back, err := Decode(testKey, again); err != nil ||
			back.Token.Reveal() != entry.Token.Reveal() {
			t.Fatalf("the entry changed on its way: %v", err)
		}
	})
}
