package cache

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
)

// Renew replaces a token that is not fresh, or any with force, for nobody who waits for it. Unlike
// Get it is an error when that fails though the stored token is still good, or when the new one
// cannot be kept.
func (c *Cache) Renew(ctx context.Context, force bool) error {
	calls := openCallLog(c.Dir, wayName(c.Key, c.Way), c.Kinds)
	defer calls.close()
	c.warnings = nil
	err := c.renew(ctx, calls, force)
	if err == nil && len(c.warnings) > 0 {
		calls.noteWarnings(c.warnings, c.Now())
	}
	return err
}

func (c *Cache) renew(ctx context.Context, calls *callLog, force bool) error {
	before, err := c.read(ctx)
	if err != nil && !errors.Is(err, keyring.ErrNotFound) {
		return err
	}
	if c.state(before) == fresh && !force {
		return nil
	}
	lock := c.lock()
	defer lock.release()
	for deadline := time.Now().Add(c.Wait); !lock.tryExclusive(); {
		if freed, err := lock.awaitHolder(ctx, time.Until(deadline)); err != nil || !freed {
			c.Debug("going on without the lock", "error", err)
			break
		}
	}
	if entry, err := c.read(ctx); err == nil && c.state(entry) == fresh &&
		(!force || entry.Token != before.Token) {
		return nil // another process has been quicker
	}
	entry, err := c.request(ctx, calls, c.Mint)
	if err != nil {
		return err
	}
	if err := c.Store.Set(ctx, c.Key, entry); err != nil {
		return fmt.Errorf("token not cached: %w", err)
	}
	calls.noteStored()
	return nil
}
