package bootstrap

import (
	"context"
	"errors"
	"fmt"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

// fromStore reads the bootstrap service account's own token.
func fromStore(ctx context.Context, p profile.Profile, system System) (secret.String, error) {
	entry, err := system.Store.Get(ctx, p.BootstrapKey())
	switch {
	case errors.Is(err, keyring.ErrNotFound):
		return secret.String{}, fmt.Errorf("%w for profile %q", ErrMissing, p.Name)
	case err != nil:
		return secret.String{}, fmt.Errorf("reading the bootstrap credential: %w", err)
	case !system.Now().Before(entry.ExpiresAt):
		return secret.String{}, fmt.Errorf("%w for profile %q", ErrExpired, p.Name)
	}
	return entry.Token, nil
}

// RenewalDue reports whether half of the stored bootstrap credential's life is over. It is false where there is none
// that could renew itself.
func RenewalDue(ctx context.Context, p profile.Profile, system System) bool {
	if p.Bootstrap.Source != profile.SourceKeyring {
		return false
	}
	entry, err := system.Store.Get(ctx, p.BootstrapKey())
	if err != nil {
		return false
	}
	half := entry.ExpiresAt.Sub(entry.IssuedAt) / 2
	return system.Now().After(entry.IssuedAt.Add(half))
}
