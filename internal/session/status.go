package session

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/cache"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/parallel"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// statusWorkers is how many profiles are looked up at once: each lookup waits for the store.
const statusWorkers = 8

// Status is one profile and what is kept for it. Times are absent where there is nothing.
type Status struct {
	Profile        string `json:"profile"`
	Cluster        string `json:"cluster,omitempty"` // server URL
	Namespace      string `json:"namespace,omitempty"`
	ServiceAccount string `json:"serviceAccount,omitempty"`
	Store          string `json:"store,omitempty"`
	TPM            string `json:"tpm,omitempty"` // what a sealed store seals with; empty: systemd
	// for how long the store keeps what it has; empty: until it is deleted
	StoreLifetime string `json:"storeLifetime,omitempty"`
	// why setup has chosen no other store, where it had the choice
	PassedStores []string `json:"passedStores,omitempty"`
	Source       string   `json:"bootstrapSource,omitempty"`
	Device       string   `json:"device,omitempty"` // name of the device in the cluster
	// whom what the source gives acts as, as the audit log calls it; empty: nobody else
	ActsAs    string       `json:"actsAs,omitempty"`
	Token     *TokenStatus `json:"token,omitempty"`
	Bootstrap *TokenStatus `json:"bootstrap,omitempty"`
	// where the server grants the bootstrap credential less than was asked for
	Lifetimes *Lifetimes `json:"bootstrapLifetimes,omitempty"`
	Log       string     `json:"log,omitempty"` // journald, syslog or a file
	Warning   *Warning   `json:"warning,omitempty"`
	Error     string     `json:"error,omitempty"`
}

// Lifetimes are of bootstrap credentials, in whole seconds.
type Lifetimes struct {
	Asked   int64 `json:"askedSeconds"`
	Granted int64 `json:"grantedSeconds"`
}

// Note is " of 24h, not 720h", and empty for nil.
func (l *Lifetimes) Note() string {
	if l == nil {
		return ""
	}
	return fmt.Sprintf(" of %s, not %s",
		profile.ShortDuration(time.Duration(l.Granted)*time.Second),
		profile.ShortDuration(time.Duration(l.Asked)*time.Second))
}

// lifetimesOf is nil where the server grants what was asked for.
func lifetimesOf(b profile.Bootstrap) *Lifetimes {
	if b.Granted == nil || b.Duration == nil {
		return nil
	}
	return &Lifetimes{Asked: int64(b.Duration.Seconds()), Granted: int64(b.Granted.Seconds())}
}

// Warning is what a call that was answered could not do.
type Warning struct {
	Text string    `json:"text"`
	At   time.Time `json:"at"`
	Err  error     `json:"-"`
}

// The states of a kept token.
const (
	Fresh   = "fresh"
	Stale   = "stale"
	Expired = "expired"
)

// TokenStatus describes a kept token without showing it.
type TokenStatus struct {
	State    string    `json:"state"` // Fresh, Stale or Expired
	IssuedAt time.Time `json:"issuedAt"`
	Expires  time.Time `json:"expirationTimestamp"`
	ID       string    `json:"id,omitempty"` // JTI, credential-id in the audit log
}

// StatusOfAll looks at every profile. One that cannot be read is listed with its error.
func StatusOfAll(ctx context.Context, h *host.Host) ([]Status, error) {
	dir, err := h.Profiles()
	if err != nil {
		return nil, err
	}
	names, err := dir.Names()
	if err != nil {
		return nil, err
	}
	items := make([]Status, len(names))
	var lives lifetimes
	parallel.ForEach(len(names), statusWorkers, func(i int) {
		items[i] = statusOf(ctx, h, dir, names[i], &lives)
	})
	return items, nil
}

// lifetimes are those of stores, each of which is asked once.
type lifetimes struct{ known sync.Map }

func (l *lifetimes) of(ctx context.Context, store keyring.Store) string {
	ask := sync.OnceValue(func() string { return keyring.Lifetime(ctx, store) })
	known, _ := l.known.LoadOrStore(store, ask)
	return known.(func() string)()
}

func statusOf(ctx context.Context, h *host.Host, dir profile.Dir, name string,
	lives *lifetimes) Status {
	p, err := dir.Load(name)
	if err != nil {
		return Status{Profile: name, Error: ui.Printable(err.Error())}
	}
	status := Status{Profile: name, Cluster: p.Cluster.Server, Namespace: p.Namespace,
		ServiceAccount: p.ServiceAccount, Store: string(p.Store), TPM: p.TPM,
		Lifetimes: lifetimesOf(p.Bootstrap), Log: p.Log, PassedStores: p.Setup.PassedStores,
		Source: string(p.Bootstrap.Source)}
	s, err := Open(ctx, h, p)
	if err == nil {
		status.Warning = s.LastWarning()
		if s.Device != nil {
			status.Device, status.ActsAs = s.Device.Name, s.ActsAs()
		}
		status.Token, err = s.kept(ctx, s.TokenKey())
	}
	if err == nil && p.Bootstrap.Source == profile.SourceKeyring {
		status.Bootstrap, err = s.kept(ctx, s.BootstrapKey())
	}
	if err == nil || p.Store == keyring.Kernel { // one that fails is not asked once more
		status.StoreLifetime = lives.of(ctx, s.Store)
	}
	if err != nil {
		status.Error = ui.Printable(err.Error())
	}
	return status
}

// kept describes the entry under key, nil when there is none. The id is a claim, so whoever made
// the token chose it, and the encoders of JSON and YAML leave in what a terminal obeys.
func (s *Session) kept(ctx context.Context, key string) (*TokenStatus, error) {
	entry, err := s.Store.Get(ctx, key)
	if errors.Is(err, keyring.ErrNotFound) && !errors.Is(err, keyring.ErrUnusable) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &TokenStatus{State: s.stateOf(entry),
		IssuedAt: entry.IssuedAt.UTC().Truncate(time.Second),
		Expires:  entry.ExpiresAt.UTC().Truncate(time.Second),
		ID:       ui.Printable(mint.ParseClaims(entry.Token.Reveal()).ID)}, nil
}

func (s *Session) stateOf(entry keyring.Entry) string {
	now := s.Host.Now()
	switch {
	case !now.Before(entry.ExpiresAt):
		return Expired
	case !now.Before(cache.RefreshAt(entry, s.MachineID())):
		return Stale
	}
	return Fresh
}
