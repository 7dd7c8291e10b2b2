package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/client-go/rest"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/bootstrap"
	"github.com/sa-exec-credential/sa-exec-credential/internal/cluster"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// Mint requests a token with the bootstrap credential, and renews that one when half its life is
// over.
func (s *Session) Mint(ctx context.Context) (mint.Grant, error) {
	grant, err := s.mintWithBootstrap(ctx)
	if err != nil {
		return mint.Grant{}, fmt.Errorf("minting token for %q: %w", s.Profile.Account(),
			err)
	}
	return grant, nil
}

func (s *Session) mintWithBootstrap(ctx context.Context) (mint.Grant, error) {
	if grant, found, err := s.MountedGrant(); found || err != nil {
		return grant, err
	}
	credential, err := s.credential(ctx)
	if err != nil {
		return mint.Grant{}, err
	}
	var grant mint.Grant
	request := func(ctx context.Context, client *mint.Client) (err error) {
		grant, err = client.Mint(ctx, s.TokenRequest())
		return err
	}
	client, err := s.call(ctx, credential.Config, request)
	if err != nil {
		return mint.Grant{}, s.ClassifyMintError(err)
	}
	s.noteToken(eventMinted, grant.Token, grant.ExpiresAt)
	if credential.RenewalDue {
		s.renew(ctx, client)
	}
	return grant, nil
}

// credential is what authenticates a request for a token: the bootstrap credential, which acts as
// the device where the profile says so.
func (s *Session) credential(ctx context.Context) (bootstrap.Credential, error) {
	found, err := bootstrap.Find(ctx, s.Profile, s.System())
	if err == nil {
		found.Config = s.Acting(found.Config)
	}
	return found, err
}

// Acting is how the bootstrap credential mints. A context that acts as somebody else already keeps
// that.
func (s *Session) Acting(config *rest.Config) *rest.Config {
	if s.ActsAs() == "" || config.Impersonate.UserName != "" {
		return config
	}
	acting := rest.CopyConfig(config)
	acting.Impersonate = rest.ImpersonationConfig{UserName: s.ActsAs()}
	return acting
}

// ActsAs is whom the bootstrap credential acts as; empty: nobody else.
func (s *Session) ActsAs() string {
	if !s.Profile.Bootstrap.AsDevice || s.Device == nil {
		return ""
	}
	return cluster.ActingUser(s.Profile.Namespace, s.Device.Name)
}

// MountedGrant is the token of the pod itself, when that is for the very account and audience that
// the profile is for: it was minted by kubelet, is bound to the pod and is replaced in good time,
// and a pod can rarely mint for itself.
func (s *Session) MountedGrant() (grant mint.Grant, found bool, err error) {
	p := s.Profile
	if p.Bootstrap.Source != profile.SourceInCluster || len(p.Audiences) > 0 {
		return mint.Grant{}, false, nil
	}
	token, err := bootstrap.Mounted(s.System())
	if err != nil {
		return mint.Grant{}, false, err
	}
	claims := mint.ParseClaims(token.Reveal())
	now := s.Host.Now()
	if claims.Subject != mint.Username(p.Namespace, p.ServiceAccount) ||
		claims.ExpiresAt.IsZero() {
		return mint.Grant{}, false, nil
	}
	if !claims.ExpiresAt.After(now) {
		return mint.Grant{}, false, fmt.Errorf("%w: the mounted token",
			bootstrap.ErrExpired)
	}
	// Its exp may be a year ahead (service-account-extend-token-expiration) while kubelet
	// replaces it every hour.
	expires := now.Add(p.Duration.Duration)
	if claims.ExpiresAt.Before(expires) {
		expires = claims.ExpiresAt
	}
	return mint.Grant{Token: token, IssuedAt: now, ExpiresAt: expires}, true, nil
}

// ClassifyMintError is the function of that name, for whoever acts as a device to mint, and for
// jobs.
func (s *Session) ClassifyMintError(err error) error {
	if s.Profile.Bootstrap.IsJob() && errors.Is(err, api.ErrUnauthorized) {
		return ErrJobRefused
	}
	isRBAC := errors.Is(err, api.ErrForbidden) && !errors.Is(err, api.ErrAdmission)
	if s.ActsAs() != "" && isRBAC {
		return fmt.Errorf("%w: %w", ErrNotMinter, err)
	}
	return ClassifyMintError(err)
}

// ClassifyMintError says what an answer to a TokenRequest tells about the profile.
func ClassifyMintError(err error) error {
	switch {
	case errors.Is(err, api.ErrUnauthorized):
		return ErrBootstrapRefused
	case errors.Is(err, api.ErrNotFound) && isAboutDevice(err):
		return ErrDeviceGone
	case errors.Is(err, api.ErrNotFound):
		return ErrAccountGone
	case errors.Is(err, api.ErrConflict):
		return ErrDeviceGone
	}
	return err
}

// isAboutDevice reports whether the answer is about the Secret that tokens are bound to.
func isAboutDevice(err error) bool {
	var status *api.StatusError
	return errors.As(err, &status) && status.Resource == "secrets"
}

// renewLimit bounds the renewal of the bootstrap credential: the token is there already, and its
// user waits.
const renewLimit = 3 * time.Second

// renew replaces the bootstrap credential with a new one that it requests for itself. Failing costs
// nothing yet: the old one has half its life left, and every later mint tries again.
func (s *Session) renew(ctx context.Context, client *mint.Client) {
	limited, cancel := context.WithTimeout(ctx, renewLimit)
	defer cancel()
	grant, err := client.Mint(limited, s.BootstrapRequest())
	s.Host.Log.Debug("renewed the bootstrap credential", "error",
		s.keepRenewed(ctx, grant, err))
}

// keepRenewed keeps a bootstrap credential that was requested with the one before it, unless the
// request has failed with err, and logs what came of it.
func (s *Session) keepRenewed(ctx context.Context, grant mint.Grant, err error) error {
	if err == nil {
		err = s.keep(ctx, s.BootstrapKey(), grant)
	}
	if err != nil {
		s.noteFailure(eventRenewFailed, err)
		return err
	}
	s.noteToken(eventRenewed, grant.Token, grant.ExpiresAt)
	return nil
}

// BootstrapRequest is for the device itself.
func (s *Session) BootstrapRequest() mint.Request {
	p := s.Profile
	return mint.Request{Namespace: p.Namespace, ServiceAccount: s.Device.Name,
		Duration: p.Bootstrap.Duration.Duration, Bound: s.BoundTo()}
}
