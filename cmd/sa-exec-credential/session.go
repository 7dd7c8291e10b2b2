package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/bootstrap"
	"github.com/sa-exec-credential/sa-exec-credential/internal/cache"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

// What the API server's answers mean for a profile.
var (
	errBootstrapRefused = errors.New("the API server refused the bootstrap credential")
	errAccountGone      = errors.New("service account not found")
	errDeviceGone       = errors.New("the device Secret is not the one that setup made")
)

// session is one profile with its store, for the time of one command.
type session struct {
	env     *environment
	profile profile.Profile
	store   keyring.Store
}

// load reads a profile and opens its store, which does no I/O yet.
func (e *environment) load(ctx context.Context, name string) (*session, error) {
	folder, err := e.profiles()
	if err != nil {
		return nil, err
	}
	p, err := folder.Load(name)
	if err != nil {
		return nil, err
	}
	return e.open(ctx, p)
}

func (e *environment) open(ctx context.Context, p profile.Profile) (*session, error) {
	store, err := e.store(ctx, p.Store)
	if err != nil {
		return nil, err
	}
	return &session{env: e, profile: p, store: store}, nil
}

// cache is the profile's token, from the store or minted.
func (s *session) cache() *cache.Cache {
	tokens := &cache.Cache{
		Store:        s.store,
		Key:          s.profile.TokenKey(),
		Machine:      s.machine(),
		Folder:       s.env.runtimeFolder(),
		Caller:       s.env.caller(),
		Wait:         s.lockWait(),
		Now:          s.env.now,
		Refresh:      s.mint,
		Accepted:     s.accepted,
		Warn:         s.env.log.warning,
		Common:       s.failsForAll,
		Surroundings: s.env.surroundings(),
		Kinds:        errorKinds(),
		Debug:        s.env.log.debug,
	}
	tokens.Mint = func(ctx context.Context) (mint.Grant, error) {
		grant, err := s.mintOrRecover(ctx)
		tokens.Key = s.profile.TokenKey() // another one in a cluster that was rebuilt
		return grant, err
	}
	return tokens
}

// surroundings are the variables that decide over the way to the bootstrap credential and to the API server; a kubeconfig may
// have set them.
func (e *environment) surroundings() string {
	var settings []string
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "REQUEST_METHOD", "SSL_CERT_FILE", "SSL_CERT_DIR",
		"GODEBUG", bootstrap.WithinVariable} {
		if value, present := e.lookupEnv(name); present {
			settings = append(settings, name+"="+value)
		}
	}
	return strings.Join(settings, "\x00")
}

// machine tells this machine from the others that hold tokens for the same account.
func (s *session) machine() string {
	if s.profile.Device != nil {
		return s.profile.Device.UID
	}
	name, _ := s.env.hostname()
	return name
}

// lockWait is how long the lock's holder may need at the most, and a little more; only then others mint as well.
func (s *session) lockWait() time.Duration {
	limit := mint.Deadline + time.Second
	switch s.profile.Bootstrap.Source {
	case profile.SourceCommand, profile.SourceContext:
		limit += bootstrap.CommandLimit
	}
	if s.profile.Recovery != nil {
		limit += recoveryLimit + mint.Deadline
	}
	return limit
}

// failsForAll reports whether a mint that failed would have failed for other processes too. A variable, or the way to the
// store, may well give another process what this one did not get.
func (s *session) failsForAll(err error) bool {
	own := []error{keyring.ErrLocked, keyring.ErrTimeout, keyring.ErrUnavailable, keyring.ErrQuota, syscall.EMFILE, syscall.ENFILE}
	return s.profile.Bootstrap.Source != profile.SourceEnv &&
		!slices.ContainsFunc(own, func(kind error) bool { return errors.Is(err, kind) })
}

func (s *session) system() bootstrap.System {
	return bootstrap.System{Store: s.store, Getenv: s.env.getenv, Now: s.env.now,
		MountedToken: filepath.Join(s.env.mounted, "token")}
}

// mint requests a token with the bootstrap credential, and renews that one when half its life is over.
func (s *session) mint(ctx context.Context) (mint.Grant, error) {
	grant, err := s.mintWithBootstrap(ctx)
	if err != nil {
		return mint.Grant{}, fmt.Errorf("minting token for %q: %w", s.profile.Account(), err)
	}
	return grant, nil
}

