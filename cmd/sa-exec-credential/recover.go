package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/bootstrap"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/setup"
)

// A bootstrap credential dies with the keys that signed it, and with its cluster. Nothing that is left on the machine can
// replace it then but the credentials of an administrator's context, which get uses only where setup was told so
// (--recover), and never to undo a revocation.

// recoveryLimit bounds a recovery, beside the mint that comes after it.
const recoveryLimit = bootstrap.CommandLimit + 5*time.Second

// mintOrRecover is mint, with another try when the profile's credentials can be made anew.
func (s *session) mintOrRecover(ctx context.Context) (mint.Grant, error) {
	grant, err := s.mint(ctx)
	if err == nil || !s.recoverable(err) {
		return grant, err
	}
	if s.adopt() {
		return s.keptOrMinted(ctx)
	}
	s.env.log.debug("the cluster no longer knows the credentials of this machine", "error", err)
	old := s.profile
	cluster, problem := s.recover(ctx)
	if problem != nil {
		return mint.Grant{}, s.notRecovered(err, problem)
	}
	grant, err = s.mint(ctx)
	if err == nil && *s.profile.Device != *old.Device {
		s.moveToRebuilt(ctx, old, cluster, grant)
	}
	return grant, err
}

// recoverable reports whether a mint failed for want of something that a recovery makes.
func (s *session) recoverable(err error) bool {
	made := []error{errDeviceGone}
	if s.profile.Bootstrap.Source == profile.SourceKeyring {
		made = append(made, errBootstrapRefused, bootstrap.ErrMissing, bootstrap.ErrExpired)
	}
	return s.profile.Recovery != nil && s.profile.Device != nil &&
		slices.ContainsFunc(made, func(kind error) bool { return errors.Is(err, kind) })
}

// adopt takes over the device that another process has made since this one read the profile. Everything else stays what
// the client was compared with.
func (s *session) adopt() bool {
	folder, err := s.env.profiles()
	if err != nil {
		return false
	}
	current, err := folder.Load(s.profile.Name)
	if err != nil || current.Device == nil || *current.Device == *s.profile.Device {
		return false
	}
	s.profile.Device = current.Device
	return true
}

// keptOrMinted is the token that another process has kept for the adopted device, else a new one.
func (s *session) keptOrMinted(ctx context.Context) (mint.Grant, error) {
	entry, err := s.store.Get(ctx, s.profile.TokenKey())
	if err == nil && s.env.now().Before(entry.ExpiresAt) {
		return mint.Grant{Token: entry.Token, IssuedAt: entry.IssuedAt, ExpiresAt: entry.ExpiresAt}, nil
	}
	return s.mint(ctx)
}

// recover makes the bootstrap credential anew with the context that was agreed to at setup, and before it the device
// Secret where the cluster is another one, whose uid it returns then.
func (s *session) recover(ctx context.Context) (cluster string, err error) {
	ctx, cancel := context.WithTimeout(ctx, recoveryLimit)
	defer cancel()
	asAdministrator := s.profile
	asAdministrator.Bootstrap = s.profile.Recovery.Credential
	credential, err := bootstrap.Find(ctx, asAdministrator, s.system())
	if err != nil {
		return "", err
	}
	client, err := api.New(credential.Config, runtime.NewScheme())
	if err != nil {
		return "", err
	}
	cluster, err = s.recoverDevice(ctx, client)
	if err != nil || s.profile.Bootstrap.Source != profile.SourceKeyring {
		return cluster, err
	}
	p := &preparation{env: s.env, config: credential.Config, admin: client, profile: s.profile,
		say: func(step string) { s.env.log.debug(step) }}
	return cluster, p.requestBootstrap(ctx, s)
}

// recoverDevice sees that there is a device Secret for this machine, and returns the cluster's uid. One that is missing in
// the cluster that it was made in was deleted to end this machine, so it is not made again.
func (s *session) recoverDevice(ctx context.Context, client *api.Client) (cluster string, err error) {
	exists, err := setup.DeviceExists(ctx, client, s.profile.Namespace, *s.profile.Device)
	if err != nil || exists {
		return "", err
	}
	cluster, err = setup.ClusterUID(ctx, client)
	if err != nil {
		return "", err
	}
	if known := s.profile.Recovery.ClusterUID; cluster == "" || known == "" || cluster == known {
		return "", errDeviceGone
	}
	name := setup.DeviceName(s.profile.ServiceAccount, s.profile.Device.Secret)
	device, err := setup.EnsureDevice(ctx, client, s.profile.Namespace, s.profile.ServiceAccount, name, s.env.owner())
	if err != nil {
		return "", err
	}
	s.env.log.debug("the cluster was rebuilt, and has a device Secret again", "secret", device.Secret)
	s.profile.Device = &device
	return cluster, nil
}

// moveToRebuilt points the profiles of a device at the one that takes its place in a rebuilt cluster, and forgets what was
// kept for the old one. The token is kept first: who reads the new profile finds it. Failing costs the next call a
// recovery, not this one its answer.
func (s *session) moveToRebuilt(ctx context.Context, old profile.Profile, cluster string, grant mint.Grant) {
	if err := s.keep(ctx, s.profile.TokenKey(), grant); err != nil {
		s.env.log.debug("keeping the token for the rebuilt cluster", "error", err)
	}
	sharing, err := s.env.sharing(old)
	if err == nil {
		err = s.env.change(old, func(p *profile.Profile) {
			p.Device = s.profile.Device
			if p.Recovery != nil {
				p.Recovery.ClusterUID = cluster
			}
		})
	}
	if err != nil {
		s.env.log.warning(fmt.Errorf("taking over the rebuilt cluster: %w", err))
		return
	}
	for _, was := range sharing {
		s.env.log.debug("forgot what was kept for the old cluster", "profile", was.Name, "error", s.env.forgetEntries(ctx, was))
	}
}

// notRecovered says why a recovery failed. A device that was revoked is all there is to say; anything else comes after
// what the recovery was for, without a server's own words.
func (s *session) notRecovered(cause, problem error) error {
	if errors.Is(problem, errDeviceGone) {
		return fmt.Errorf("minting token for %q: %w", s.profile.Account(), errDeviceGone)
	}
	if kind := api.Kind(problem); kind != nil {
		problem = kind
	}
	return fmt.Errorf("%w; making a new one with context %q: %v", cause, s.profile.Recovery.Credential.Context, problem)
}
