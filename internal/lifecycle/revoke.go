package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/admin"
	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/bootstrap"
	"github.com/sa-exec-credential/sa-exec-credential/internal/call"
	"github.com/sa-exec-credential/sa-exec-credential/internal/cluster"
	"github.com/sa-exec-credential/sa-exec-credential/internal/files"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/prepare"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
	"github.com/sa-exec-credential/sa-exec-credential/internal/session"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// The API server remembers a token review for some ten seconds, so a revoked token works that much
// longer.
const (
	revocationLimit = time.Minute
	revocationPoll  = time.Second
)

// ErrStillAccepted is a token that outlives its device by more than the API server's own memory
// explains.
var ErrStillAccepted = errors.New("the API server still accepts a token that was bound to the " +
	"deleted device")

// Revoke deletes this machine's device in the cluster, waits until its tokens are refused, and
// forgets everything about it here.
func Revoke(ctx context.Context, h *host.Host, c admin.Choice, name string,
	report ui.Report) error {
	m, err := open(ctx, h, c, name, report)
	if errors.Is(err, profile.ErrMissing) && sweep(h, report) {
		return nil
	}
	if err != nil {
		return err
	}
	defer m.record.Release()
	if err := m.admin.Require(ctx, rightsToEnd(m.profile.Namespace,
		append(m.record.Retired, *m.record.Current)...)); err != nil {
		return err
	}
	if err := m.end(ctx); err != nil {
		return err
	}
	if err := m.forget(ctx); err != nil {
		return err
	}
	removeTimer(ctx, h, report)
	return nil
}

// sweep removes what a revoke leaves that was killed after it had removed the last profile. It
// reports whether there was a device's record.
func sweep(h *host.Host, report ui.Report) bool {
	dir, err := call.Devices(h)
	if err != nil {
		return false
	}
	swept := dir.Sweep(func(record string) bool {
		sharing, err := session.Sharing(h, record)
		return err != nil || len(sharing) > 0
	})
	for _, record := range swept {
		report(ui.Step, fmt.Sprintf("device record %q: removed, which an interrupted "+
			"revoke had left", record))
	}
	if profiles, err := h.Profiles(); err == nil {
		files.Sweep(string(profiles))
	}
	return len(swept) > 0
}

// end deletes the current device, the one that an interrupted rotate was creating, and those that
// it has replaced.
func (m *machine) end(ctx context.Context) error {
	if err := m.retireNext(ctx); err != nil {
		return err
	}
	p := m.profile
	if err := end(ctx, m.host, m.admin, p.Namespace, p.ServiceAccount, *m.record.Current,
		m.report); err != nil {
		return err
	}
	for _, retired := range m.record.Retired {
		if err := m.delete(ctx, retired); err != nil {
			return err
		}
	}
	m.record.Revoked = true
	return m.record.Save()
}

// retireNext counts what an interrupted rotate was creating among the devices that were replaced.
func (m *machine) retireNext(ctx context.Context) error {
	if m.record.Next == "" {
		return nil
	}
	devices, err := cluster.Devices(ctx, m.admin.Client, m.profile.Namespace,
		m.profile.ServiceAccount)
	if err != nil {
		return err
	}
	for _, d := range devices {
		if d.Name == m.record.Next {
			m.record.Retired = append(m.record.Retired, d.Device)
		}
	}
	m.record.Next = ""
	return m.record.Save()
}

// RevokeDevice ends another machine from an administrator's.
func RevokeDevice(ctx context.Context, h *host.Host, c admin.Choice, namespace, account,
	name string, report ui.Report) error {
	found, err := admin.Find(ctx, h, c, nil, report)
	if err != nil {
		return err
	}
	namespace = found.Namespace(namespace)
	devices, err := cluster.Devices(ctx, found.Client, namespace, account)
	if err != nil {
		return err
	}
	d, err := choose(devices, name)
	if err != nil {
		return fmt.Errorf("%w of %q", err, namespace+"/"+account)
	}
	if err := found.Require(ctx, rightsToEnd(namespace, d.Device)); err != nil {
		return err
	}
	report(ui.Step, fmt.Sprintf("device %q%v, since %s", namespace+"/"+d.Name, d.Owner,
		ui.Date(d.Created)))
	return end(ctx, h, found, namespace, account, d.Device, report)
}

// choose finds the device that is meant, by its own name or its machine's. What a machine is called
// decides nothing where several are called so: whoever can change Secrets can change that.
func choose(devices []cluster.DeviceInfo, name string) (cluster.DeviceInfo, error) {
	var called []cluster.DeviceInfo
	for _, d := range devices {
		if d.Name == name || d.Short == name {
			return d, nil
		}
		if d.IsCalled(name) {
			called = append(called, d)
		}
	}
	switch len(called) {
	case 0:
		return cluster.DeviceInfo{}, fmt.Errorf("%w: no device %q", ErrNoDevice, name)
	case 1:
		return called[0], nil
	}
	return cluster.DeviceInfo{}, &AmbiguousError{Name: name, Devices: called}
}

// AmbiguousError is a name that several devices' machines have.
type AmbiguousError struct {
	Name    string
	Devices []cluster.DeviceInfo
}

