// Package session is one profile for the time of one command: its device, its store, the cache
// around them, and what a command does with these: get, mint, recover, forget, and say how it is.
//
// It knows nothing of flags, kubeconfig contexts or exit codes, and prints nothing but warnings.
package session

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"syscall"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/bootstrap"
	"github.com/sa-exec-credential/sa-exec-credential/internal/cache"
	"github.com/sa-exec-credential/sa-exec-credential/internal/call"
	"github.com/sa-exec-credential/sa-exec-credential/internal/eventlog"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kuberc"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// What the API server's answers mean for a profile.
var (
	ErrBootstrapRefused = errors.New("the API server refused the bootstrap credential")
	// ErrJobRefused is an ErrBootstrapRefused, of a job of a CI system.
	ErrJobRefused  = fmt.Errorf("%w: the job's ID token", ErrBootstrapRefused)
	ErrAccountGone = errors.New("service account not found")
	ErrDeviceGone  = errors.New("the device is not the one that setup created")
	// also an api.ErrForbidden
	ErrNotMinter = errors.New("what the bootstrap source gives may not act as the device")
)

// Session is a call that an API server can be asked for.
type Session struct {
	call.Call

	// Noted is when the bootstrap token expires that the device says was requested last; zero:
	// it has to be noted.
	Noted time.Time

	// warn is told when the profile's log fails; nil: standard error is.
	warn func(error)
}

// Load reads a profile and its device, and opens its store, which does no I/O yet.
func Load(ctx context.Context, h *host.Host, name string) (*Session, error) {
	return of(call.Load(ctx, h, name))
}

// Open is Load for a profile that has been read.
func Open(ctx context.Context, h *host.Host, p profile.Profile) (*Session, error) {
	return of(call.Open(ctx, h, p))
}

// With is Open for a device that is not in the record, or not yet.
func With(ctx context.Context, h *host.Host, p profile.Profile, d *profile.Device) (*Session,
	error) {
	return of(call.With(ctx, h, p, d))
}

func of(c *call.Call, err error) (*Session, error) {
	if err != nil {
		return nil, err
	}
	return &Session{Call: *c}, nil
}

// Token is the profile's token, from the store or minted. interactive says that a person asks, and
// not a client: then a mint that failed a moment ago is tried again, and what went wrong without
// keeping the token back is said at once. Otherwise it is remembered.
func (s *Session) Token(ctx context.Context, interactive bool) (cache.Answer, error) {
	tokens := s.cache()
	tokens.Interactive = interactive
	if !interactive && !s.Host.Log.Verbose {
		// Clients put standard error before whoever uses them, and some into the answer.
		tokens.Warn = func(error) {}
	}
	return tokens.Get(ctx)
}

func (s *Session) cache() *cache.Cache {
	tokens := s.Cache()
	tokens.Store = call.Current{Store: s.Store, Call: &s.Call}
	tokens.Wait = s.lockWait()
	tokens.Refresh = s.noting(s.Mint)
	tokens.Valid = s.stillGood
	tokens.Warn = s.Host.Log.Warn
	tokens.IsShared = s.isShared
	tokens.Kinds = failureKinds()
	tokens.Mint = s.noting(func(ctx context.Context) (mint.Grant, error) {
		grant, err := s.mintOrRecover(ctx)
		tokens.Key = s.TokenKey() // another one in a cluster that was rebuilt
		return grant, err
	})
	s.warn = tokens.Remember
	return tokens
}

// LastWarning is what went wrong in the last call that was answered all the same, nil when
// nothing did.
func (s *Session) LastWarning() *Warning {
	now := s.Host.Now()
	at, problem := cache.Warning(s.Host.RuntimeDir(), s.TokenKey(), failureKinds(), now)
	if problem == nil {
		return nil
	}
	return &Warning{Text: ui.Printable(problem.Error()), At: at.UTC().Truncate(time.Second),
		Err: problem}
}

