// Package cache answers with a token that is good: the stored one while it is fresh, else a new
// one, minted once however many processes ask at the same time.
//
// It wraps a minter that it knows only as a function. Of this module it imports internal/keyring and
// internal/secret; it knows nothing of profiles, kubeconfigs or the API server.
package cache

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

// Times of the way of a get.
const (
	// checkLimit bounds the question whether a token is still accepted. The answer can wait;
	// the client cannot.
	checkLimit = 3 * time.Second
	// staleRetry is how long a client is told to use a stale token that could not be
	// replaced, or that another process is replacing, before it asks again.
	staleRetry = 10 * time.Second
	// refreshPause is how long nobody tries to replace a stale token after that has failed:
	// it may take as long as a server that hangs, and the token is still good.
	refreshPause = 30 * time.Second
	// patience is how long a store may take to fail without being one that hangs, or that
	// waits for a person.
	patience = time.Second
	// crowdLimit is how long the store behind is left alone for another process's sake. It
	// may have a token that is good.
	crowdLimit = 3 * time.Second
	// margin is kept before the true expiry, so that a token does not die on its way to the
	// server.
	margin = 5 * time.Second
	// clockTolerance is how far a token may have been issued in the future before the clock
	// must have jumped.
	clockTolerance = 5 * time.Second
)

// Cache is one profile's token. Its fields are set once, before the first call, unless it says
// otherwise.
type Cache struct {
	Store keyring.Store
	// Key is that of the token in the store. Mint may change it, and the new token is kept
	// under the new one.
	Key     string
	Machine string // decides the jitter of the refresh window; differs by machine
	Dir     string // of lock and call records; empty: neither is kept
	Caller  Caller // the process that asked
	// Interactive says that a person asks, not a client: a mint that failed a moment ago is
	// then tried again.
	Interactive bool
	// Wait is the longest that another process's mint may take. One that takes longer is
	// given up.
	Wait time.Duration
	Now  func() time.Time
	// Mint requests a new token. It is called at most once a Get, and only it loads the
	// bootstrap credential.
	Mint mintFunc
	// Refresh is Mint while the stored token is still good, and may do less to get another.
	// Nil: Mint.
	Refresh mintFunc
	// Valid asks the API server whether a token is good. An error means that it could not be
	// asked.
	Valid func(context.Context, secret.String) (bool, error)
	// Warn is told what went wrong without keeping the answer from the client. It is
	// remembered in any case: see Warning.
	Warn func(error)
	// IsShared reports whether a failed mint would have failed for every process, and not
	// only for the one that tried.
	IsShared func(error) bool
	// Way is what beside the key decides how a mint goes, such as a proxy. Processes of
	// different ways share tokens, but no lock and no failure: somebody else may have chosen
	// the other way.
	Way string
	// Kinds are the errors that a remembered failure still wraps when it is given to the next
	// caller; at most 64.
	Kinds []error
	// Debug says what is being done.
	Debug func(message string, details ...any)

	warnings []error // of this call
}

// Remember is Warn, of something that went wrong in Mint, Refresh or Valid.
func (c *Cache) Remember(problem error) { c.warn(problem) }

// warn remembers until the answer is there.
func (c *Cache) warn(problem error) {
	c.warnings = append(c.warnings, problem)
	c.Warn(problem)
}

type mintFunc = func(context.Context) (keyring.Entry, error)

// Answer is a token and until when the client may use it without asking again. Expires is earlier
// than the token's true expiry, because clients compare without leeway.
type Answer struct {
	Token   secret.String
	Expires time.Time
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
	calls := openCallLog(c.Dir, wayName(c.Key, c.Way), c.Kinds)
	defer calls.close()
	c.warnings = nil
	answer, err := c.get(ctx, calls)
	if err == nil {
		calls.noteWarnings(c.warnings, c.Now())
	}
	return answer, err
}

