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
	"strings"
	"syscall"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/bootstrap"
	"github.com/sa-exec-credential/sa-exec-credential/internal/cache"
	"github.com/sa-exec-credential/sa-exec-credential/internal/device"
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
	ErrAccountGone      = errors.New("service account not found")
	ErrDeviceGone       = errors.New("the device is not the one that setup created")
)

// Session is one profile with its device and its store.
type Session struct {
	host    *host.Host
	Profile profile.Profile
	Device  *profile.Device // nil: tokens are not bound
	Store   keyring.Store

	clientProxy string // proxy-url of the client's cluster; empty: none but the profile's
	// warn is told when the profile's log fails; nil: standard error is.
	warn func(error)
}

// Load reads a profile and its device, and opens its store, which does no I/O yet.
func Load(ctx context.Context, h *host.Host, name string) (*Session, error) {
	profiles, err := h.Profiles()
	if err != nil {
		return nil, err
	}
	p, err := profiles.Load(name)
	if err != nil {
		return nil, err
	}
	return Open(ctx, h, p)
}

// Open is Load for a profile that has been read.
func Open(ctx context.Context, h *host.Host, p profile.Profile) (*Session, error) {
	current, err := deviceOf(h, p)
	if err != nil {
		return nil, err
	}
	return With(ctx, h, p, current)
}

// With is Open for a device that is not in the record, or not yet.
func With(ctx context.Context, h *host.Host, p profile.Profile, d *profile.Device) (*Session,
	error) {
	store, err := h.Store(ctx, p.Store, p.TPM)
	if err != nil {
		return nil, err
	}
	return &Session{host: h, Profile: p, Device: d, Store: store}, nil
}

// deviceOf reads what the profile's tokens are bound to. The record has to be for the profile's own
// account and cluster: a token that is bound to another one's Secret could not be minted.
func deviceOf(h *host.Host, p profile.Profile) (*profile.Device, error) {
	if p.Device == "" {
		return nil, nil
	}
	dir, err := Devices(h)
	if err != nil {
		return nil, err
	}
	record, err := dir.Load(p.Device)
	if err != nil {
		return nil, fmt.Errorf("profile %q: %w", p.Name, err)
	}
	identity, err := p.Identity()
	if err != nil {
		return nil, err
	}
	switch {
	case record.Account() != p.Account():
		err = fmt.Errorf("%w %q: it is for account %q", device.ErrMalformed, p.Device,
			record.Account())
	case record.Cluster != identity:
		err = fmt.Errorf("%w %q: it is for another cluster", device.ErrMalformed, p.Device)
	case record.Current == nil:
		err = fmt.Errorf("%w %q: setup was interrupted before it had a device",
			device.ErrMalformed, p.Device)
	}
	if err != nil {
		return nil, fmt.Errorf("profile %q: %w", p.Name, err)
	}
	return record.Current, nil
}

// Devices is the directory of this machine's device records.
func Devices(h *host.Host) (device.Dir, error) {
	dir, err := h.ConfigDir()
	if err != nil {
		return "", err
	}
	return device.DirIn(dir), nil
}

// TokenKey is the store's key of the token.
func (s *Session) TokenKey() string { return s.Profile.TokenKey(s.Device) }

// BootstrapKey is the store's key of the bootstrap credential.
func (s *Session) BootstrapKey() string { return s.Profile.BootstrapKey(s.Device) }

// Token is the profile's token, from the store or minted. interactive says that a person asks, and
// not a client: then a mint that failed a moment ago is tried again, and what went wrong without
// keeping the token back is said at once. Otherwise it is remembered.
func (s *Session) Token(ctx context.Context, interactive bool) (cache.Answer, error) {
	tokens := s.cache()
	tokens.Interactive = interactive
	if !interactive && !s.host.Log.Verbose {
		// Clients put standard error before whoever uses them, and some into the answer.
		tokens.Warn = func(error) {}
	}
	return tokens.Get(ctx)
}

func (s *Session) cache() *cache.Cache {
	tokens := &cache.Cache{
		Store:    deviceStore{s.Store, s},
		Key:      s.TokenKey(),
		Machine:  s.machine(),
		Dir:      s.host.RuntimeDir(),
		Caller:   s.host.Caller(),
		Wait:     s.lockWait(),
		Now:      s.host.Now,
		Refresh:  s.noting(s.Mint),
		Valid:    s.stillGood,
		Warn:     s.host.Log.Warn,
		IsShared: s.isShared,
		Way:      s.way(),
		Kinds:    failureKinds(),
		Debug:    s.host.Log.Debug,
	}
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
	now := s.host.Now()
	at, problem := cache.Warning(s.host.RuntimeDir(), s.TokenKey(), failureKinds(), now)
	if problem == nil {
		return nil
	}
	return &Warning{Text: ui.Printable(problem.Error()), At: at.UTC().Truncate(time.Second),
		Err: problem}
}

