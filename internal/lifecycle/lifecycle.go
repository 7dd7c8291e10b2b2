// Package lifecycle is what happens to a device after setup: rotate, revoke, and the list of them.
//
// It prints nothing: it reports steps to a function. It knows nothing of flags.
package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/admin"
	"github.com/sa-exec-credential/sa-exec-credential/internal/call"
	"github.com/sa-exec-credential/sa-exec-credential/internal/cluster"
	"github.com/sa-exec-credential/sa-exec-credential/internal/device"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/rights"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// busyLimit bounds the wait for another command that changes the same device.
const busyLimit = 2 * time.Minute

// ErrNoDevice is a device that is not in the cluster.
var ErrNoDevice = errors.New("no such device")

// machine is this machine's device of one account, while a command changes it.
type machine struct {
	host    *host.Host
	admin   *admin.Admin
	profile profile.Profile // the one that was named; others may share the device
	record  *device.Locked
	report  ui.Report
}

// open loads a profile whose tokens are bound to a device, finds who can change that device, and
// locks its record.
func open(ctx context.Context, h *host.Host, c admin.Choice, name string,
	report ui.Report) (*machine, error) {
	profiles, err := h.Profiles()
	if err != nil {
		return nil, err
	}
	p, err := profiles.Load(name)
	if err != nil {
		return nil, err
	}
	if p.Device == "" {
		return nil, ui.Usagef("profile %q has no device; its tokens die when they "+
			"expire, and logout forgets them here", name)
	}
	found, err := admin.FindFor(ctx, h, c, p, report)
	if err != nil {
		return nil, err
	}
	dir, err := call.Devices(h)
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, busyLimit)
	defer cancel()
	record, err := dir.Lock(limited, p)
	if err != nil {
		return nil, err
	}
	m := &machine{host: h.Patient(), admin: found, profile: p, record: record, report: report}
	if record.Current == nil {
		record.Release()
		return nil, fmt.Errorf("profile %q: %w: %q", name, device.ErrMissing, p.Device)
	}
	return m, nil
}

func (m *machine) step(format string, args ...any) {
	m.report(ui.Step, fmt.Sprintf(format,
		args...))
}

// deviceName is NAMESPACE/NAME of a device.
func (m *machine) deviceName(d profile.Device) string { return m.profile.Namespace + "/" + d.Name }

// delete deletes a device in the cluster. One that is gone already is as good as deleted.
func (m *machine) delete(ctx context.Context, d profile.Device) error {
	return deleteDevice(ctx, m.admin, m.profile.Namespace, d, m.report)
}

func deleteDevice(ctx context.Context, a *admin.Admin, namespace string, d profile.Device,
	report ui.Report) error {
	return cluster.DeleteDevice(ctx, a.Client, namespace, d, func(ref cluster.Ref,
		result cluster.Deletion) {
		kind := ui.Step
		if result == cluster.Namesake {
			kind = ui.Warning
		}
		report(kind, fmt.Sprintf("%v: %s", ref, result))
	})
}

// rightsToEnd are those to delete devices. Their roles are of no use to anybody then.
func rightsToEnd(namespace string, devices ...profile.Device) (list []rights.Right) {
	for _, d := range devices {
		for _, kind := range []string{"ServiceAccount", "Secret"} {
			list = append(list, rights.On("delete", cluster.Ref{Kind: kind,
				Namespace: namespace, Name: d.Name}))
		}
	}
	return list
}

// List is every machine that can mint for an account.
func List(ctx context.Context, h *host.Host, c admin.Choice, namespace, account string,
	report ui.Report) ([]cluster.DeviceInfo, error) {
	found, err := admin.Find(ctx, h, c, nil, report)
	if err != nil {
		return nil, err
	}
	return cluster.Devices(ctx, found.Client, found.Namespace(namespace), account)
}
