package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/setup"
)

type rotateCommand struct {
	Profile       string `required:"" placeholder:"NAME" help:"The profile whose credentials are replaced."`
	administrator `embed:""`
}

// Run makes a new device Secret and a new bootstrap credential, and ends the old ones once the new ones work.
func (r *rotateCommand) Run(ctx context.Context, env *environment) error {
	old, admin, err := r.ofDevice(ctx, env, r.Profile)
	if err != nil {
		return err
	}
	device, err := env.newDevice(ctx, admin, old.profile)
	if err != nil {
		return err
	}
	if err := env.moveTo(ctx, admin, old.profile, device); err != nil {
		return err
	}
	return env.retire(ctx, admin, old.profile.Name)
}

func (e *environment) newDevice(ctx context.Context, admin *admin, p profile.Profile) (profile.Device, error) {
	name, err := e.nextDeviceName(p)
	if err != nil {
		return profile.Device{}, err
	}
	device, err := setup.EnsureDevice(ctx, admin.client, p.Namespace, p.ServiceAccount, name, e.owner())
	if err == nil {
		e.log.line("rotate", fmt.Sprintf("Secret %q: new tokens are bound to it", p.Namespace+"/"+device.Secret))
	}
	return device, err
}

// nextDeviceName is kept in all profiles that will move to the new device, before there is one.
func (e *environment) nextDeviceName(p profile.Profile) (string, error) {
	if p.Next != "" {
		return p.Next, nil
	}
	host, _ := e.hostname()
	name := setup.NewDeviceName(host)
	return name, e.change(p, func(p *profile.Profile) { p.Next = name })
}

// change changes and saves all profiles that share a device.
func (e *environment) change(p profile.Profile, change func(*profile.Profile)) error {
	sharing, err := e.sharing(p)
	if err != nil {
		return err
	}
	folder, err := e.profiles()
	if err != nil {
		return err
	}
	for _, p := range sharing {
		change(&p)
		if err := folder.Save(p); err != nil {
			return err
		}
	}
	return nil
}

// moveTo makes a bootstrap credential for the new device, sees that it mints, and only then points all profiles at it
// that were on the old one.
func (e *environment) moveTo(ctx context.Context, admin *admin, old profile.Profile, device profile.Device) error {
	moved := old
	moved.Device = &device
	s, err := e.open(ctx, moved)
	if err != nil {
		return err
	}
	p := &preparation{command: &setupCommand{}, env: e, config: admin.config, admin: admin.client, profile: moved,
		say: func(step string) { e.log.line("rotate", step) }}
	if err := p.prepareBootstrap(ctx, s); err != nil {
		return err
	}
	cluster, err := setup.ClusterUID(ctx, admin.client)
	if err != nil {
		return err
	}
	sharing, err := e.sharing(old)
	if err != nil {
		return err
	}
	if err := e.change(old, func(p *profile.Profile) {
		p.Retired = append(p.Retired, *p.Device)
		p.Device, p.Next = &device, ""
		p.Recovery.InCluster(cluster)
	}); err != nil {
		return err
	}
	for _, was := range sharing {
		if err := e.forgetEntries(ctx, was); err != nil {
			e.log.warning(err)
		}
		e.log.line("rotate", fmt.Sprintf("profile %q: uses the new credentials", was.Name))
	}
	return nil
}

// sharing lists the profiles that live and die with the same device Secret, p itself among them.
func (e *environment) sharing(p profile.Profile) ([]profile.Profile, error) {
	folder, err := e.profiles()
	if err != nil {
		return nil, err
	}
	names, err := folder.Names()
	if err != nil {
		return nil, err
	}
	var sharing []profile.Profile
	for _, name := range names {
		other, err := folder.Load(name)
		if err == nil && other.Device != nil && p.Device != nil && other.Device.UID == p.Device.UID && other.Namespace == p.Namespace {
			sharing = append(sharing, other)
		}
	}
	return sharing, nil
}

// retire deletes the device Secrets that a profile has left behind, also in a rotate that was interrupted. What is gone
// already is as good as deleted.
func (e *environment) retire(ctx context.Context, admin *admin, name string) error {
	folder, err := e.profiles()
	if err != nil {
		return err
	}
	p, err := folder.Load(name)
	if err != nil {
		return err
	}
	for _, device := range p.Retired {
		err := setup.DeleteDevice(ctx, admin.client, p.Namespace, p.ServiceAccount, device)
		if err != nil && !errors.Is(err, api.ErrNotFound) && !errors.Is(err, api.ErrConflict) {
			return err
		}
		e.log.line("rotate", fmt.Sprintf("Secret %q: deleted; what was bound to it is refused in some 15 seconds", p.Namespace+"/"+device.Secret))
	}
	return e.change(p, func(p *profile.Profile) { p.Retired = nil })
}

// forgetEntries removes what the store holds for a profile.
func (e *environment) forgetEntries(ctx context.Context, p profile.Profile) error {
	s, err := e.open(ctx, p)
	if err != nil {
		return err
	}
	return s.forget(ctx, true)
}