// Hit is Get as far as that needs neither a lock nor a server: a token that is fresh, for a caller
// that has not been told of it before its time. Where it finds none it has changed nothing, and Get
// says the rest. Of the fields that are functions it needs Now and Debug alone.
func (c *Cache) Hit(ctx context.Context) (answer Answer, found bool) {
	calls := openCallLog(c.Dir, wayName(c.Key, c.Way), c.Kinds)
	defer calls.close()
	if err, failed := c.failedBefore(calls, time.Time{}); failed && storeHung(err) {
		return Answer{}, false
	}
	entry, err := c.read(ctx)
	if err != nil || c.state(entry) != fresh ||
		calls.isRepeat(c.Caller, entry.Token, c.Now()) {
		return Answer{}, false
	}
	calls.noteWarnings(nil, c.Now())
	return c.answer(calls, entry), true
}

// Miss is Get as far as that needs one request and no wait: no token is fresh, nobody else mints
// one, and nothing has gone wrong before. Where it is not found, nothing is remembered of it, and
// Get says the rest. Of the fields that are functions it needs Now, Mint and Debug alone.
func (c *Cache) Miss(ctx context.Context) (answer Answer, found bool) {
	calls := openCallLog(c.Dir, wayName(c.Key, c.Way), c.Kinds)
	defer calls.close()
	lock := c.lock()
	defer lock.release()
	if _, hasFailed := calls.readFailure(); hasFailed || !lock.tryExclusive() {
		return Answer{}, false
	}
	stored, err := c.lookUp(ctx, calls)
	state := c.state(stored)
	if err != nil || state != absent && calls.isRepeat(c.Caller, stored.Token, c.Now()) {
		return Answer{}, false
	}
	if state == fresh { // by whoever had the lock a moment ago
		return c.answer(calls, stored), true
	}
	minted, err := c.Mint(ctx)
	if err != nil || c.Store.Set(ctx, c.Key, minted) != nil {
		return Answer{}, false
	}
	calls.noteStored()
	calls.noteWarnings(nil, c.Now())
	return c.minted(calls, minted, secret.String{}), true
}

func (c *Cache) get(ctx context.Context, calls *callLog) (Answer, error) {
	if err, failed := c.failedBefore(calls, time.Time{}); failed && storeHung(err) {
		// the store would be waited for as long again, or a person asked again
		return Answer{}, err
	}
	c.letMint(ctx)
	before, known := calls.stored()
	entry, err := c.lookUp(ctx, calls)
	if err != nil {
		return c.withoutStore(ctx, calls, err)
	}
	state := c.state(entry)
	if state != absent && c.refused(ctx, calls, entry) {
		c.Debug("the API server refuses the stored token")
		// the question took its time: look again in any case
		return c.await(ctx, calls, entry.Token, snapshot{})
	}
	switch state {
	case fresh:
		return c.answer(calls, entry), nil
	case stale:
		return c.refresh(ctx, calls, entry)
	}
	return c.await(ctx, calls, secret.String{}, snapshot{before, known})
}

// letMint waits while another process mints what memory lacks: a crowd that asks a daemon for what
// cannot be there keeps it from answering the one that needs it.
func (c *Cache) letMint(ctx context.Context) {
	if works, has := keyring.AskFront(ctx, c.Store, c.Key); !works || has {
		return
	}
	lock := c.lock()
	defer lock.release()
	if !lock.tryExclusive() {
		c.Debug("another process mints")
		_, _ = lock.awaitHolder(ctx, crowdLimit)
	}
}

// snapshot is the count of stored tokens before the store was read. While it has not grown, reading
// again finds the same.
type snapshot struct {
	stored uint64
	known  bool
}

func (s snapshot) unchanged(calls *callLog) bool {
	now, known := calls.stored()
	return s.known && known && now == s.stored
}

