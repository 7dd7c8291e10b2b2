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
	limits      *cluster.Limits  // in force; nil: as others have set them, if there are any
	changed     bool             // the limits by this run
}

// checkLimits is an error when the limits that are there allow less than this machine wants, and
// this run is not to change them.
func (p *Preparation) checkLimits(ctx context.Context) error {
	if !p.options.NoLimits || !p.needsDevice() {
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
	if p.admin == nil || p.policy.unsupported || !p.isLimited() {
		return nil
	}
	audiences, err := apiAudiences(ctx, s)
	if err != nil {
		return err
	}
	if err := p.writeLimits(ctx, audiences); err != nil {
		return err
	}
	return p.confirmLimits(ctx, s.IsDenied)
}

// prepareMinters has the limits hold for those who mint as a device before they are allowed to.
func (p *Preparation) prepareMinters(ctx context.Context, device string) error {
	if !p.minting.IsByOthers() || p.policy.unsupported || !p.isLimited() {
		return nil
	}
	if len(p.audiences) == 0 {
		token, err := p.trialToken(ctx)
		p.host.Log.Debug("looked for the API server's audiences", "error", err)
		p.audiences = mint.ParseClaims(token.Reveal()).Audiences
	}
	if err := p.writeLimits(ctx, p.audiences); err != nil || p.policy.limits == nil {
		return err
	}
	if p.minting.AsDevice || p.minting.Minters.IsEmpty() {
		return nil
	}
	changed, err := cluster.EnsureMinterLines(ctx, p.admin.Client,
		p.deviceSpec(device, cluster.Owner{}))
	p.policy.changed = p.policy.changed || changed
	return err
}

// writeLimits is no error for those who cannot.
func (p *Preparation) writeLimits(ctx context.Context, audiences []string) error {
	wanted := limitsFor(p.profile)
	inForce, changed, err := cluster.EnsureLimits(ctx, p.admin.Client, p.profile.Namespace,
		p.profile.ServiceAccount, wanted, audiences)
	if errors.Is(err, api.ErrForbidden) || errors.Is(err, api.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	p.policy.limits, p.policy.changed = &inForce, changed
	bootstrapped := ""
	if wanted.Bootstrap > 0 {
		bootstrapped = ", bootstrap tokens of " + profile.ShortDuration(inForce.Bootstrap)
	}
	p.step("limits: tokens of %s%s", profile.ShortDuration(inForce.Token), bootstrapped)
	if wanted.Bootstrap == 0 {
		wanted.Bootstrap = inForce.Bootstrap // no token of these minters is one
	}
	if !wanted.Covers(inForce) {
		p.report(ui.Warning, warningText(cluster.Warning{Kind: cluster.LimitsKept,
			Object: cluster.LimitsRef, Limits: inForce}))
	}
	return nil
}

// errNotInForce is for the log alone: a person has been warned.
var errNotInForce = errors.New("the limits are not in force")

// storeToken is the function of that name, for an account whose limits the API server may be about
// to read.
func (p *Preparation) storeToken(ctx context.Context, s *session.Session) error {
	limited, cancel := context.WithTimeout(ctx, limitsWait)
	defer cancel()
	for {
		err := storeToken(ctx, s, p.report)
		if !p.policy.changed || !errors.Is(err, api.ErrAdmission) {
			return err
		}
		select {
		case <-limited.Done():
			return err
		case <-time.After(limitsPoll):
		}
	}
}

// denied asks whether a token of a lifetime is denied, see session.IsDenied.
type denied func(ctx context.Context, lifetime time.Duration) (bool, error)

// confirmLimits waits until the limits that were written are in force.
func (p *Preparation) confirmLimits(ctx context.Context, is denied) error {
	switch {
	case p.admin == nil || p.policy.unsupported || !p.isLimited():
	case p.policy.limits == nil:
		return p.joinLimits(ctx, is)
	case p.policy.changed || p.policy.isNew || p.policy.forbidden != nil:
		// once for all accounts of a server: the policy is the same, and a mint that comes
		// before it has read the limits is tried again
		_, err := p.admin.Client.Memo().Get("limits in force", func() ([]byte, error) {
			return nil, p.awaitLimits(ctx, is, *p.policy.limits)
		})
		p.host.Log.Debug("waited for the limits", "error", err)
	}
	return nil
}

// joinLimits is for those who cannot write limits: the ones that are there have to do, and
// whether there are any is found out with the bootstrap credential, which all can see.
func (p *Preparation) joinLimits(ctx context.Context, is denied) error {
	if err := p.fitsLimits(ctx, "have an administrator run the same setup"); err != nil {
		return err
	}
	limited := false
	err := cluster.WaitUntilAllowed(ctx, rbacLimit, func(ctx context.Context) (err error) {
		limited, err = is(ctx, profile.MaxDuration)
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
func (p *Preparation) awaitLimits(ctx context.Context, is denied, inForce cluster.Limits) error {
	if inForce.Token >= profile.MaxDuration {
		return nil // nothing longer can be asked for
	}
	ctx, cancel := context.WithTimeout(ctx, limitsWait)
	defer cancel()
	for {
		tooLong, err := is(ctx, inForce.Token+time.Second)
		allowed := false
		if err == nil && tooLong {
			allowed, err = is(ctx, p.profile.Duration.Duration)
			allowed = !allowed
		}
		if err == nil && tooLong && allowed {
			return nil
		}
		select {
		case <-ctx.Done():
			p.host.Log.Debug("waiting for the limits", "error", err)
			p.warn("the API server does not hold devices to their limits after %v; "+
				"run the same setup later to see "+
				"whether it does", limitsWait)
			return errNotInForce
		case <-time.After(limitsPoll):
		}
	}
}
