package cache

import (
	"hash/fnv"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
)

// The early expiry is a tenth of a token's life, at most five minutes, and up to half as much again
// by the machine, so that a fleet which was started at once does not refresh at once.
const (
	earlyFraction = 10
	maxEarly      = 5 * time.Minute
)

// refreshAt is when an entry turns from fresh to stale. It is also the expiry that clients are
// told, and in whole seconds, because that is what they are told in: else a client that comes back
// in time would look like one that comes back too early.
func refreshAt(entry keyring.Entry, machine string) time.Time {
	early := min(entry.ExpiresAt.Sub(entry.IssuedAt)/earlyFraction, maxEarly)
	return entry.ExpiresAt.Add(-early - jitter(machine, early/2)).Truncate(time.Second)
}

// jitter is a duration below limit that is always the same for a machine.
func jitter(machine string, limit time.Duration) time.Duration {
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(machine))
	return limit * time.Duration(hash.Sum32()%1000) / 1000
}

// hardExpiry is when an entry is of no use any more.
func hardExpiry(entry keyring.Entry) time.Time {
	return entry.ExpiresAt.Add(-min(margin, entry.ExpiresAt.Sub(entry.IssuedAt)/20))
}

// RefreshAt is when a token that was issued and expires at these times is replaced on this machine.
func RefreshAt(entry keyring.Entry, machine string) time.Time { return refreshAt(entry, machine) }
