package prepare

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/sa-exec-credential/sa-exec-credential/internal/authority"
	"github.com/sa-exec-credential/sa-exec-credential/internal/cluster"
	"github.com/sa-exec-credential/sa-exec-credential/internal/eventlog"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/rights"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// check finds out everything that can be known before a change. A dry run does the same.
func (p *Preparation) check(ctx context.Context) (cluster.Planned, error) {
	if err := p.checkTaken(ctx); err != nil {
		return cluster.Planned{}, err
	}
	if err := p.checkOutput(); err != nil {
		return cluster.Planned{}, err
	}
	if err := eventlog.To(p.profile.Log).Check(); err != nil {
		return cluster.Planned{}, err
	}
	if err := p.chooseStore(ctx); err != nil {
		return cluster.Planned{}, err
	}
	if err := p.checkSource(ctx); err != nil {
		return cluster.Planned{}, err
	}
	if p.admin == nil {
		return cluster.Planned{}, nil
	}
	if err := p.decideMinting(ctx); err != nil {
		return cluster.Planned{}, err
	}
	if err := p.checkNamed(ctx); err != nil {
		return cluster.Planned{}, err
	}
	planned, err := p.checkCluster(ctx)
	if err != nil {
		return cluster.Planned{}, err
	}
	if _, found, err := p.before(); err != nil || found { // a token was accepted then
		return planned, err
	}
	return planned, p.checkTokens(ctx)
}

// checkCluster is the cluster's part of it: what is there, and whether the caller may do the rest.
func (p *Preparation) checkCluster(ctx context.Context) (cluster.Planned, error) {
	if err := p.checkLimits(ctx); err != nil {
		return cluster.Planned{}, err
	}
	planned, err := cluster.Plan(ctx, p.admin.Client, p.wanted())
	if err != nil {
		return cluster.Planned{}, err
	}
	lacking, perhaps, err := p.checkRights(ctx, planned)
	if err != nil {
		return cluster.Planned{}, err
	}
	if !lacking.IsEmpty() {
		lacking.Missing = append(lacking.Missing, perhaps...)
		return cluster.Planned{}, p.admin.Lacks(ctx, lacking)
	}
	err = cluster.Try(ctx, p.admin.Client, p.tried(ctx, planned))
	var escalation *cluster.EscalationError
	if errors.As(err, &escalation) && len(perhaps) > 0 {
		lacking.Missing = perhaps
		return cluster.Planned{}, p.admin.Lacks(ctx, lacking)
	}
	return planned, err
}

// tried are the objects that will be written, and those of a device.
func (p *Preparation) tried(ctx context.Context, planned cluster.Planned) []cluster.Object {
	account := p.profile.ServiceAccount
	switch {
	case !p.needsDevice():
		return planned.Objects
	case p.isDeviceKnown() && !p.minting.IsByOthers():
		return append(slices.Clone(planned.Objects), cluster.Lacking(ctx, p.admin.Client,
			p.deviceSpec(p.record.Current.Name, cluster.Owner{}))...)
	}
	return append(slices.Clone(planned.Objects), cluster.DeviceObjects(p.deviceSpec(
		cluster.NewDeviceName(account, ""), cluster.Owner{}))...)
}

// isDeviceKnown reports whether an earlier setup has created this machine's device.
func (p *Preparation) isDeviceKnown() bool {
	return p.record != nil && p.record.Current != nil && p.called == nil && !p.isEnded
}

// needsDevice reports whether setup is nothing without a device. Where the source mints with a
// right of its own, setup goes on without one where that is forbidden.
func (p *Preparation) needsDevice() bool {
	return p.profile.Bootstrap.Source == profile.SourceKeyring || p.minting.IsByOthers()
}

// checkRights asks for the rights to every step that will be taken, and collects all that are
// missing. Whoever lacks perhaps may still be allowed to: only a try tells.
func (p *Preparation) checkRights(ctx context.Context,
	planned cluster.Planned) (lacking rights.Error, perhaps []rights.Right, err error) {
	needed := slices.Concat(p.needed, rights.ForObjects(planned.Objects))
	if p.needsDevice() {
		needed = append(needed, rights.ForDevice(p.profile.Namespace)...)
	}
	needed = append(needed, rights.ForMinters(p.profile.Namespace, p.minting)...)
	limits := rights.On("patch", cluster.LimitsRef)
	if p.isLimited() {
		needed = append(needed, limits)
	}
	missing, err := rights.Missing(ctx, p.admin.Client, needed)
	if err != nil {
		return lacking, nil, err
	}
	// Whoever cannot write limits lives within those that others have set.
	if i := slices.Index(missing, limits); i >= 0 {
		missing = slices.Delete(missing, i, i+1)
		err := p.fitsLimits(ctx, "have an administrator run the same setup")
		if err != nil {
			return lacking, nil, err
		}
	}
	grants, err := rights.CheckGrants(ctx, p.admin.Client, planned)
	lacking.Missing, lacking.NotHeld = append(missing, grants.Bind...), grants.NotHeld
	for _, object := range planned.Objects {
		written, exists := object.IsWritten()
		name := object.Ref().Name
		isNeeded := name == p.profile.Namespace ||
			p.minting.AsDevice && name == cluster.ActingRole().Namespace
		switch {
		case object.Ref().Kind != "Namespace" || !isNeeded:
		case object.IsUnseen():
			lacking.Unseen = append(lacking.Unseen, name)
		case written && !exists:
			lacking.Absent = append(lacking.Absent, name)
		}
	}
	return lacking, grants.Perhaps, err
}

// checkAuthorities sees to it that every certificate authority of the cluster can be used, and
// that clients can hand all of them to this program.
func (p *Preparation) checkAuthorities(ctx context.Context, name string) error {
	bundle := p.profile.Cluster.CertificateAuthorityData
	if err := profile.CheckBundle(bundle); err != nil {
		return fmt.Errorf("cluster %q: %w", name, err)
	}
	fitting, taken, err := authority.Fit(ctx, p.profile.Cluster)
	if err != nil {
		return fmt.Errorf("cluster %q: %w", name, err)
	}
	p.profile.Cluster = fitting
	if len(taken) > 0 {
		p.step("certificate authority: cluster %q has a bundle of %d bytes, more than "+
			"clients can hand to a plugin; the profile and its context get what the "+
			"server's certificate is signed by: %s", name, len(bundle),
			ui.QuotedList(taken))
	}
	return nil
}
