package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/client-go/rest"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/bootstrap"
	"github.com/sa-exec-credential/sa-exec-credential/internal/cache"
	"github.com/sa-exec-credential/sa-exec-credential/internal/call"
	"github.com/sa-exec-credential/sa-exec-credential/internal/cluster"
	"github.com/sa-exec-credential/sa-exec-credential/internal/connect"
	"github.com/sa-exec-credential/sa-exec-credential/internal/device"
	"github.com/sa-exec-credential/sa-exec-credential/internal/eventlog"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// A bootstrap credential dies with the keys that signed it, and with its cluster. Nothing that is
// left on the machine can replace it then but the credentials of an administrator's context,
// which get uses only where setup was told so (--recover), and never to undo a revocation.

// recoveryLimit bounds a recovery, beside the mint that comes after it.
const recoveryLimit = bootstrap.CommandLimit + 5*time.Second

// mintOrRecover is Mint, with another try when the profile's credentials can be created anew.
func (s *Session) mintOrRecover(ctx context.Context) (mint.Grant, error) {
	grant, err := s.Mint(ctx)
	if err == nil || !s.isRecoverable(err) {
		return grant, err
	}
	s.Host.Log.Debug("the cluster no longer knows the credentials of this machine", "error",
		err)
	before := *s.Device
	release, problem := s.recover(ctx)
	defer release()
	if problem != nil {
		if !errors.Is(problem, errNoRecovery) {
			s.noteFailure(eventNotRecovered, problem)
		}
		return mint.Grant{}, s.notRecovered(err, problem)
	}
	if entry, found := s.stored(ctx); found && *s.Device != before {
		// another process has minted it for the device that both of them have now
		return entry, nil
	}
	grant, err = s.Mint(ctx)
	if err != nil {
		return grant, err
	}
	// Stored before the lock is released: whoever waits for the token of the new device finds
	// it.
	if err := s.keep(ctx, s.TokenKey(), grant); err != nil {
		s.Host.Log.Debug("storing the token", "error", err)
	}
	return grant, nil
}

// isRecoverable reports whether a mint failed for want of something that a recovery creates. A
// device that another process has replaced meanwhile is one, too, with or without a recovery.
func (s *Session) isRecoverable(err error) bool {
	kinds := []error{ErrDeviceGone}
	if s.Profile.Bootstrap.Source == profile.SourceKeyring {
		kinds = append(kinds, ErrBootstrapRefused, bootstrap.ErrMissing,
			bootstrap.ErrExpired)
	}
	return s.Device != nil && api.IsAny(err, kinds...)
}

// adopt takes over the device that another process has put into the record since this one read it.
func (s *Session) adopt(current *profile.Device) bool {
	if current == nil || *current == *s.Device {
		return false
	}
	s.forgetFiles() // the lock that brought this process here, for a token that is no more
	s.Device = current
	return true
}

// stored is the token that is in the store, good by its times.
func (s *Session) stored(ctx context.Context) (mint.Grant, bool) {
	entry, err := s.Store.Get(ctx, s.TokenKey())
	if err != nil || !s.Host.Now().Before(entry.ExpiresAt) {
		return mint.Grant{}, false
	}
	return mint.Grant{Token: entry.Token, IssuedAt: entry.IssuedAt, ExpiresAt: entry.ExpiresAt},
		true
}

// recover adopts the device that another process has created, or creates the bootstrap credential
// anew with the context that was agreed to at setup, and before it the device where the cluster
// is another one; then the token of the new device is locked until release.
func (s *Session) recover(ctx context.Context) (release func(), err error) {
	release = func() {}
	ctx, cancel := context.WithTimeout(ctx, recoveryLimit)
	defer cancel()
	record, err := s.lockDevice(ctx)
	if err != nil {
		return release, err
	}
	defer record.Release()
	if s.adopt(record.Current) {
		return release, nil
	}
	if s.Profile.Recovery == nil || record.Revoked {
		return release, errNoRecovery
	}
	config, client, err := s.recoveryClient(ctx)
	if err != nil {
		return release, err
	}
	exists, err := s.deviceExists(ctx, client)
	if err != nil {
		return release, err
	}
	if !exists {
		if release, err = s.replaceDevice(ctx, client, record); err != nil {
			return release, err
		}
	}
	if s.Profile.Bootstrap.Source == profile.SourceKeyring {
		_, err = s.RequestBootstrap(ctx, config, client)
	}
	if err == nil {
		s.note(eventlog.Event{Name: eventRecovered})
	}
	return release, err
}

// errNoRecovery leaves the error of the mint as it is.
var errNoRecovery = errors.New("nothing to recover with")

func (s *Session) lockDevice(ctx context.Context) (*device.Locked, error) {
	dir, err := call.Devices(s.Host)
	if err != nil {
		return nil, err
	}
	return dir.Lock(ctx, s.Profile)
}

// recoveryClient acts with the credentials of the context that setup was told to recover with.
func (s *Session) recoveryClient(ctx context.Context) (*rest.Config, *api.Client, error) {
	asAdministrator := s.Profile
	asAdministrator.Bootstrap = s.Profile.Recovery.Credential
	credential, err := bootstrap.Find(ctx, asAdministrator, s.System())
	if err != nil {
		return nil, nil, err
	}
	client, err := connect.To(credential.Config)
	return credential.Config, client, err
}

