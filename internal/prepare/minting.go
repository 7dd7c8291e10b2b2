package prepare

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/client-go/rest"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/bootstrap"
	"github.com/sa-exec-credential/sa-exec-credential/internal/cluster"
	"github.com/sa-exec-credential/sa-exec-credential/internal/connect"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
	"github.com/sa-exec-credential/sa-exec-credential/internal/session"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// source is what a bootstrap source gave when it was tried, and whom that stands for.
type source struct {
	config *rest.Config
	user   string // empty: the API server does not say
}

// actsAlready reports whether the source's context acts as somebody else, which it keeps.
func (s source) actsAlready() bool { return s.config != nil && s.config.Impersonate.UserName != "" }

// decideMinting finds out who mints for the profile and how: those who were named, or else whoever
// the source stands for, if that one may not mint yet.
func (p *Preparation) decideMinting(ctx context.Context) error {
	if p.admin == nil {
		return nil
	}
	if p.profile.Bootstrap.Source == profile.SourceKeyring {
		if !p.options.Minters.IsEmpty() {
			return ui.Usagef("--minter, --minter-user and --minter-group go with another " +
				"--bootstrap than keyring")
		}
		return nil
	}
	if err := p.findMinters(ctx); err != nil {
		return err
	}
	p.profile.Bootstrap.AsDevice = p.minting.AsDevice
	if !p.minting.IsByOthers() {
		return nil
	}
	err := cluster.CheckMinting(p.profile.Namespace, p.profile.ServiceAccount, p.minting)
	if err != nil {
		return ui.Usagef("%w", err)
	}
	if !p.minting.AsDevice && !p.source.actsAlready() {
		p.step("minters: they get the right to create tokens of %q themselves: the API "+
			"server does not know constrained impersonation (Kubernetes 1.36)",
			p.profile.Account())
	}
	return nil
}

func (p *Preparation) findMinters(ctx context.Context) error {
	p.minting = cluster.Minting{Minters: p.options.Minters}
	if !p.minting.Minters.IsEmpty() {
		p.minting.AsDevice = !p.source.actsAlready() && p.knowsActing(ctx)
		return nil
	}
	if p.source.config == nil || p.source.user == "" {
		return nil
	}
	client, err := connect.To(p.source.config)
	if err != nil {
		return err
	}
	isMinter, err := p.isMinter(ctx, profile.MinterCalled(p.source.user))
	if err != nil {
		return err
	}
	mints, acts := p.may(ctx, client, p.mintingAttributes()), false
	if !isMinter && !p.source.actsAlready() {
		acts = p.may(ctx, client, actingAttributes())
	}
	switch {
	case acts:
		p.minting.AsDevice = p.knowsActing(ctx)
	case isMinter || !mints:
		p.minting.Minters = profile.MinterCalled(p.source.user)
		p.minting.AsDevice = !p.source.actsAlready() && p.knowsActing(ctx)
	}
	return nil
}

// isMinter reports whether an earlier setup has made somebody a minter of this machine's device.
func (p *Preparation) isMinter(ctx context.Context, m profile.Minters) (bool, error) {
	if p.record == nil || p.record.Current == nil {
		return false, nil
	}
	before, err := cluster.MintersOf(ctx, p.admin.Client, p.profile.Namespace,
		p.record.Current.Name)
	if errors.Is(err, api.ErrForbidden) {
		return false, nil
	}
	return before.Covers(m), err
}

// may asks with the source's own credential; what cannot be told is no.
func (p *Preparation) may(ctx context.Context, client *api.Client,
	attributes map[string]any) bool {
	allowed, err := cluster.Allowed(ctx, client, attributes)
	p.host.Log.Debug("asked what the source may do", "attributes", attributes, "error", err)
	return err == nil && allowed
}

// mintingAttributes are the right to create tokens of the account.
func (p *Preparation) mintingAttributes() map[string]any {
	return map[string]any{"verb": "create", "resource": "serviceaccounts",
		"subresource": "token", "namespace": p.profile.Namespace,
		"name": p.profile.ServiceAccount}
}

// actingAttributes are an administrator's right to act as any device.
func actingAttributes() map[string]any {
	return map[string]any{"verb": "impersonate", "resource": "serviceaccounts",
		"namespace": cluster.ActingRole().Namespace}
}

