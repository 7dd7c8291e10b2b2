package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/sa-exec-credential/sa-exec-credential/internal/admin"
	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/cluster"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/prepare"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/rights"
	"github.com/sa-exec-credential/sa-exec-credential/internal/session"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// Rotate creates a new device and a bootstrap credential of it, and ends the old ones once the
// new ones work. Interrupted anywhere, all profiles of the device go on with the old one or with
// the new one, and another rotate finishes it.
func Rotate(ctx context.Context, h *host.Host, c admin.Choice, name string,
	report ui.Report) error {
	m, err := open(ctx, h, c, name, report)
	if err != nil {
		return err
	}
	defer m.record.Release()
	sharing, err := session.Sharing(h, m.record.Name)
	if err != nil {
		return err
	}
	needed := slices.Concat(rights.ForDevice(m.profile.Namespace),
		rightsToEnd(m.profile.Namespace, append(m.record.Retired, *m.record.Current)...))
	needed = append(needed, rights.ForMinters(m.profile.Namespace, cluster.Minting{
		AsDevice: slices.ContainsFunc(sharing, actsAsDevice)})...)
	if err := m.admin.Require(ctx, needed); err != nil {
		return err
	}
	if err := m.checkStores(ctx, sharing); err != nil {
		return err
	}
	next, err := m.create(ctx, sharing)
	if err != nil {
		return err
	}
	if err := m.credentials(ctx, sharing, next); err != nil {
		return err
	}
	if err := m.switchTo(ctx, next); err != nil {
		return err
	}
	for _, p := range sharing {
		m.report(ui.Done, fmt.Sprintf("profile %q: uses the new credentials", p.Name))
	}
	return m.retire(ctx, sharing)
}

func actsAsDevice(p profile.Profile) bool { return p.Bootstrap.AsDevice }

func isMintedByOthers(p profile.Profile) bool {
	return p.Bootstrap.Source != profile.SourceKeyring
}

// checkStores makes sure that what is new can be kept beside what is old, before it is created.
func (m *machine) checkStores(ctx context.Context, sharing []profile.Profile) error {
	trial, done := &prepare.StoreTrial{}, map[string]bool{}
	for _, p := range sharing {
		store, err := m.host.Store(ctx, p.Store, p.TPM)
		if err != nil {
			return fmt.Errorf("profile %q: %w", p.Name, err)
		}
		entries := 1
		if p.Bootstrap.Source == profile.SourceKeyring && !done[string(p.Store)] {
			done[string(p.Store)], entries = true, 2
		}
		if err := trial.Check(ctx, m.host, store, entries); err != nil {
			return fmt.Errorf("profile %q: %w", p.Name, err)
		}
	}
	return nil
}

// create is the next device. Its name is in the record before there is one.
func (m *machine) create(ctx context.Context, sharing []profile.Profile) (profile.Device, error) {
	if m.record.Next == "" {
		name, _ := m.host.Hostname()
		m.record.Next = cluster.NewDeviceName(m.profile.ServiceAccount, name)
		if err := m.record.Save(); err != nil {
			return profile.Device{}, err
		}
	}
	specs, err := m.nextSpecs(ctx, sharing)
	if err != nil {
		return profile.Device{}, err
	}
	var created profile.Device
	for _, spec := range specs {
		if created, err = cluster.EnsureDevice(ctx, m.admin.Client, spec); err != nil {
			return created, err
		}
	}
	m.step("device %q: new tokens are bound to it", m.deviceName(created))
	return created, nil
}