// withoutStore mints when the store fails. Nothing can be shared then, so nobody waits for anybody.
func (c *Cache) withoutStore(ctx context.Context, calls *callLog, problem error) (Answer, error) {
	if err, failed := c.failedBefore(calls, time.Time{}); failed {
		return Answer{}, err
	}
	entry, err := c.request(ctx, calls, c.Mint)
	if err != nil {
		return Answer{}, err
	}
	c.warn(fmt.Errorf("token not cached: %w", problem))
	return c.minted(calls, entry, secret.String{}), nil
}

// lookUp is read for who can do without the store while there is something in front of it, which
// keeps and shares a token all the same.
func (c *Cache) lookUp(ctx context.Context, calls *callLog) (keyring.Entry, error) {
	began := c.Now()
	entry, err := c.read(ctx)
	if err == nil || errors.Is(err, keyring.ErrNotFound) {
		return entry, nil
	}
	calls.hung = c.Now().Sub(began) >= patience
	if works, _ := keyring.AskFront(ctx, c.Store, c.Key); works {
		c.Debug("the store fails", "error", err)
		return keyring.Entry{}, nil
	}
	return keyring.Entry{}, err
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
		// The clock was set back since, so the stored times say nothing. The token itself
		// may well be good.
		return stale
	case !now.Before(refreshAt(entry, c.Machine)):
		return stale
	}
	return fresh
}

// refresh replaces a stale token. Whoever gets the lock without waiting mints; all others, and
// those whose mint fails, answer with the token that is still good.
func (c *Cache) refresh(ctx context.Context, calls *callLog, entry keyring.Entry) (Answer, error) {
	if calls.failedSince(c.Now().Add(-refreshPause), c.Now()) {
		c.Debug("replacing the token has just failed")
		return c.answer(calls, entry), nil
	}
	lock := c.lock()
	defer lock.release()
	if !lock.tryExclusive() {
		c.Debug("another process replaces the token")
		return c.answer(calls, entry), nil
	}
	if newer, err := c.read(ctx); err == nil && c.state(newer) == fresh {
		return c.answer(calls, newer), nil
	}
	again := c.Mint
	if c.Refresh != nil {
		again = c.Refresh
	}
	minted, err := c.mint(ctx, calls, again, secret.String{})
	if err != nil {
		c.Debug("minting failed, the stored token is still good", "error", err)
		return c.answer(calls, entry), nil
	}
	return minted, nil
}

// await answers when no stored token can be used. It waits for the lock, looks again and mints. A
// stored token that equals refused is passed over; every other one is newer.
func (c *Cache) await(ctx context.Context, calls *callLog, refused secret.String,
	seen snapshot) (Answer, error) {
	began := c.Now()
	if err, failed := c.failedBefore(calls, time.Time{}); failed {
		return Answer{}, err
	}
	lock := c.lock()
	defer lock.release()
	for deadline := time.Now().Add(2 * c.Wait); !lock.tryExclusive(); {
		limit := min(c.Wait, time.Until(deadline))
		freed, err := lock.awaitHolder(ctx, limit)
		if ctx.Err() != nil {
			return Answer{}, fmt.Errorf("waiting for another process's token: %w",
				ctx.Err())
		}
		if err != nil || !freed && (limit < c.Wait || !lock.abandonHolder()) {
			c.Debug("the lock's holder takes too long, or cannot be waited for; "+
				"going on without it", "error", err)
			break
		}
		// The holder is done: its outcome serves everyone who waited, without another
		// turn for each at the lock.
		if answer, err, done := c.outcome(ctx, calls, refused, began); done {
			return answer, err
		}
	}
	if !seen.unchanged(calls) {
		if answer, err, done := c.outcome(ctx, calls, refused, began); done {
			return answer, err
		}
	} else if err, failed := c.failedBefore(calls, began); failed {
		return Answer{}, err
	}
	return c.mint(ctx, calls, c.Mint, refused)
}

