package prepare

import (
	"context"
	"fmt"
	"slices"

	"github.com/sa-exec-credential/sa-exec-credential/internal/authority"
	"github.com/sa-exec-credential/sa-exec-credential/internal/bootstrap"
	"github.com/sa-exec-credential/sa-exec-credential/internal/cluster"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/rights"
	"github.com/sa-exec-credential/sa-exec-credential/internal/session"
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
	if err := p.chooseStore(ctx); err != nil {
		return cluster.Planned{}, err
	}
	if p.admin == nil {
		return cluster.Planned{}, nil
	}
	if err := p.checkSource(ctx); err != nil {
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
	planned, err := cluster.Plan(ctx, p.admin.Client, p.options.wanted(p.profile))
	if err != nil {
		return cluster.Planned{}, err
	}
	if err := p.checkRights(ctx, planned); err != nil {
		return cluster.Planned{}, err
	}
	objects := planned.Objects
	if p.needsDevice() {
		objects = append(slices.Clone(objects), cluster.DeviceObjects(p.profile.Namespace,
			p.profile.ServiceAccount, cluster.NewDeviceName(p.profile.ServiceAccount,
				""))...)
	}
	return planned, cluster.Try(ctx, p.admin.Client, objects)
}

// needsDevice reports whether setup is nothing without a device. With other sources than the
// keyring it goes on without one where that is forbidden.
func (p *Preparation) needsDevice() bool {
	return p.profile.Bootstrap.Source == profile.SourceKeyring
}

// checkRights asks for the rights to every step that will be taken, and names all that are
// missing at once.
func (p *Preparation) checkRights(ctx context.Context, planned cluster.Planned) error {
	needed := slices.Concat(p.needed, rights.ForObjects(planned.Objects))
	if p.needsDevice() {
		needed = append(needed, rights.ForDevice(p.profile.Namespace)...)
	}
	var absent []string
	for _, object := range planned.Objects {
		written, exists := object.IsWritten()
		if written && !exists && object.Ref().Kind == "Namespace" {
			absent = append(absent, object.Ref().Name)
		}
	}
	limits := rights.On("patch", cluster.LimitsRef)
	if p.options.limited(p.profile) {
		needed = append(needed, limits)
	}
	missing, err := rights.Missing(ctx, p.admin.Client, needed)
	if err != nil {
		return err
	}
	// Whoever cannot write limits lives within those that others have set.
	if i := slices.Index(missing, limits); i >= 0 {
		missing = slices.Delete(missing, i, i+1)
		if err := p.fitsLimits(ctx, "have an administrator run the same setup"); err != nil {
			return err
		}
	}
	toGrant, err := rights.MissingToGrant(ctx, p.admin.Client, planned)
	if err != nil {
		return err
	}
	return p.admin.Lacks(ctx, append(missing, toGrant...), absent...)
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

// checkSource obtains the bootstrap credential of others once, which shows whether its source
// works.
func (p *Preparation) checkSource(ctx context.Context) error {
	if p.profile.Bootstrap.Source == profile.SourceKeyring {
		return nil
	}
	s, err := session.With(ctx, p.host, p.profile, nil)
	if err != nil {
		return err
	}
	_, err = bootstrap.Find(ctx, p.profile, s.System())
	return err
}