// knowsActing finds out whether the API server knows constrained impersonation: an account that may
// act as nobody tries to, and the refusal tells. What cannot be told is no.
func (p *Preparation) knowsActing(ctx context.Context) bool {
	token, err := p.trialToken(ctx)
	if err != nil {
		p.warn("whether the API server knows constrained impersonation cannot be found " +
			"out: you can request no token to try it with")
		return false
	}
	p.audiences = mint.ParseClaims(token.Reveal()).Audiences
	config, err := bootstrap.WithToken(p.profile.Cluster, token)
	if err != nil {
		return false
	}
	config.Impersonate.UserName = cluster.ActingUser(p.profile.Namespace, "nobody")
	client, err := connect.To(config)
	if err != nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, mint.Deadline)
	defer cancel()
	_, err = client.Get(ctx, "/version", "", nil)
	p.host.Log.Debug("tried to act as somebody without the right to", "error", err)
	return cluster.KnowsActing(err)
}

// trialToken is one of ten minutes, of an account that is there, with which something is tried.
func (p *Preparation) trialToken(ctx context.Context) (token secret.String, err error) {
	client, err := bootstrap.Minter(p.admin.Config, p.host.Now)
	if err != nil {
		return token, err
	}
	for _, account := range p.trialAccounts() {
		var grant mint.Grant
		grant, err = client.Mint(ctx, mint.Request{Namespace: account[0],
			ServiceAccount: account[1], Duration: profile.MinDuration})
		if err == nil {
			return grant.Token, nil
		}
		p.host.Log.Debug("no token to try", "account", account, "error", err)
	}
	return token, err
}

// deviceSpec is the device of a name as the profile needs it.
func (p *Preparation) deviceSpec(name string, owner cluster.Owner) cluster.DeviceSpec {
	return cluster.DeviceSpec{Namespace: p.profile.Namespace,
		Account: p.profile.ServiceAccount, Name: name, Owner: owner, Minting: p.minting,
		IsKnown: p.isDeviceKnown() && p.record.Current.Name == name}
}

// reportMinters says who may mint as a device.
func (p *Preparation) reportMinters(device string) {
	names := p.minting.Minters.Names()
	how := fmt.Sprintf("may create tokens of %q, bound to this device", p.profile.Account())
	if p.minting.AsDevice {
		how = fmt.Sprintf("may act as it, to create tokens of %q: %s", p.profile.Account(),
			cluster.ActingUser(p.profile.Namespace, device))
	}
	if len(names) > 0 {
		p.step("minters: %s %s", strings.Join(names, ", "), how)
	}
}

// calledDevice is the device that a person calls by a name, where there is one already: one device
// can stand for a system of many machines.
func (p *Preparation) calledDevice(ctx context.Context, name string) (*cluster.DeviceInfo, error) {
	devices, err := cluster.Devices(ctx, p.admin.Client, p.profile.Namespace,
		p.profile.ServiceAccount)
	if errors.Is(err, api.ErrForbidden) {
		p.warn("you cannot list Secrets in %q: a device %q that is there already is not "+
			"found", p.profile.Namespace, name)
		return nil, nil
	}
	devices = slices.DeleteFunc(devices, func(d cluster.DeviceInfo) bool {
		return len(d.Odd) > 0 || !d.IsCalled(name)
	})
	if err != nil || len(devices) == 0 {
		return nil, err
	}
	first := slices.MinFunc(devices, func(a, b cluster.DeviceInfo) int {
		return a.Created.Compare(b.Created)
	})
	return &first, nil
}

// checkNamed is an ErrOtherDevice when this machine is another device than the one that was named:
// its profiles would be left without it.
func (p *Preparation) checkNamed(ctx context.Context) (err error) {
	if p.options.Device == "" || p.admin == nil {
		return nil
	}
	if p.called, err = p.calledDevice(ctx, p.options.Device); err != nil {
		return err
	}
	current := p.record.Current
	if current == nil || p.called != nil && p.called.Name == current.Name {
		return nil
	}
	exists, err := cluster.DeviceExists(ctx, p.admin.Client, p.profile.Namespace, *current)
	if p.isEnded = err == nil && !exists; err != nil || p.isEnded {
		return err
	}
	return fmt.Errorf("%w: %q, and not %q", ErrOtherDevice, current.Name, p.options.Device)
}

// owner says whose machine the device is.
func (p *Preparation) owner() cluster.Owner {
	owner := session.Owner(p.host)
	if p.options.Device != "" {
		owner.Host = p.options.Device
	}
	if d := p.profile.Bootstrap.Duration; p.isDeviceNew && d != nil {
		owner.Issued = p.host.Now()
		owner.Expires = owner.Issued.Add(d.Duration)
		p.noted = owner.Expires
	}
	return owner
}
