package prepare

import (
	"context"
	"errors"
	"fmt"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/call"
	"github.com/sa-exec-credential/sa-exec-credential/internal/cluster"
	"github.com/sa-exec-credential/sa-exec-credential/internal/device"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/session"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// prepareMachine takes the steps on this machine but for the kubeconfig: device, bootstrap
// credential, profile. Nobody else changes the device meanwhile.
func (p *Preparation) prepareMachine(ctx context.Context) (*session.Session, error) {
	old, found, err := p.before()
	if err != nil {
		return nil, err
	}
	p.isDeviceNew = p.record != nil && p.record.Current == nil
	isCreated := p.isDeviceNew && p.record.Next == "" // and no interrupted setup has
	current, err := p.prepareDevice(ctx, old)
	if err != nil {
		return nil, err
	}
	s, err := session.With(ctx, p.host, p.profile, current)
	if err != nil {
		return nil, err
	}
	if isCreated {
		s.Noted = p.noted
	}
	p.keepGranted(old, s)
	if err := requestBootstrap(ctx, p.host, p.admin, s, p.report); err != nil {
		return nil, err
	}
	p.profile.Bootstrap.Granted = s.Profile.Bootstrap.Granted
	if !p.minting.IsByOthers() {
		err = p.prepareLimits(ctx, s)
	} else {
		err = p.confirmLimits(ctx, s.IsDenied)
	}
	if err != nil {
		return nil, err
	}
	if err := p.storeToken(ctx, s); err != nil {
		return nil, err
	}
	if found {
		p.reportChanges(old)
		p.forgetReplaced(ctx, old, s)
	}
	return s, p.saveProfile()
}

// keepGranted remembers what earlier setups have learned of the credential that may stay, also
// those of other profiles that share it.
func (p *Preparation) keepGranted(old profile.Profile, s *session.Session) {
	s.Profile.Bootstrap.Granted = nil
	if p.isDeviceNew { // nobody has learned anything of its credential
		return
	}
	sharing, err := p.fleet.sharing(p.host, p.profile.Device)
	p.host.Log.Debug("looked for profiles that share the credential", "error", err)
	for _, other := range append(sharing, old) {
		if granted := other.Bootstrap.Granted; granted != nil {
			s.Profile.Bootstrap.Granted = Granted(s.Profile.Bootstrap.Duration,
				granted.Duration)
		}
	}
}

// prepareDevice creates the device that this machine's tokens are bound to, or finds it. It is in
// the record before and after: a setup that is interrupted leaves no device that nobody knows.
func (p *Preparation) prepareDevice(ctx context.Context, old profile.Profile) (*profile.Device,
	error) {
	if p.admin == nil {
		return nil, nil
	}
	name, err := p.deviceName(old)
	if err != nil {
		return nil, err
	}
	if err := p.prepareMinters(ctx, name); err != nil {
		return nil, err
	}
	found, err := cluster.EnsureDevice(ctx, p.admin.Client, p.deviceSpec(name, p.owner()))
	if errors.Is(err, api.ErrForbidden) && !p.needsDevice() {
		p.warn("you cannot create devices in %q, so revoke cannot end this machine's "+
			"tokens", p.profile.Namespace)
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	p.step("device %q: tokens of this machine are bound to it",
		p.profile.Namespace+"/"+found.Name)
	p.reportMinters(found.Name)
	p.profile.Device = p.record.Name
	return &found, p.note(ctx, found)
}

// deviceName is the name under which an earlier setup knows this machine, also one for the same
// cluster with another certificate authority, or a new one, which is kept first.
func (p *Preparation) deviceName(old profile.Profile) (string, error) {
	record := p.record
	switch asked := p.options.Device; {
	case p.called != nil:
		return p.called.Name, nil
	case record.Current != nil && !p.isEnded:
		return record.Current.Name, nil
	case asked != "":
		name := cluster.NewDeviceName(p.profile.ServiceAccount, asked)
		if !cluster.IsNamesake(record.Next, name) { // or of a setup that was interrupted
			record.Next = name
		}
		return record.Next, record.Save()
	case record.Next != "":
		return record.Next, nil
	}
	if before := p.recordOf(old); before.Current != nil &&
		before.Account() == p.profile.Account() {
		record.Next = before.Current.Name
		record.Retired = before.Retired
	}
	if record.Next == "" {
		name, _ := p.host.Hostname()
		record.Next = cluster.NewDeviceName(p.profile.ServiceAccount, name)
	}
	return record.Next, record.Save()
}

func (p *Preparation) recordOf(old profile.Profile) device.Record {
	if old.Device == "" {
		return device.Record{}
	}
	dir, err := call.Devices(p.host)
	if err != nil {
		return device.Record{}
	}
	record, err := dir.Load(old.Device)
	p.host.Log.Debug("read the device record of the profile that is replaced", "error", err)
	return record
}

// note keeps the device that was found. All profiles of the account have it from then on: the one
// that it takes the place of is gone in the cluster.
func (p *Preparation) note(ctx context.Context, found profile.Device) error {
	record, before := p.record, p.record.Record
	if record.Current == nil {
		record.Next = ""
	}
	record.Current, record.Revoked = &found, false
	uid, err := cluster.ClusterUID(ctx, p.admin.Client)
	switch {
	case uid != "":
		record.ClusterUID = uid
	case err != nil && (p.profile.Recovery != nil || record.ClusterUID != ""):
		return err
	}
	if before.Current != nil && *before.Current == found && before.Revoked == record.Revoked &&
		before.ClusterUID == record.ClusterUID {
		return nil
	}
	if err := record.Save(); err != nil {
		return err
	}
	if before.Current != nil && *before.Current != found {
		p.forgetOld(ctx, record.Name, before.Current)
	}
	return nil
}

// forgetOld removes what the store holds for a device that is no more.
func (p *Preparation) forgetOld(ctx context.Context, record string, old *profile.Device) {
	sharing, err := session.Sharing(p.host, record)
	if err == nil {
		err = session.ForgetEntries(ctx, p.host, sharing, old)
	}
	p.host.Log.Debug("forgot what was kept for the old device", "error", err)
}

// forgetReplaced removes the entries that a profile leads to no longer once it has been changed,
// and its device record where no other profile names it.
func (p *Preparation) forgetReplaced(ctx context.Context, old profile.Profile,
	current *session.Session) {
	before := p.recordOf(old)
	s, err := session.With(ctx, p.host, old, before.Current)
	if err != nil {
		return
	}
	otherStore := old.Store != current.Profile.Store
	if !otherStore && s.TokenKey() == current.TokenKey() &&
		old.Device == current.Profile.Device {
		return
	}
	sharing, err := session.Sharing(p.host, old.Device)
	if err != nil {
		p.host.Log.Debug("other profiles may need what the replaced one has", "error", err)
		return
	}
	if otherStore || s.TokenKey() != current.TokenKey() {
		alone := len(sharing) < 2
		err = s.Forget(ctx, alone && (otherStore ||
			s.BootstrapKey() != current.BootstrapKey()))
	}
	p.host.Log.Debug("looked for entries of the replaced profile", "error", err)
	if len(sharing) < 2 && old.Device != "" && old.Device != current.Profile.Device {
		dir, err := call.Devices(p.host)
		if err == nil {
			err = dir.Remove(old.Device)
		}
		p.host.Log.Debug("removed the device record of the replaced profile", "error", err)
	}
}

func (p *Preparation) saveProfile() error {
	profiles, err := p.host.Profiles()
	if err != nil {
		return err
	}
	if err := profiles.Save(p.profile); err != nil {
		return err
	}
	p.fleet.saved(p.profile)
	p.report(ui.Step, fmt.Sprintf("profile: %q", p.profile.Name))
	return nil
}