func (s *session) mintWithBootstrap(ctx context.Context) (mint.Grant, error) {
	if grant, found, err := s.mountedGrant(); found || err != nil {
		return grant, err
	}
	credential, err := bootstrap.Find(ctx, s.profile, s.system())
	if err != nil {
		return mint.Grant{}, err
	}
	minter, err := mint.New(credential.Config, s.env.now)
	if err != nil {
		return mint.Grant{}, err
	}
	grant, err := minter.Mint(ctx, tokenRequest(s.profile))
	if err != nil {
		return mint.Grant{}, meaning(err)
	}
	if credential.RenewalDue {
		s.renew(ctx, minter)
	}
	return grant, nil
}

// mountedGrant is the token of the pod itself, when that is for the very account and audience that the profile is for:
// it was minted by kubelet, is bound to the pod and is replaced in good time, and a pod may rarely mint for itself.
func (s *session) mountedGrant() (grant mint.Grant, found bool, err error) {
	p := s.profile
	if p.Bootstrap.Source != profile.SourceInCluster || len(p.Audiences) > 0 {
		return mint.Grant{}, false, nil
	}
	token, err := bootstrap.Mounted(s.system())
	if err != nil {
		return mint.Grant{}, false, err
	}
	claims := mint.ParseClaims(token.Reveal())
	now := s.env.now()
	if claims.Subject != mint.Username(p.Namespace, p.ServiceAccount) || claims.ExpiresAt.IsZero() {
		return mint.Grant{}, false, nil
	}
	if !claims.ExpiresAt.After(now) {
		return mint.Grant{}, false, fmt.Errorf("%w: the mounted token", bootstrap.ErrExpired)
	}
	// Its exp may be a year ahead (service-account-extend-token-expiration) while kubelet replaces it every hour.
	expires := now.Add(p.Duration.Duration)
	if claims.ExpiresAt.Before(expires) {
		expires = claims.ExpiresAt
	}
	return mint.Grant{Token: token, IssuedAt: now, ExpiresAt: expires}, true, nil
}

// meaning says what an answer to a TokenRequest tells about the profile.
func meaning(err error) error {
	switch {
	case errors.Is(err, api.ErrUnauthorized):
		return errBootstrapRefused
	case errors.Is(err, api.ErrNotFound) && aboutDevice(err):
		return errDeviceGone
	case errors.Is(err, api.ErrNotFound):
		return errAccountGone
	case errors.Is(err, api.ErrConflict):
		return errDeviceGone
	}
	return err
}

// aboutDevice reports whether the answer is about the Secret that tokens are bound to.
func aboutDevice(err error) bool {
	var status *api.StatusError
	return errors.As(err, &status) && status.Resource == "secrets"
}

// renewLimit bounds the renewal of the bootstrap credential: the token is there already, and its user waits.
const renewLimit = 3 * time.Second

// renew replaces the bootstrap credential with a new one that it requests for itself. Failing costs nothing yet: the
// old one has half its life left, and every later mint tries again.
func (s *session) renew(ctx context.Context, minter *mint.Minter) {
	limited, cancel := context.WithTimeout(ctx, renewLimit)
	defer cancel()
	grant, err := minter.Mint(limited, bootstrapRequest(s.profile))
	if err == nil {
		err = s.keep(ctx, s.profile.BootstrapKey(), grant)
	}
	s.env.log.debug("renewed the bootstrap credential", "error", err)
}

// keep stores a token.
func (s *session) keep(ctx context.Context, key string, grant mint.Grant) error {
	return s.store.Set(ctx, key, keyring.Entry{Token: grant.Token, IssuedAt: grant.IssuedAt, ExpiresAt: grant.ExpiresAt})
}

func tokenRequest(p profile.Profile) mint.Request {
	return mint.Request{Namespace: p.Namespace, ServiceAccount: p.ServiceAccount, Audiences: p.Audiences,
		Duration: p.Duration.Duration, Bound: boundTo(p)}
}

func bootstrapRequest(p profile.Profile) mint.Request {
	return mint.Request{Namespace: p.Namespace, ServiceAccount: p.BootstrapServiceAccount(),
		Duration: p.Bootstrap.Duration.Duration, Bound: boundTo(p)}
}

func boundTo(p profile.Profile) *mint.Secret {
	if p.Device == nil {
		return nil
	}
	return &mint.Secret{Name: p.Device.Secret, UID: p.Device.UID}
}

// accepted asks the API server whether it still takes a token.
func (s *session) accepted(ctx context.Context, token secret.String) (bool, error) {
	_, err := s.env.whoIs(ctx, s.profile.Cluster, token)
	if errors.Is(err, api.ErrUnauthorized) {
		return false, nil
	}
	return err == nil, err
}
