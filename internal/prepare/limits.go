package prepare

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/cluster"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/session"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// An API server takes up a new policy within a second or so, and changed limits at once. Of
// several API servers some come later.
const (
	limitsWait = 15 * time.Second
	limitsPoll = 200 * time.Millisecond
)

// policyState is what a run learns about the cluster's policy.
type policyState struct {
	isNew       bool             // this run has created or changed it
	unsupported bool             // the API server knows no such thing
	forbidden   *cluster.Warning // the caller cannot touch it; nil: can
}

// checkLimits is an error when the limits that are there allow less than this machine wants, and
// this run is not to change them.
func (p *Preparation) checkLimits(ctx context.Context) error {
	if !p.options.NoLimits || p.profile.Bootstrap.Source != profile.SourceKeyring {
		return nil
	}
	return p.fitsLimits(ctx, "leave out --no-limits")
}

// fitsLimits compares what this machine wants with the limits that are there, as far as they can
// be read.
func (p *Preparation) fitsLimits(ctx context.Context, orElse string) error {
	inForce, found, err := cluster.LimitsOf(ctx, p.admin.Client, p.profile.Namespace,
		p.profile.ServiceAccount)
	if err != nil || !found {
		p.host.Log.Debug("reading the limits", "found", found, "error", err)
		return nil
	}
	if !inForce.Covers(limitsFor(p.profile)) {
		return ui.Usagef("the limits of the cluster are tokens of %s, bootstrap tokens "+
			"of %s, audiences %q: "+
			"ask for no more, or %s", profile.ShortDuration(inForce.Token),
			profile.ShortDuration(inForce.Bootstrap), inForce.Audiences, orElse)
	}
	return nil
}

// prepareLimits allows the account's devices what this machine needs, and waits until that, and
// nothing more, is in force.
func (p *Preparation) prepareLimits(ctx context.Context, s *session.Session) error {
	if p.admin == nil || p.policy.unsupported || !p.options.limited(p.profile) {
		return nil
	}
	audiences, err := apiAudiences(ctx, s)
	if err != nil {
		return err
	}
	wanted := limitsFor(p.profile)
	inForce, changed, err := cluster.EnsureLimits(ctx, p.admin.Client, p.profile.Namespace,
		p.profile.ServiceAccount,
		wanted, audiences)
	if errors.Is(err, api.ErrForbidden) || errors.Is(err, api.ErrNotFound) {
		return p.joinLimits(ctx, s)
	}
	if err != nil {
		return err
	}
	p.step("limits: tokens of %s, bootstrap tokens of %s", profile.ShortDuration(inForce.Token),
		profile.ShortDuration(inForce.Bootstrap))
	if !wanted.Covers(inForce) {
		p.report(ui.Warning, warningText(cluster.Warning{Kind: cluster.LimitsKept,
			Object: cluster.LimitsRef, Limits: inForce}))
	}
	if changed || p.policy.isNew || p.policy.forbidden != nil {
		p.awaitLimits(ctx, s, inForce)
	}
	return nil
}

// joinLimits is for those who cannot write limits: the ones that are there have to do, and
// whether there are any is found out with the bootstrap credential, which all can see.
func (p *Preparation) joinLimits(ctx context.Context, s *session.Session) error {
	if err := p.fitsLimits(ctx, "have an administrator run the same setup"); err != nil {
		return err
	}
	limited := false
	err := cluster.WaitUntilAllowed(ctx, rbacLimit, func(ctx context.Context) (err error) {
		limited, err = s.IsDenied(ctx, profile.MaxDuration)
		return err
	})
	if limited {
		p.step("limits: in force, as others have set them")
		return nil
	}
	p.host.Log.Debug("asking for too much", "error", err)
	forbidden := cluster.Warning{Kind: cluster.LimitsForbidden, Object: cluster.LimitsRef}
	if p.policy.forbidden != nil {
		forbidden = *p.policy.forbidden
	}
	p.report(ui.Warning, warningText(forbidden))
	return nil
}

// apiAudiences are those of a token that was requested for none: the API server's own. Without
// them the limits would allow nothing.
func apiAudiences(ctx context.Context, s *session.Session) ([]string, error) {
	entry, err := s.Store.Get(ctx, s.BootstrapKey())
	if err != nil {
		return nil, err
	}
	audiences := mint.ParseClaims(entry.Token.Reveal()).Audiences
	if len(audiences) == 0 {
		return nil, fmt.Errorf("%w: its tokens name no audience", api.ErrAnswer)
	}
	return audiences, nil
}

// awaitLimits asks for tokens that cannot come to be until the one that is too long is denied,
// and the one that is allowed is not.
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
			p.warn("the API server does not hold devices to their limits after %v; "+
				"run the same setup later to see "+
				"whether it does", limitsWait)
			return
		case <-time.After(limitsPoll):
		}
	}
}