// outcome is what came of another process's mint since began, when it is done.
func (c *Cache) outcome(ctx context.Context, calls *callLog, refused secret.String,
	began time.Time) (Answer, error, bool) {
	if entry, ok := c.usable(ctx, refused); ok {
		return c.answer(calls, entry), nil, true
	}
	err, failed := c.failedBefore(calls, began)
	return Answer{}, err, failed
}

// usable returns the stored token if it is good and not the one that the API server refuses.
func (c *Cache) usable(ctx context.Context, refused secret.String) (keyring.Entry, bool) {
	entry, err := c.read(ctx)
	return entry, err == nil && c.state(entry) != absent && entry.Token != refused
}

// failedBefore returns the error of a mint that this caller asked for a moment ago, or anybody
// after the time since.
func (c *Cache) failedBefore(calls *callLog, since time.Time) (error, bool) {
	caller := c.Caller
	if c.Interactive {
		caller = Caller{} // nobody's
	}
	return calls.failure(caller, c.Now(), since)
}

// refused reports whether the API server no longer accepts a token that is good by its times. It is
// asked only when a client repeats itself: client-go runs the plugin again before the reported
// expiry only after a 401.
func (c *Cache) refused(ctx context.Context, calls *callLog, entry keyring.Entry) bool {
	if !calls.isRepeat(c.Caller, entry.Token, c.Now()) {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	accepted, err := c.Valid(ctx, entry.Token)
	c.Debug("checked the token with the API server", "accepted", accepted, "error", err)
	if err == nil && !accepted {
		return true
	}
	// Also when it could not be asked: a server that hangs must not hold up every repeat.
	calls.markValid(c.Caller, entry.Token, c.Now(), true)
	return false
}

// mint requests a token, stores it and answers with it. A store that fails costs a warning, never
// the answer.
func (c *Cache) mint(ctx context.Context, calls *callLog, try mintFunc,
	refused secret.String) (Answer, error) {
	entry, err := c.request(ctx, calls, try)
	if err != nil {
		return Answer{}, err
	}
	if err := c.Store.Set(ctx, c.Key, entry); err != nil {
		c.warn(fmt.Errorf("token not cached: %w", err))
	}
	calls.noteStored()
	return c.minted(calls, entry, refused), nil
}

// request mints, and remembers when that fails. A mint that was cancelled says nothing about the
// next one.
func (c *Cache) request(ctx context.Context, calls *callLog,
	try mintFunc) (keyring.Entry, error) {
	entry, err := try(ctx)
	switch {
	case err == nil:
		c.Debug("minted a token", "expires", entry.ExpiresAt)
		calls.forgetFailure()
	case ctx.Err() == nil:
		calls.rememberFailure(c.Caller, c.Now(), err, c.IsShared(err))
	}
	return entry, err
}

// minted answers with a new token. Its issuer has just vouched for it.
func (c *Cache) minted(calls *callLog, entry keyring.Entry, refused secret.String) Answer {
	answer := c.answer(calls, entry)
	calls.markValid(c.Caller, entry.Token, c.Now(), !refused.Empty())
	return answer
}

// answer reports the token and remembers that this caller has got it.
func (c *Cache) answer(calls *callLog, entry keyring.Entry) Answer {
	answer := Answer{Token: entry.Token, Expires: c.reportedExpiry(entry)}
	calls.answered(c.Caller, entry.Token, answer.Expires)
	return answer
}

// reportedExpiry is when the token turns stale. A token that is stale already is reported for a few
// seconds more, so that a client with many requests does not run the plugin for each of them.
// Clients are told whole seconds.
func (c *Cache) reportedExpiry(entry keyring.Entry) time.Time {
	if c.state(entry) == fresh {
		return refreshAt(entry, c.Machine)
	}
	reported := c.Now().Add(staleRetry)
	if latest := hardExpiry(entry); reported.After(latest) {
		reported = latest
	}
	return reported.Truncate(time.Second)
}
