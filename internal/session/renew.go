package session

import (
	"context"
	"errors"
	"fmt"

	"github.com/sa-exec-credential/sa-exec-credential/internal/bootstrap"
	"github.com/sa-exec-credential/sa-exec-credential/internal/cache"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// Renew replaces the bootstrap credential and the token where they are due, so that neither has to
// be by whoever needs a token next. Where nothing is kept, nothing is due.
func (s *Session) Renew(ctx context.Context) error {
	if s.Store.Kind() == keyring.None {
		return nil
	}
	err := s.renewBootstrap(ctx)
	if err != nil && (s.Profile.Recovery == nil || !s.isRecoverable(err)) {
		return err
	}
	tokens := s.cache()
	tokens.Caller = cache.Caller{PID: -1} // what fails is remembered for nobody who asks
	return tokens.Renew(ctx, err != nil)  // a mint recovers what is gone
}

// renewBootstrap replaces the bootstrap credential with one that it requests for itself, when half
// of its life is over.
func (s *Session) renewBootstrap(ctx context.Context) error {
	if s.Profile.Bootstrap.Source != profile.SourceKeyring {
		return nil
	}
	credential, err := bootstrap.Find(ctx, s.Profile, s.System())
	if err != nil || !credential.RenewalDue {
		return err
	}
	var grant mint.Grant
	_, err = s.call(ctx, credential.Config, func(ctx context.Context,
		client *mint.Client) (err error) {
		grant, err = client.Mint(ctx, s.BootstrapRequest())
		return err
	})
	err = s.keepRenewed(ctx, grant, ClassifyMintError(err))
	if errors.Is(err, ErrAccountGone) {
		err = ErrDeviceGone // its account is the device's
	}
	if err != nil {
		return fmt.Errorf("renewing the bootstrap credential: %w", err)
	}
	return nil
}