// Error implements error.
func (e *AmbiguousError) Error() string {
	var names []string
	for _, d := range e.Devices {
		names = append(names, fmt.Sprintf("%s (since %s)", d.Short, ui.Date(d.Created)))
	}
	return fmt.Sprintf("%q is the name of several devices: %s", e.Name,
		strings.Join(names, ", "))
}

// end deletes a device and waits until the API server refuses what was bound to it.
func end(ctx context.Context, h *host.Host, a *admin.Admin, namespace, account string,
	d profile.Device, report ui.Report) error {
	canary := canaryOf(ctx, h, a, namespace, account, d)
	if err := deleteDevice(ctx, a, namespace, d, report); err != nil {
		return err
	}
	if canary.Empty() {
		report(ui.Step, "its tokens and its bootstrap credential are refused in some 15 "+
			"seconds")
		return nil
	}
	return awaitRefusal(ctx, h, a.Context.Cluster, canary, report)
}

// canaryOf is a token bound to the device, to see it die. Without the right to create one nothing
// is seen, and all the same revoked.
func canaryOf(ctx context.Context, h *host.Host, a *admin.Admin, namespace, account string,
	d profile.Device) secret.String {
	client, err := bootstrap.Minter(a.Config, h.Now)
	if err != nil {
		return secret.String{}
	}
	grant, err := client.Mint(ctx, mint.Request{Namespace: namespace, ServiceAccount: account,
		Duration: profile.MinDuration, Bound: &mint.Secret{Name: d.Name, UID: d.SecretUID}})
	if err == nil {
		// The API server remembers that it is good, as it does of the tokens that are in
		// use.
		_, err = session.WhoIs(ctx, h, a.Context.Cluster, grant.Token)
	}
	if err != nil {
		h.Log.Debug("no token to watch", "error", err)
		return secret.String{}
	}
	return grant.Token
}

func awaitRefusal(ctx context.Context, h *host.Host, c profile.Cluster, token secret.String,
	report ui.Report) error {
	report(ui.Step, "waiting until the API server refuses what was bound to it (some 15 "+
		"seconds)")
	limit := time.After(revocationLimit)
	for began := h.Now(); ; {
		// Each question has a time limit of its own. The minute cuts none short, so that
		// the last one has an answer, too.
		_, err := session.WhoIs(ctx, h, c, token)
		if errors.Is(err, api.ErrUnauthorized) {
			report(ui.Done, fmt.Sprintf("refused after %d seconds",
				int(h.Now().Sub(began).Seconds())))
			return nil
		}
		select {
		case <-ctx.Done():
			return notRefused(ctx, err)
		case <-limit:
			return notRefused(ctx, err)
		case <-time.After(revocationPoll):
		}
	}
}

// notRefused is what it means that the wait for a refusal ended without one. answer is that to
// the last question.
func notRefused(ctx context.Context, answer error) error {
	switch {
	case ctx.Err() != nil:
		// and the question with it, so its answer says nothing of the server
		return prepare.ErrInterrupted
	// who is forbidden something is known
	case answer == nil, errors.Is(answer, api.ErrForbidden):
		return fmt.Errorf("%w, %v later", ErrStillAccepted, revocationLimit)
	}
	return fmt.Errorf("the device is deleted, but the API server cannot be asked whether its "+
		"tokens are refused: %w", answer)
}

// forget removes all local traces of a device: entries, profiles, the record. Kubeconfigs are the
// user's. The profile that was named is the last one, so that naming it again finishes a revoke
// that was interrupted.
func (m *machine) forget(ctx context.Context) error {
	sharing, err := session.Sharing(m.host, m.record.Name)
	if err != nil {
		return err
	}
	for _, d := range append(m.record.Retired, *m.record.Current) {
		if err := session.ForgetEntries(ctx, m.host, sharing, &d); err != nil {
			m.report(ui.Warning, err.Error()) // what it was good for is over
		}
	}
	profiles, err := m.host.Profiles()
	if err != nil {
		return err
	}
	isNamed := func(p profile.Profile) bool { return p.Name == m.profile.Name }
	for _, p := range append(slices.DeleteFunc(sharing, isNamed), m.profile) {
		if err := removeProfile(ctx, profiles, p.Name); err != nil {
			return err
		}
		m.step("profile %q: removed, with its entries in the store", p.Name)
		nameContexts(m.host, p.Name, m.report)
	}
	files.Sweep(string(profiles)) // of a profile that an interrupted revoke has removed
	return m.record.Remove()
}

func removeProfile(ctx context.Context, profiles profile.Dir, name string) error {
	ctx, cancel := context.WithTimeout(ctx, busyLimit)
	defer cancel()
	release, err := profiles.Lock(ctx, name)
	if err != nil {
		return err
	}
	defer release()
	return profiles.Remove(name)
}

// nameContexts says which contexts still name a profile that is gone.
func nameContexts(h *host.Host, name string, report ui.Report) {
	paths, err := h.KubeconfigPaths("")
	if err != nil {
		return
	}
	uses, err := kubeconfig.FindPluginContexts(paths)
	if err != nil {
		return
	}
	for _, use := range uses {
		if use.Profile == name {
			line := []string{"kubectl", "config", "delete-context", use.Context}
			if use.File != "" {
				line = append(line, "--kubeconfig", use.File)
			}
			report(ui.Hint, fmt.Sprintf("context %q in %q still names it: %s",
				use.Context, use.File, ui.CommandLine(line...)))
		}
	}
}