// deviceExists looks for the device. Who cannot look at Secrets is told by the request for a token
// whether it is there.
func (s *Session) deviceExists(ctx context.Context, client *api.Client) (bool, error) {
	exists, err := cluster.DeviceExists(ctx, client, s.Profile.Namespace, *s.Device)
	if errors.Is(err, api.ErrForbidden) {
		return true, nil
	}
	return exists, err
}

// replaceDevice creates a device in a cluster that was rebuilt. One that is missing in the
// cluster that it was created in was deleted to end this machine: then it is not created again,
// and the machine recovers no more.
//
// What the record says is always ahead of what is created: a recovery that is interrupted anywhere
// leaves nothing that revoke would not find.
func (s *Session) replaceDevice(ctx context.Context, client *api.Client,
	record *device.Locked) (release func(), err error) {
	release = func() {}
	uid, err := cluster.ClusterUID(ctx, client)
	if err != nil {
		return release, err
	}
	if uid == "" || record.ClusterUID == "" || uid == record.ClusterUID {
		record.Revoked = true
		s.Host.Log.Debug("this machine was revoked, and recovers no more", "error",
			record.Save())
		return release, ErrDeviceGone
	}
	name := s.Device.Name
	if record.Next != name {
		record.Next = name
		if err := record.Save(); err != nil {
			return release, err
		}
	}
	created, err := cluster.EnsureDevice(ctx, client, s.deviceSpec(name))
	if err != nil { // such as a namespace that is not there yet: the next call tries again
		return release, err
	}
	s.Host.Log.Debug("the cluster was rebuilt, and has a device again", "name", created.Name)
	old := s.Device
	s.Device = &created
	release = cache.Hold(s.Host.RuntimeDir(), s.TokenKey(), s.Way())
	record.Current, record.Next, record.ClusterUID = &created, "", uid
	if err := record.Save(); err != nil {
		return release, err
	}
	sharing, err := Sharing(s.Host, s.Profile.Device)
	if err == nil {
		err = ForgetEntries(ctx, s.Host, sharing, old)
	}
	s.Host.Log.Debug("forgot what was kept for the old device", "error", err)
	return release, nil
}

// notRecovered says why a recovery failed. A device that was revoked is all there is to say;
// anything else comes after what the recovery was for.
func (s *Session) notRecovered(cause, problem error) error {
	switch {
	case errors.Is(problem, errNoRecovery):
		return cause
	case errors.Is(problem, ErrDeviceGone):
		return fmt.Errorf("minting token for %q: %w", s.Profile.Account(), ErrDeviceGone)
	case s.Profile.Recovery == nil:
		s.Host.Log.Debug("looking for a device that took the old one's place", "error",
			problem)
		return cause
	}
	return fmt.Errorf("%w; creating a new one with context %q: %v",
		cause, s.Profile.Recovery.Credential.Context, problem)
}

// notedWithin is how exactly the times have to be known that people see of a device.
const notedWithin = time.Minute

// RequestBootstrap requests a bootstrap credential as an administrator, stores it, and returns how
// long it lives.
func (s *Session) RequestBootstrap(ctx context.Context, config *rest.Config,
	client *api.Client) (lifetime time.Duration, err error) {
	minter, err := bootstrap.Minter(config, s.Host.Now)
	if err != nil {
		return 0, err
	}
	grant, err := minter.Mint(ctx, s.BootstrapRequest())
	if err != nil {
		return 0, fmt.Errorf("requesting the bootstrap credential: %w", err)
	}
	if d := grant.ExpiresAt.Add(-grant.Skew).Sub(s.Noted).Abs(); d < notedWithin {
		return grant.ExpiresAt.Sub(grant.IssuedAt), s.KeepBootstrap(ctx, grant)
	}
	// Noted first: a setup that was interrupted in between finds no credential, and comes by
	// here again.
	if err := cluster.NoteBootstrap(ctx, client, s.Profile.Namespace, *s.Device,
		grant.IssuedAt.Add(-grant.Skew), grant.ExpiresAt.Add(-grant.Skew)); err != nil {
		s.Host.Log.Debug("noting the bootstrap credential at its device", "error", err)
	}
	return grant.ExpiresAt.Sub(grant.IssuedAt), s.KeepBootstrap(ctx, grant)
}

// KeepBootstrap stores a bootstrap credential that was requested for this machine.
func (s *Session) KeepBootstrap(ctx context.Context, grant mint.Grant) error {
	if err := s.Put(ctx, s.BootstrapKey(), grant); err != nil {
		return fmt.Errorf("storing the bootstrap credential: %w", err)
	}
	s.noteToken(eventIssued, grant.Token, grant.ExpiresAt)
	return nil
}

// deviceSpec is this machine's device by a name.
func (s *Session) deviceSpec(name string) cluster.DeviceSpec {
	p := s.Profile
	return cluster.DeviceSpec{Namespace: p.Namespace, Account: p.ServiceAccount, Name: name,
		Owner: Owner(s.Host), Minting: cluster.Minting{Minters: p.Setup.Minters,
			AsDevice: p.Bootstrap.AsDevice}}
}

// Owner says whose machine this is, to those who list devices.
func Owner(h *host.Host) cluster.Owner {
	name, _ := h.Hostname()
	return cluster.Owner{Host: name, User: h.User()}
}
