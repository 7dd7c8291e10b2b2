package prepare

import (
	"context"
	"errors"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/cluster"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/session"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// An API server takes up a new policy within a second or so, and changed limits at once. Of several API
// servers some come later.
const (
	limitsWait = 15 * time.Second
	limitsPoll = 200 * time.Millisecond
)

// prepareLimits allows the account's devices what this machine needs, and waits until that, and nothing
// more, is in force.
func (p *Preparation) prepareLimits(ctx context.Context, s *session.Session) error {
	if p.admin == nil || p.noPolicy || !p.options.limited(p.profile) {
		return nil
	}
	wanted := limitsFor(p.profile)
	inForce, changed, err := cluster.EnsureLimits(ctx, p.admin.Client, p.profile.Namespace, p.profile.ServiceAccount,
		wanted, apiAudiences(ctx, s))
	if errors.Is(err, api.ErrForbidden) || errors.Is(err, api.ErrNotFound) {
		return p.joinLimits(ctx, wanted)
	}
	if err != nil {
		return err
	}
	p.step("limits: tokens of %s, bootstrap tokens of %s", profile.ShortDuration(inForce.Token),
		profile.ShortDuration(inForce.Bootstrap))
	if !wanted.Covers(inForce) {
		p.report(ui.Warning, warningText(cluster.Warning{Kind: cluster.LimitsKept, Object: cluster.LimitsRef, Limits: inForce}))
	}
	if changed || p.newPolicy {
		p.awaitLimits(ctx, s, inForce)
	}
	return nil
}

// joinLimits is for those who cannot write limits: the ones that are there have to do.
func (p *Preparation) joinLimits(ctx context.Context, wanted cluster.Limits) error {
	inForce, found, err := cluster.LimitsOf(ctx, p.admin.Client, p.profile.Namespace, p.profile.ServiceAccount)
	switch {
	case err != nil || !found:
		p.host.Log.Debug("reading the limits", "error", err)
	case !inForce.Covers(wanted):
		return ui.Usagef("the limits of the cluster are tokens of %s, bootstrap tokens of %s, audiences %q: "+
			"ask for no more, or have an administrator run the same setup", profile.ShortDuration(inForce.Token),
			profile.ShortDuration(inForce.Bootstrap), inForce.Audiences)
	}
	return nil
}

// apiAudiences are those of a token that was requested for none: the API server's own.
func apiAudiences(ctx context.Context, s *session.Session) []string {
	entry, err := s.Store.Get(ctx, s.BootstrapKey())
	if err != nil {
		return nil
	}
	return mint.ParseClaims(entry.Token.Reveal()).Audiences
}

// awaitLimits asks for tokens that cannot come to be until the one that is too long is denied, and the one
// that is allowed is not.
func (p *Preparation) awaitLimits(ctx context.Context, s *session.Session, inForce cluster.Limits) {
	if inForce.Token >= profile.MaxDuration {
		return // nothing longer can be asked for
	}
	ctx, cancel := context.WithTimeout(ctx, limitsWait)
	defer cancel()
	for {
		tooLong, err := s.IsDenied(ctx, inForce.Token+time.Second)
		allowed := false
		if err == nil && tooLong {
			allowed, err = s.IsDenied(ctx, p.profile.Duration.Duration)
			allowed = !allowed
		}
		if err == nil && tooLong && allowed {
			return
		}
		select {
		case <-ctx.Done():
			p.host.Log.Debug("waiting for the limits", "error", err)
			p.warn("the API server does not hold devices to their limits after %v; run the same setup later to see "+
				"whether it does", limitsWait)
			return
		case <-time.After(limitsPoll):
		}
	}
}
