package bootstrap

import (
	"context"
	"errors"
	"fmt"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// fromStore reads the bootstrap service account's own token.
func fromStore(ctx context.Context, p profile.Profile, system System) (Credential, error) {
	entry, err := system.Store.Get(ctx, system.Key)
	switch {
	case errors.Is(err, keyring.ErrUnusable):
		return Credential{}, fmt.Errorf("profile %q: %w", p.Name, Missing(err))
	case errors.Is(err, keyring.ErrNotFound):
		return Credential{}, fmt.Errorf("%w for profile %q", ErrMissing, p.Name)
	case err != nil:
		return Credential{}, fmt.Errorf("reading the bootstrap credential: %w", err)
	case !system.Now().Before(entry.ExpiresAt):
		return Credential{}, fmt.Errorf("%w for profile %q", ErrExpired, p.Name)
	}
	config, err := WithToken(p.Cluster, entry.Token)
	return Credential{Config: config, RenewalDue: entry.IsHalfOver(system.Now())}, err
}

// Missing is an ErrMissing for a store that has nothing to give, with the reason where one is worth
// a word.
func Missing(err error) error {
	if errors.Is(err, keyring.ErrUnusable) {
		return fmt.Errorf("%w: %v", ErrMissing, err)
	}
	return ErrMissing
}
