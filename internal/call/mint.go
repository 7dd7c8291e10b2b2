package call

import (
	"context"
	"errors"
	"net/url"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/cache"
	"github.com/sa-exec-credential/sa-exec-credential/internal/device"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// What is waited for before the whole program, which says what is wrong, begins anew.
const (
	// connectLimit is how long the API server may take until TLS is done.
	connectLimit = 2 * time.Second
	// answerLimit is how long all of a request may take.
	answerLimit = 5 * time.Second
)

// Miss is a token that one plain request gets, as most get theirs. Check has to have found nothing.
// Where it is not found, the whole of a get does what there is to do, and begins anew.
func (c *Call) Miss(ctx context.Context) (answer cache.Answer, found bool) {
	server, isPlain := c.plainServer()
	if _, isForged := c.trustedRoots(); isForged || !isPlain {
		return cache.Answer{}, false
	}
	tokens := c.Cache()
	tokens.Store = Current{c.Store, c}
	tokens.Mint = func(ctx context.Context) (keyring.Entry, error) {
		return c.mint(ctx, server)
	}
	return tokens.Miss(ctx)
}

// plainServer is the API server of a profile that mints with what is in its own store, over a way
// that nothing else decides on, and writes no log.
func (c *Call) plainServer() (server *url.URL, isPlain bool) {
	p := c.Profile
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", profile.WithinVariable} {
		if c.Host.Getenv(name) != "" {
			return nil, false
		}
	}
	server, err := url.Parse(p.Cluster.Server)
	return server, err == nil && server.Scheme == "https" && server.User == nil &&
		p.Bootstrap.Source == profile.SourceKeyring && !p.Bootstrap.AsDevice &&
		p.Log == "" && p.Cluster.ProxyURL == "" && c.ClientProxy == "" &&
		c.Store.Kind() != keyring.None
}

// errDue is a bootstrap credential that is over, or that has to renew itself.
var errDue = errors.New("the bootstrap credential is due")

// mint requests a token with the bootstrap credential that is in the store.
func (c *Call) mint(ctx context.Context, server *url.URL) (keyring.Entry, error) {
	credential, err := c.Store.Get(ctx, c.BootstrapKey())
	if err != nil {
		return keyring.Entry{}, err
	}
	if credential.IsHalfOver(c.Host.Now()) {
		return keyring.Entry{}, errDue
	}
	cluster := c.Profile.Cluster
	way, err := api.Direct(cluster.TLSServerName, cluster.CertificateAuthorityData,
		credential.Token)
	if err != nil {
		return keyring.Entry{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	ctx, _, end := api.ConnectWithin(ctx, connectLimit)
	defer end()
	grant, err := mint.New(api.New(server, way), c.Host.Now).Mint(ctx, c.TokenRequest())
	return Entry(grant), err
}

// TokenRequest is for the profile's account.
func (c *Call) TokenRequest() mint.Request {
	p := c.Profile
	return mint.Request{Namespace: p.Namespace, ServiceAccount: p.ServiceAccount,
		Audiences: p.Audiences,
		Duration:  p.Duration.Duration, Bound: c.BoundTo()}
}

// BoundTo is the Secret that what is minted dies with; nil: it is not bound.
func (c *Call) BoundTo() *mint.Secret {
	if c.Device == nil {
		return nil
	}
	return &mint.Secret{Name: c.Device.Name, UID: c.Device.SecretUID}
}

// Entry is a grant as stores keep it.
func Entry(grant mint.Grant) keyring.Entry {
	return keyring.Entry{Token: grant.Token, IssuedAt: grant.IssuedAt,
		ExpiresAt: grant.ExpiresAt}
}

// Current is a call's store, in which nothing stays of a device that is no longer the record's.
type Current struct {
	keyring.Store
	Call *Call
}

// Set implements keyring.Store.
func (s Current) Set(ctx context.Context, key string, entry keyring.Entry) error {
	if err := s.Store.Set(ctx, key, entry); err != nil || !s.Call.isReplaced() {
		return err
	}
	return s.Delete(ctx, key)
}

// Unwrap is for keyring.AskFront.
func (s Current) Unwrap() keyring.Store { return s.Store }

// isReplaced reports whether the record has another device than the call, or is gone with it.
func (c *Call) isReplaced() bool {
	current, err := DeviceOf(c.Host, c.Profile)
	if c.Device == nil || err != nil {
		return errors.Is(err, device.ErrMissing)
	}
	return *current != *c.Device
}
