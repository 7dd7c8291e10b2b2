// Package cache answers with a token that is good: the stored one while it is fresh, else a new one, minted once
// however many processes ask at the same time.
//
// It wraps a minter that it knows only as a function. Of this module it imports internal/keyring, internal/mint for
// the Grant, and internal/secret; it knows nothing of profiles, kubeconfigs or the API server.
package cache

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

// Times of the way of a get.
const (
	// checkLimit bounds the question whether a token is still accepted. The answer can wait; the client cannot.
	checkLimit = 3 * time.Second
	// staleRetry is how long a client is told to use a stale token that could not be replaced, or that another
	// process is replacing, before it asks again.
	staleRetry = 10 * time.Second
	// margin is kept before the true expiry, so that a token does not die on its way to the server.
	margin = 5 * time.Second
	// clockTolerance is how far a token may have been issued in the future before the clock must have jumped.
	clockTolerance = 5 * time.Second
)

// Cache is one profile's token. Its fields are set once, before the first call.
type Cache struct {
	Store   keyring.Store
	Key     string // of the token in the store
	Machine string // decides the jitter of the refresh window; differs by machine
	Folder  string // of lock and call records; empty: neither is kept
	Caller  Caller // the process that asked
	// Wait bounds how long this process waits for another's mint before it mints for itself.
	Wait time.Duration
	Now     func() time.Time
	// Mint requests a new token. It is called at most once a Get, and only it loads the bootstrap credential.
	Mint func(context.Context) (mint.Grant, error)
	// Accepted asks the API server whether a token is good. An error means that it could not be asked.
	Accepted func(context.Context, secret.String) (bool, error)
	// Warn says what went wrong without keeping the answer from the client.
	Warn func(error)
	// Kinds are the errors that a remembered failure still wraps when it is given to the next caller; at most 64.
	Kinds []error
	// Debug says what is being done.
	Debug func(message string, details ...any)
}

// Answer is a token and until when the client may use it without asking again. Expires is earlier than the token's
// true expiry, because clients compare without leeway.
type Answer struct {
	Token   secret.String
	Expires time.Time
	Minted  bool // in this call
}

// state of an entry at a time.
type state int

const (
	absent state = iota // nothing there, or nothing that may be used
	stale               // good, but to be replaced
	fresh
)

// Get returns the stored token or a new one.
func (c *Cache) Get(ctx context.Context) (Answer, error) {
	entry, readErr := c.read(ctx)
	calls := openCalls(c.Folder, c.Key, c.Kinds)
	defer calls.close()

	state := c.state(entry)
	if state != absent && c.refused(ctx, calls, entry) {
		c.Debug("the API server refuses the stored token")
		return c.await(ctx, calls, entry.Token)
	}
	switch state {
	case fresh:
		return c.answer(calls, entry), nil
	case stale:
		return c.refresh(ctx, calls, entry)
	}
	if readErr != nil && !errors.Is(readErr, keyring.ErrNotFound) {
		c.Warn(fmt.Errorf("reading the cached token: %w", readErr))
	}
	return c.await(ctx, calls, secret.String{})
}

// read gets the entry; one that cannot be read is as good as absent.
func (c *Cache) read(ctx context.Context) (keyring.Entry, error) {
	entry, err := c.Store.Get(ctx, c.Key)
	c.Debug("read the store", "store", c.Store.Kind(), "found", err == nil)
	return entry, err
}

func (c *Cache) state(entry keyring.Entry) state {
	now := c.Now()
	switch {
	case entry.Token.Empty(), !now.Before(hardExpiry(entry)):
		return absent
	case entry.IssuedAt.After(now.Add(clockTolerance)):
		// The clock was set back since, so the stored times say nothing. The token itself may well be good.
		return stale
	case !now.Before(refreshAt(entry, c.Machine)):
		return stale
	}
	return fresh
}