// way is what decides over the way to the bootstrap credential and to the API server beside what
// the token is for. A kubeconfig may have set variables, and in some places lead to a profile
// that differs in nothing else.
func (s *Session) way() string {
	dir, _ := s.host.Profiles()
	bus := ""
	if s.Profile.Store == keyring.Keyring { // others lead the same way where there is none
		bus, _ = s.host.BusAddress()
	}
	settings := []string{string(dir), bus, s.Profile.Cluster.ProxyURL}
	if s.Profile.Store == keyring.Sealed {
		settings = append(settings, s.host.StateDir())
	}
	if s.clientProxy != "" {
		settings = append(settings, s.clientProxy)
	}
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy",
		"REQUEST_METHOD",
		"SSL_CERT_FILE", "SSL_CERT_DIR", "GODEBUG", bootstrap.WithinVariable} {
		if value, present := s.host.Variables(name); present {
			settings = append(settings, name+"="+value)
		}
	}
	return strings.Join(settings, "\x00")
}

// failureKinds are the errors of a mint that are still told apart after one process has left them
// to another.
func failureKinds() []error {
	return []error{ErrBootstrapRefused, ErrAccountGone, ErrDeviceGone,
		bootstrap.ErrMissing, bootstrap.ErrExpired, bootstrap.ErrSource, kuberc.ErrDenied,
		keyring.ErrLocked, keyring.ErrTimeout, keyring.ErrNoBus, keyring.ErrRefused,
		keyring.ErrUnavailable, keyring.ErrTooBig, keyring.ErrQuota, keyring.ErrSealing,
		keyring.ErrNotAllowed,
		api.ErrCredential, api.ErrAdmission, api.ErrForbidden, api.ErrUnauthorized,
		api.ErrThrottled,
		api.ErrTLS, api.ErrTimeout, api.ErrUnreachable, api.ErrServer, api.ErrAnswer,
		api.ErrNotFound,
		api.ErrConflict, api.ErrInvalid, syscall.EMFILE, eventlog.ErrWrite}
}

// machine tells this machine from the others that hold tokens for the same account.
func (s *Session) machine() string {
	if s.Device != nil {
		return s.Device.SecretUID
	}
	name, _ := s.host.Hostname()
	return name
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
	}
	if s.Profile.Recovery != nil {
		limit += recoveryLimit + mint.Deadline
	}
	return limit
}

// isShared reports whether a mint that failed would have failed for other processes too. A
// variable, or the way to the store, may well give another process what this one did not get.
func (s *Session) isShared(err error) bool {
	own := []error{keyring.ErrLocked, keyring.ErrTimeout, keyring.ErrUnavailable,
		keyring.ErrQuota,
		syscall.EMFILE, syscall.ENFILE}
	return s.Profile.Bootstrap.Source != profile.SourceEnv && !api.IsAny(err, own...)
}

// System is what the bootstrap source needs of this session.
func (s *Session) System() bootstrap.System {
	preferences, _ := s.host.KubercPath() // none without a home, as for kubectl
	return bootstrap.System{Store: s.Store, Key: s.BootstrapKey(), Getenv: s.host.Getenv,
		Now:    s.host.Now,
		Kuberc: preferences, MountedToken: filepath.Join(s.host.MountedDir, "token")}
}

// Put stores a token.
func (s *Session) Put(ctx context.Context, key string, grant mint.Grant) error {
	return s.Store.Set(ctx, key,
		keyring.Entry{Token: grant.Token, IssuedAt: grant.IssuedAt,
			ExpiresAt: grant.ExpiresAt})
}

// keep is Put for the record's device. Another process may have replaced it meanwhile, and
// forgotten its entries: then nobody would look for this one, or forget it.
func (s *Session) keep(ctx context.Context, key string, grant mint.Grant) error {
	return deviceStore{s.Store, s}.Set(ctx, key,
		keyring.Entry{Token: grant.Token, IssuedAt: grant.IssuedAt,
			ExpiresAt: grant.ExpiresAt})
}

// deviceStore is a session's store, in which nothing stays of a device that is no longer the
// record's.
type deviceStore struct {
	keyring.Store
	session *Session
}

// Set implements keyring.Store.
func (d deviceStore) Set(ctx context.Context, key string, entry keyring.Entry) error {
	if err := d.Store.Set(ctx, key, entry); err != nil || !d.session.isReplaced() {
		return err
	}
	return d.Store.Delete(ctx, key)
}

// isReplaced reports whether the record has another device than the session, or is gone with it.
func (s *Session) isReplaced() bool {
	current, err := deviceOf(s.host, s.Profile)
	if s.Device == nil || err != nil {
		return errors.Is(err, device.ErrMissing)
	}
	return *current != *s.Device
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
	client, err := mint.New(config, h.Now)
	if err != nil {
		return mint.User{}, err
	}
	return client.WhoAmI(ctx)
}
