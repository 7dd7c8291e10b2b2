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
	"github.com/sa-exec-credential/sa-exec-credential/internal/cache"
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
	if old := s.profile; s.adopt() {
		s.env.forgetFilesOf(old) // the lock that brought this process here, for a token that is no more
		return s.keptOrMinted(ctx)
	}
	s.env.log.debug("the cluster no longer knows the credentials of this machine", "error", err)
	release, problem := s.recover(ctx)
	defer release()
	if problem != nil {
		return mint.Grant{}, s.notRecovered(err, problem)
	}
	grant, err = s.mint(ctx)
	if err != nil {
		return grant, err
	}
	// Kept before the lock is released: whoever waits for the token of the new device finds it.
	if err := s.keep(ctx, s.profile.TokenKey(), grant); err != nil {
		s.env.log.debug("keeping the token", "error", err)
	}
	return grant, nil
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
// Secret where the cluster is another one; then the token of the new device is locked until release.
func (s *session) recover(ctx context.Context) (release func(), err error) {
	release = func() {}
	ctx, cancel := context.WithTimeout(ctx, recoveryLimit)
	defer cancel()
	asAdministrator := s.profile
	asAdministrator.Bootstrap = s.profile.Recovery.Credential
	credential, err := bootstrap.Find(ctx, asAdministrator, s.system())
	if err != nil {
		return release, err
	}
	client, err := api.New(credential.Config, runtime.NewScheme())
	if err != nil {
		return release, err
	}
	exists, err := s.deviceExists(ctx, client)
	if err != nil {
		return release, err
	}
	if !exists {
		if release, err = s.replaceDevice(ctx, client); err != nil {
			return release, err
		}
	}
	if s.profile.Bootstrap.Source != profile.SourceKeyring {
		return release, nil
	}
	p := &preparation{env: s.env, config: credential.Config, admin: client, profile: s.profile,
		say: func(step string) { s.env.log.debug(step) }}
	return release, p.requestBootstrap(ctx, s)
}

// deviceExists asks twice when the first time takes too long: the context's own plugin may need more than one call's time,
// and goes on meanwhile. Who may not look at Secrets is told by the request for a token whether it is there.
func (s *session) deviceExists(ctx context.Context, client *api.Client) (exists bool, err error) {
	for range 2 {
		exists, err = setup.DeviceExists(ctx, client, s.profile.Namespace, *s.profile.Device)
		if !errors.Is(err, api.ErrTimeout) {
			break
		}
	}
	if errors.Is(err, api.ErrForbidden) {
		return true, nil
	}
	return exists, err
}

// replaceDevice makes a device Secret in a cluster that was rebuilt. One that is missing in the cluster that it was made
// in was deleted to end this machine: then it is not made again, and the profile no longer recovers.
//
// What the profile says is always ahead of what is made: a recovery that is interrupted anywhere leaves no Secret and no
// credential that revoke would not find.
func (s *session) replaceDevice(ctx context.Context, client *api.Client) (release func(), err error) {
	release = func() {}
	cluster, err := setup.ClusterUID(ctx, client)
	if err != nil {
		return release, err
	}
	old := s.profile
	if known := old.Recovery.ClusterUID; cluster == "" || known == "" || cluster == known {
		err := s.env.change(old, func(p *profile.Profile) { p.Recovery = nil })
		s.env.log.debug("this machine was revoked, and recovers no more", "error", err)
		return release, errDeviceGone
	}
	if err := s.env.change(old, func(p *profile.Profile) { p.Recovery.InCluster(cluster) }); err != nil {
		return release, err
	}
	name := setup.DeviceName(old.ServiceAccount, old.Device.Secret)
	device, err := setup.EnsureDevice(ctx, client, old.Namespace, old.ServiceAccount, name, s.env.owner())
	if err != nil { // such as a namespace that is not there yet: the next call tries again
		return release, errors.Join(err, s.env.change(old, func(p *profile.Profile) { p.Recovery.InCluster(old.Recovery.ClusterUID) }))
	}
	s.env.log.debug("the cluster was rebuilt, and has a device Secret again", "secret", device.Secret)
	s.profile.Device = &device
	release = cache.Hold(s.env.runtimeFolder(), s.profile.TokenKey())
	return release, s.env.moveDevice(ctx, old, device)
}

// moveDevice points the profiles of a device at the one that takes its place, and forgets what was kept for the old one.
func (e *environment) moveDevice(ctx context.Context, old profile.Profile, device profile.Device) error {
	sharing, err := e.sharing(old)
	if err != nil {
		return err
	}
	if err := e.change(old, func(p *profile.Profile) { p.Device = &device }); err != nil {
		return err
	}
	for _, was := range sharing {
		e.log.debug("forgot what was kept for the old device", "profile", was.Name, "error", e.forgetEntries(ctx, was))
	}
	return nil
}

// notRecovered says why a recovery failed. A device that was revoked is all there is to say; anything else comes after
// what the recovery was for.
func (s *session) notRecovered(cause, problem error) error {
	if errors.Is(problem, errDeviceGone) {
		return fmt.Errorf("minting token for %q: %w", s.profile.Account(), errDeviceGone)
	}
	return fmt.Errorf("%w; making a new one with context %q: %v", cause, s.profile.Recovery.Credential.Context, problem)
}