// nextSpecs are the next device as the profiles that share it need it: for its own token, and for
// those who mint as the one before.
func (m *machine) nextSpecs(ctx context.Context, sharing []profile.Profile) (
	specs []cluster.DeviceSpec, err error) {
	var minters profile.Minters
	if slices.ContainsFunc(sharing, isMintedByOthers) {
		minters, err = cluster.MintersOf(ctx, m.admin.Client, m.profile.Namespace,
			m.record.Current.Name)
	}
	if err != nil {
		return nil, err
	}
	spec := cluster.DeviceSpec{Namespace: m.profile.Namespace,
		Account: m.profile.ServiceAccount, Name: m.record.Next,
		Owner: session.Owner(m.host)}
	for _, p := range sharing {
		spec.Minting = cluster.Minting{}
		if isMintedByOthers(p) {
			spec.Minting = cluster.Minting{Minters: minters, AsDevice: p.Bootstrap.AsDevice}
		}
		if spec.Minting.IsByOthers() && !spec.Minting.AsDevice {
			// before they have the right
			_, err := cluster.EnsureMinterLines(ctx, m.admin.Client, spec)
			if err != nil && !errors.Is(err, api.ErrForbidden) {
				return nil, err
			}
		}
		same := func(other cluster.DeviceSpec) bool { return reflect.DeepEqual(other, spec) }
		if !slices.ContainsFunc(specs, same) {
			specs = append(specs, spec)
		}
	}
	return specs, nil
}

// credentials gives every profile of the device a bootstrap credential of the next one, and sees
// that it mints. Profiles that keep it in the same store share it.
func (m *machine) credentials(ctx context.Context, sharing []profile.Profile,
	next profile.Device) error {
	granted := map[string]*profile.Duration{}
	for _, p := range sharing {
		s, err := session.With(ctx, m.host, p, &next)
		if err != nil {
			return fmt.Errorf("profile %q: %w", p.Name, err)
		}
		place := string(p.Store) + " " + s.BootstrapKey()
		if p.Bootstrap.AsDevice {
			place = p.Name
		} else if p.Bootstrap.Source != profile.SourceKeyring {
			continue
		}
		if _, done := granted[place]; !done {
			s.Profile.Bootstrap.Granted = nil
			if err := prepare.Bootstrap(ctx, m.host, m.admin, s, m.report); err != nil {
				return fmt.Errorf("profile %q: %w", p.Name, err)
			}
			granted[place] = s.Profile.Bootstrap.Granted
		}
		if err := m.noteGranted(ctx, p, granted[place]); err != nil {
			return err
		}
	}
	return nil
}

// noteGranted keeps in a profile how long its new credential lives, where that has changed.
func (m *machine) noteGranted(ctx context.Context, p profile.Profile,
	granted *profile.Duration) error {
	if granted != nil {
		granted = prepare.Granted(p.Bootstrap.Duration, granted.Duration)
	}
	was := p.Bootstrap.Granted
	if was == granted || was != nil && granted != nil && *was == *granted {
		return nil
	}
	profiles, err := m.host.Profiles()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, busyLimit)
	defer cancel()
	release, err := profiles.Lock(ctx, p.Name)
	if err != nil {
		return err
	}
	defer release()
	p.Bootstrap.Granted = granted
	return profiles.Save(p)
}

// switchTo makes the next device the current one, for all profiles at once: what they have is in
// the record.
func (m *machine) switchTo(ctx context.Context, next profile.Device) error {
	uid, err := cluster.ClusterUID(ctx, m.admin.Client)
	if err != nil {
		return err
	}
	m.record.Retired = append(m.record.Retired, *m.record.Current)
	m.record.Current, m.record.Next = &next, ""
	m.record.ClusterUID, m.record.Revoked = uid, false
	return m.record.Save()
}

// retire ends the devices that were replaced, also by a rotate that was interrupted: what is kept
// for them here, and then they themselves. One of which the store still holds something stays in
// the record: the next rotate finds its entries by it.
func (m *machine) retire(ctx context.Context, sharing []profile.Profile) error {
	all, remembered := m.record.Retired, []profile.Device(nil)
	for i, old := range all {
		problem := session.ForgetEntries(ctx, m.host, sharing, &old)
		if err := m.delete(ctx, old); err != nil {
			return err
		}
		if problem != nil {
			m.report(ui.Warning, fmt.Sprintf("%v; the next rotate tries again",
				problem))
			remembered = append(remembered, old)
		}
		m.record.Retired = slices.Concat(remembered, all[i+1:])
		if err := m.record.Save(); err != nil {
			return err
		}
	}
	m.step("what was bound to the old device is refused in some 15 seconds")
	return nil
}