// failureKinds are the errors of a mint that are still told apart after one process has left them
// to another.
func failureKinds() []error {
	return []error{ErrJobRefused, ErrBootstrapRefused, ErrAccountGone, ErrDeviceGone,
		ErrNotMinter, bootstrap.ErrNoJob, bootstrap.ErrJobOver, bootstrap.ErrElsewhere,
		bootstrap.ErrMissing, bootstrap.ErrExpired, bootstrap.ErrSource,
		bootstrap.ErrIssuer, kuberc.ErrDenied,
		keyring.ErrLocked, keyring.ErrTimeout, keyring.ErrNoBus, keyring.ErrRefused,
		keyring.ErrUnavailable, keyring.ErrTooBig, keyring.ErrQuota, keyring.ErrSealing,
		keyring.ErrNotAllowed,
		api.ErrCredential, api.ErrAdmission, api.ErrForbidden, api.ErrUnauthorized,
		api.ErrThrottled,
		api.ErrTLS, api.ErrTimeout, api.ErrUnreachable, api.ErrServer, api.ErrAnswer,
		api.ErrNotFound,
		api.ErrConflict, api.ErrInvalid, syscall.EMFILE, eventlog.ErrWrite}
}

// lockWait is how long the lock's holder may need at the most, and a little more; only then others
// mint as well.
func (s *Session) lockWait() time.Duration {
	limit := mint.Deadline + time.Second
	if s.Profile.Store == keyring.Sealed {
		limit += keyring.SealedLimit
	}
	switch s.Profile.Bootstrap.Source {
	case profile.SourceCommand, profile.SourceContext:
		limit += bootstrap.CommandLimit
	case profile.SourceGitHub, profile.SourceAzure:
		limit += bootstrap.JobLimit
	}
	if s.Profile.Recovery != nil {
		limit += recoveryLimit + mint.Deadline
	}
	return limit
}

// isShared reports whether a mint that failed would have failed for other processes too. A
// variable, or the way to the store, may well give another process what this one did not get, and
// another job is another.
func (s *Session) isShared(err error) bool {
	own := []error{keyring.ErrLocked, keyring.ErrTimeout, keyring.ErrUnavailable,
		keyring.ErrQuota,
		syscall.EMFILE, syscall.ENFILE}
	if s.Profile.Bootstrap.IsJob() {
		own = append(own, bootstrap.ErrMissing, bootstrap.ErrExpired, bootstrap.ErrSource,
			ErrBootstrapRefused)
	}
	return s.Profile.Bootstrap.Source != profile.SourceEnv && !api.IsAny(err, own...)
}

// System is what the bootstrap source needs of this session.
func (s *Session) System() bootstrap.System {
	preferences, _ := s.Host.KubercPath() // none without a home, as for kubectl
	return bootstrap.System{Store: s.Store, Key: s.BootstrapKey(), Getenv: s.Host.Getenv,
		Own:    s.Host.Own,
		Now:    s.Host.Now,
		Kuberc: preferences, MountedToken: filepath.Join(s.Host.MountedDir, "token")}
}

// Put stores a token.
func (s *Session) Put(ctx context.Context, key string, grant mint.Grant) error {
	return s.Store.Set(ctx, key, call.Entry(grant))
}

// keep is Put for the record's device. Another process may have replaced it meanwhile, and
// forgotten its entries: then nobody would look for this one, or forget it.
func (s *Session) keep(ctx context.Context, key string, grant mint.Grant) error {
	return call.Current{Store: s.Store, Call: &s.Call}.Set(ctx, key, call.Entry(grant))
}

// Accepts asks the API server whether it still takes a token.
func (s *Session) Accepts(ctx context.Context, token secret.String) (bool, error) {
	config, err := bootstrap.WithToken(s.Profile.Cluster, token)
	if err != nil {
		return false, err
	}
	_, err = s.call(ctx, config, func(ctx context.Context, client *mint.Client) error {
		_, err := client.WhoAmI(ctx)
		return err
	})
	if errors.Is(err, api.ErrUnauthorized) {
		return false, nil
	}
	return err == nil, err
}

// WhoIs asks a cluster whom a token stands for.
func WhoIs(ctx context.Context, h *host.Host, cluster profile.Cluster,
	token secret.String) (mint.User, error) {
	config, err := bootstrap.WithToken(cluster, token)
	if err != nil {
		return mint.User{}, err
	}
	client, err := bootstrap.Minter(config, h.Now)
	if err != nil {
		return mint.User{}, err
	}
	return client.WhoAmI(ctx)
}