// refresh replaces a stale token. Whoever gets the lock without waiting mints; all others, and those whose mint fails,
// answer with the token that is still good.
func (c *Cache) refresh(ctx context.Context, calls *calls, entry keyring.Entry) (Answer, error) {
	lock := c.lock()
	defer lock.release()
	if !lock.tryExclusive() {
		c.Debug("another process replaces the token")
		return c.answer(calls, entry), nil
	}
	if newer, err := c.read(ctx); err == nil && c.state(newer) == fresh {
		return c.answer(calls, newer), nil
	}
	if _, failed := calls.failure(c.Caller, c.Now(), time.Time{}); failed {
		return c.answer(calls, entry), nil
	}
	minted, err := c.mint(ctx, calls)
	if err != nil {
		c.Debug("minting failed, the stored token is still good", "error", err)
		return c.answer(calls, entry), nil
	}
	return minted, nil
}

// await answers when no stored token can be used. It waits for the lock, looks again and mints. A stored token that
// equals refused is passed over; every other one is newer.
func (c *Cache) await(ctx context.Context, calls *calls, refused secret.String) (Answer, error) {
	began := c.Now()
	if err, failed := calls.failure(c.Caller, began, time.Time{}); failed {
		return Answer{}, err
	}
	lock := c.lock()
	defer lock.release()
	usable := func() (keyring.Entry, bool) {
		entry, err := c.read(ctx)
		return entry, err == nil && c.state(entry) != absent && entry.Token != refused
	}
	for deadline := time.Now().Add(c.Wait); !lock.tryExclusive(); {
		if !lock.awaitHolder(ctx, time.Until(deadline)) {
			c.Debug("the lock's holder takes too long; going on without it")
			break
		}
		// The holder is done: its token serves everyone who waited, without another turn for each at the lock.
		if entry, ok := usable(); ok {
			return c.answer(calls, entry), nil
		}
		if err, failed := calls.failure(c.Caller, c.Now(), began); failed {
			return Answer{}, err
		}
	}
	if entry, ok := usable(); ok {
		return c.answer(calls, entry), nil
	}
	return c.mint(ctx, calls)
}

// refused reports whether the API server no longer accepts a token that is good by its times. It is asked only when a
// client repeats itself: client-go runs the plugin again before the reported expiry only after a 401.
func (c *Cache) refused(ctx context.Context, calls *calls, entry keyring.Entry) bool {
	if !calls.suspicious(c.Caller, entry.Token, c.Now()) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	accepted, err := c.Accepted(ctx, entry.Token)
	c.Debug("checked the token with the API server", "accepted", accepted, "error", err)
	if err == nil && !accepted {
		return true
	}
	// Also when it could not be asked: a server that hangs must not hold up every repeat.
	calls.checked(c.Caller, entry.Token, c.Now())
	return false
}

// mint requests a token, stores it and answers with it. A store that fails costs a warning, never the answer.
func (c *Cache) mint(ctx context.Context, calls *calls) (Answer, error) {
	grant, err := c.Mint(ctx)
	if err != nil {
		calls.rememberFailure(c.Caller, c.Now(), err)
		return Answer{}, err
	}
	calls.forgetFailure()
	c.Debug("minted a token", "expires", grant.ExpiresAt, "skew", grant.Skew)
	entry := keyring.Entry{Token: grant.Token, IssuedAt: grant.IssuedAt, ExpiresAt: grant.ExpiresAt}
	if err := c.Store.Set(ctx, c.Key, entry); err != nil {
		c.Warn(fmt.Errorf("token not cached: %w", err))
	}
	answer := c.answer(calls, entry)
	answer.Minted = true
	calls.checked(c.Caller, entry.Token, c.Now()) // its issuer has just vouched for it
	return answer, nil
}

// answer reports the token and remembers that this caller has got it.
func (c *Cache) answer(calls *calls, entry keyring.Entry) Answer {
	answer := Answer{Token: entry.Token, Expires: c.reportedExpiry(entry)}
	calls.answered(c.Caller, entry.Token, answer.Expires)
	return answer
}

// reportedExpiry is when the token turns stale. A token that is stale already is reported for a few seconds more, so
// that a client with many requests does not run the plugin for each of them.
func (c *Cache) reportedExpiry(entry keyring.Entry) time.Time {
	if c.state(entry) == fresh {
		return refreshAt(entry, c.Machine)
	}
	reported := c.Now().Add(staleRetry)
	if latest := hardExpiry(entry); reported.After(latest) {
		return latest
	}
	return reported
}
