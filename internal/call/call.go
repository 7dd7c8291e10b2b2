// Package call is what a client's call mostly comes to: which profile it is for, whether the client
// may have its token, and the token, where one is kept and fresh, or where one plain request gets
// it.
//
// It is all that the quick program needs, which links it and what is below it alone. So it imports
// nothing of client-go, and knows no way to mint but with the bootstrap credential in the store.
package call

import (
	"context"
	"fmt"
	"strings"

	"github.com/sa-exec-credential/sa-exec-credential/internal/cache"
	"github.com/sa-exec-credential/sa-exec-credential/internal/device"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// Call is one profile with its device and its store.
type Call struct {
	Host    *host.Host
	Profile profile.Profile
	Device  *profile.Device // nil: tokens are not bound
	Store   keyring.Store
	// ClientProxy is the proxy-url of the client's cluster; empty: none but the profile's.
	ClientProxy string
}

// Load reads a profile and its device, and opens its store, which does no I/O yet.
func Load(ctx context.Context, h *host.Host, name string) (*Call, error) {
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
func Open(ctx context.Context, h *host.Host, p profile.Profile) (*Call, error) {
	current, err := DeviceOf(h, p)
	if err != nil {
		return nil, err
	}
	return With(ctx, h, p, current)
}

// With is Open for a device that is not in the record, or not yet.
func With(ctx context.Context, h *host.Host, p profile.Profile, d *profile.Device) (*Call, error) {
	store, err := h.Store(ctx, p.Store, p.TPM)
	if err != nil {
		return nil, err
	}
	return &Call{Host: h, Profile: p, Device: d, Store: store}, nil
}

// DeviceOf reads what the profile's tokens are bound to. The record has to be for the profile's own
// account and cluster: a token that is bound to another one's Secret could not be minted.
func DeviceOf(h *host.Host, p profile.Profile) (*profile.Device, error) {
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
func (c *Call) TokenKey() string { return c.Profile.TokenKey(c.Device) }

// BootstrapKey is the store's key of the bootstrap credential.
func (c *Call) BootstrapKey() string { return c.Profile.BootstrapKey(c.Device) }

// Cache is the profile's token as it is kept. What a mint needs is missing.
func (c *Call) Cache() *cache.Cache {
	return &cache.Cache{Store: c.Store, Key: c.TokenKey(), Machine: c.MachineID(),
		Dir: c.Host.RuntimeDir(), Caller: c.Host.Caller(), Now: c.Host.Now, Way: c.Way(),
		Debug: c.Host.Log.Debug}
}

// Hit is the token that is kept, where it is fresh and nothing else has to be done than to hand it
// out. Check has to have found nothing.
func (c *Call) Hit(ctx context.Context) (answer cache.Answer, found bool) {
	if _, isForged := c.trustedRoots(); isForged {
		return cache.Answer{}, false
	}
	return c.Cache().Hit(ctx)
}

// Way is what decides over the way to the bootstrap credential and to the API server beside what
// the token is for. A kubeconfig may have set variables, and in some places lead to a profile
// that differs in nothing else.
func (c *Call) Way() string {
	dir, _ := c.Host.Profiles()
	bus := ""
	if c.Profile.Store == keyring.Keyring { // others lead the same way where there is none
		bus, _ = c.Host.BusAddress()
	}
	settings := []string{string(dir), bus, c.Profile.Cluster.ProxyURL}
	if c.Profile.Store == keyring.Sealed {
		settings = append(settings, c.Host.StateDir())
	}
	if c.ClientProxy != "" {
		settings = append(settings, c.ClientProxy)
	}
	for _, name := range []string{"HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy",
		"REQUEST_METHOD",
		"SSL_CERT_FILE", "SSL_CERT_DIR", "GODEBUG", profile.WithinVariable} {
		if value, present := c.Host.Variables(name); present {
			settings = append(settings, name+"="+value)
		}
	}
	return strings.Join(settings, "\x00")
}

// MachineID tells this machine from the others that hold tokens for the same account.
func (c *Call) MachineID() string {
	if c.Device != nil {
		return c.Device.SecretUID
	}
	name, _ := c.Host.Hostname()
	return name
}
