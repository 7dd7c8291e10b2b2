// Package prepare is setup, invite, join and migrate as use cases: options, a plan that is checked
// before anything is touched, steps each of which finds out whether it has been taken before, and
// the proof.
//
// It prints nothing: it reports steps to a function and returns values. It knows nothing of flags.
package prepare

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/admin"
	"github.com/sa-exec-credential/sa-exec-credential/internal/call"
	"github.com/sa-exec-credential/sa-exec-credential/internal/cluster"
	"github.com/sa-exec-credential/sa-exec-credential/internal/device"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/rights"
	"github.com/sa-exec-credential/sa-exec-credential/internal/session"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

const (
	// rbacLimit bounds the wait for a role that was just created to count everywhere.
	rbacLimit = 15 * time.Second
	// busyLimit bounds the wait for another command that changes the same profile or device.
	busyLimit = 2 * time.Minute
)

// Preparation is setup for one cluster.
type Preparation struct {
	host    *host.Host
	options Options
	found   kubeconfig.Context // of the administrator
	admin   *admin.Admin       // nil in a pod, where nothing is prepared
	profile profile.Profile
	// of the profile's account, while it is changed; nil in a pod
	record  *device.Locked
	context string // in the kubeconfig that was merged into
	isDry   bool
	needed  []rights.Right // beside those for what is created
	policy  policyState    // what is learned about the cluster's
	source  source         // what the bootstrap source gave
	minting cluster.Minting
	// of the API server's own, as far as they have been learned
	audiences []string
	called    *cluster.DeviceInfo // the device of the name that was asked for
	isEnded   bool                // the device that this machine was
	// this machine was none before
	isDeviceNew bool
	noted       time.Time    // see session.Session
	risks       []string     // rights by which the account can become another
	fleet       *fleet       // nil when there is one cluster
	waiting     func(func()) // has others go on meanwhile; see fleet
	hasMerged   bool
	// how the output is read as it was written; nil: as it is now
	written func() (*kubeconfig.Files, error)
	trial   *StoreTrial // shared by the clusters of one setup; nil until the store is chosen
	passed  []error     // why no other store was chosen
	report  ui.Report
}

// New logs in with the administrator's context and works out the profile. It writes nothing.
func New(ctx context.Context, h *host.Host, o Options, paths []string, name string,
	report ui.Report) (*Preparation, error) {
	files, err := kubeconfig.Read(paths)
	if err != nil {
		return nil, err
	}
	p, err := plan(h, o, files, name, report)
	if err != nil {
		return nil, err
	}
	return p, p.login(ctx)
}

// plan works out the profile, and asks nobody.
func plan(h *host.Host, o Options, files *kubeconfig.Files, name string,
	report ui.Report) (*Preparation, error) {
	h = h.Patient()
	found, paths, err := admin.ResolveIn(h, files, name, report)
	if err != nil {
		return nil, err
	}
	if o.ServiceAccount == "" {
		return nil, ui.Usagef("name the service account to mint tokens for")
	}
	if err := profile.CheckMachine(o.Device); o.Device != "" && err != nil {
		return nil, ui.Usagef("--device: %w", err)
	}
	o = o.keep(h, o.profileFor(h, found, paths))
	return &Preparation{host: h, options: o, profile: o.profileFor(h, found, paths),
		found: found, report: report}, nil
}

// login logs in with the administrator's context.
func (p *Preparation) login(ctx context.Context) error {
	if err := p.checkAuthorities(ctx, p.found.ClusterName); err != nil {
		return err
	}
	p.found.Cluster = p.profile.Cluster
	if p.options.invites() {
		p.profile.Store = keyring.None // of this machine
		p.leaveOutOwnProxy()
	} else if err := p.checkSources(p.found); err != nil {
		return err
	}
	p.warnOfPasswords()
	var err error
	p.admin, err = admin.New(ctx, p.host, p.found, p.report)
	return err
}

// ForProfile is a preparation of which only the kubeconfig is wanted.
func ForProfile(h *host.Host, p profile.Profile) *Preparation {
	return &Preparation{host: h, profile: p, report: h.Log.Quiet}
}

func (p *Preparation) step(format string, args ...any) {
	p.report(ui.Step, fmt.Sprintf(format, args...))
}

func (p *Preparation) warn(format string, args ...any) {
	p.report(ui.Warning, fmt.Sprintf(format, args...))
}

// Profile is the profile as it stands.
func (p *Preparation) Profile() profile.Profile { return p.profile }

// IsForPods says that only the cluster's part is done here: the rest is done in the pod, where the
// bootstrap credential is.
func (p *Preparation) IsForPods() bool {
	return p.admin != nil && p.profile.Bootstrap.Source == profile.SourceInCluster
}

// Run takes every step. Each one finds out whether it has been taken before, so that a run which
// was interrupted after any of them can be repeated.
func (p *Preparation) Run(ctx context.Context) (*Proof, error) {
	s, err := p.ready(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.mergeKubeconfig(); err != nil {
		return nil, err
	}
	return p.prove(ctx, s)
}

// ready takes every step that comes before the kubeconfig.
func (p *Preparation) ready(ctx context.Context) (*session.Session, error) {
	release, err := p.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	planned, err := p.check(ctx)
	if err != nil {
		return nil, err
	}
	if err := p.prepareCluster(ctx, planned); err != nil {
		return nil, err
	}
	return p.prepareMachine(ctx)
}

// lock keeps other commands from changing this machine's device and the profile until release: a
// rotate that did not know of the profile yet would leave it with the old device. Whoever takes
// both locks takes the device's first.
func (p *Preparation) lock(ctx context.Context) (release func(), err error) {
	ctx, cancel := context.WithTimeout(ctx, busyLimit)
	defer cancel()
	profiles, err := p.host.Profiles()
	if err := errors.Join(err, p.host.CreateConfigDir()); err != nil {
		return nil, err
	}
	if p.admin == nil && p.profile.Device == "" {
		return profiles.Lock(ctx, p.profile.Name)
	}
	devices, err := call.Devices(p.host)
	if err != nil {
		return nil, err
	}
	if p.record, err = devices.Lock(ctx, p.profile); err != nil {
		return nil, err
	}
	releaseProfile, err := profiles.Lock(ctx, p.profile.Name)
	if err != nil {
		p.record.Release()
		return nil, err
	}
	return func() { releaseProfile(); p.record.Release() }, nil
}

// checkTaken keeps a profile that other contexts name from becoming one for something else:
// clusters created by the same tool often have the same name in different kubeconfigs. A cluster
// that was rebuilt behind its address has another certificate authority and is still that
// cluster; a profile that cannot be read is what setup fixes.
func (p *Preparation) checkTaken(ctx context.Context) error {
	old, found, err := p.before()
	if err != nil || !found {
		return err
	}
	was, err := old.Identity()
	if err != nil {
		return nil
	}
	now, err := p.profile.Identity()
	if err != nil {
		return err
	}
	if old.Account() == p.profile.Account() && was.Server == now.Server {
		return nil
	}
	taken := fmt.Sprintf("%q is for %q of %s%s", p.profile.Name, old.Account(),
		old.Cluster.Server, p.whatBecameOf(ctx, old))
	if p.options.TakeOver {
		p.step("profile %s: taken over", taken)
		return nil
	}
	return fmt.Errorf("%w: %s", ErrProfileTaken, taken)
}

// whatBecameOf tells a cluster that has moved to another address from another cluster, where the
// uid of the old one is known.
func (p *Preparation) whatBecameOf(ctx context.Context, old profile.Profile) string {
	before := p.recordOf(old).ClusterUID
	if before == "" || p.admin == nil {
		return ""
	}
	uid, err := cluster.ClusterUID(ctx, p.admin.Client)
	switch {
	case err != nil:
		p.host.Log.Debug("asking for the uid of the cluster", "error", err)
		return ""
	case uid == before && old.Cluster.Server == p.profile.Cluster.Server:
		return ""
	case uid == before:
		return fmt.Sprintf(", the same cluster, which is at %s now",
			p.profile.Cluster.Server)
	}
	return fmt.Sprintf(", and %s is another cluster", p.profile.Cluster.Server)
}

// before is the profile of the same name that is there already.
func (p *Preparation) before() (old profile.Profile, found bool, err error) {
	profiles, err := p.host.Profiles()
	if err != nil {
		return profile.Profile{}, false, err
	}
	old, err = profiles.Load(p.profile.Name)
	return old, err == nil, nil
}

func (p *Preparation) prepareCluster(ctx context.Context, planned cluster.Planned) error {
	if p.admin == nil {
		return nil
	}
	objects := planned.Objects
	if p.risks = planned.Risks; len(p.risks) > 0 {
		p.warn("%q can %s in its own namespace, and so become any other account there; "+
			"to grant these rights in another namespace: --in NAMESPACE",
			p.profile.Account(), strings.Join(p.risks, ", "))
	}
	warnings, err := cluster.Apply(ctx, p.admin.Client, objects, func(ref cluster.Ref,
		result cluster.Result) {
		p.step("%v: %s", ref, result)
		p.policy.isNew = p.policy.isNew || result.Wrote() && ref.IsPolicy()
	})
	for _, warning := range warnings {
		if warning.Kind == cluster.LimitsForbidden {
			p.policy.forbidden = &warning // somebody else may have seen to it
			continue
		}
		p.policy.unsupported = p.policy.unsupported ||
			warning.Kind == cluster.LimitsUnsupported
		p.report(ui.Warning, warningText(warning))
	}
	if err != nil {
		return err
	}
	p.warnOfSuperseded(ctx, objects)
	return nil
}

// PrepareForPods is what an administrator does for pods of the account itself: they use their own
// token.
func (p *Preparation) PrepareForPods(ctx context.Context) error {
	planned, err := p.checkCluster(ctx)
	if err != nil {
		return err
	}
	return p.prepareCluster(ctx, planned)
}

func (p *Preparation) checkForPods(ctx context.Context) (cluster.Planned, error) {
	if err := p.decideMinting(ctx); err != nil {
		return cluster.Planned{}, err
	}
	return p.checkCluster(ctx)
}

// warnOfSuperseded names the rights that an earlier setup granted and this one does not ask for:
// they still count.
func (p *Preparation) warnOfSuperseded(ctx context.Context, objects []cluster.Object) {
	refs, err := cluster.Superseded(ctx, p.admin.Client, p.wanted(), objects)
	if err != nil {
		p.host.Log.Debug("looking for rights of earlier setups", "error", err)
	}
	for _, ref := range refs {
		line := []string{"delete", ref.Resource(), ref.Name}
		if ref.Namespace != "" {
			line = append(line, "-n", ref.Namespace)
		}
		p.warn("%v from an earlier setup still grants access; to remove it: %s", ref,
			KubectlLine(p.profile.Origin, line...))
	}
}

func warningText(w cluster.Warning) string {
	switch w.Kind {
	case cluster.LimitsForbidden:
		return fmt.Sprintf("no limits on what devices can ask for: you cannot write %v; "+
			"an administrator's setup of the same account adds them", w.Object)
	case cluster.LimitsUnsupported:
		return "no limits on what devices can ask for: the API server is older than " +
			"Kubernetes 1.30"
	case cluster.LimitsKept:
		return fmt.Sprintf("an earlier setup allows more, and that stays: tokens of %s, "+
			"bootstrap tokens of %s, audiences %q; "+
			"to lower it change %v", profile.ShortDuration(w.Limits.Token),
			profile.ShortDuration(w.Limits.Bootstrap),
			w.Limits.Audiences, w.Object)
	}
	return fmt.Sprintf("%s: %v", w.Kind, w.Object)
}

// Bootstrap makes sure that there is a bootstrap credential which can mint, and stores a token
// that it minted. How long a new credential lives is noted in the session's profile.
func Bootstrap(ctx context.Context, h *host.Host, a *admin.Admin, s *session.Session,
	report ui.Report) error {
	if err := requestBootstrap(ctx, h, a, s, report); err != nil {
		return err
	}
	return storeToken(ctx, s, report)
}

func requestBootstrap(ctx context.Context, h *host.Host, a *admin.Admin, s *session.Session,
	report ui.Report) error {
	if s.Profile.Bootstrap.Source != profile.SourceKeyring {
		return nil
	}
	if works, err := bootstrapWorks(ctx, h, s); works || err != nil {
		return err
	}
	lifetime, err := s.RequestBootstrap(ctx, a.Config, a.Client)
	if err != nil {
		return err
	}
	report(ui.Step, fmt.Sprintf("bootstrap credential: requested for %s and kept in the store",
		profile.ShortDuration(s.Profile.Bootstrap.Duration.Duration)))
	s.Profile.Bootstrap.Granted = Granted(s.Profile.Bootstrap.Duration, lifetime)
	reportShort(s.Profile, report)
	return nil
}

func storeToken(ctx context.Context, s *session.Session, report ui.Report) error {
	var grant mint.Grant
	err := cluster.WaitUntilAllowed(ctx, rbacLimit, func(ctx context.Context) (err error) {
		grant, err = s.Mint(ctx)
		return err
	})
	if err != nil {
		return err
	}
	reportShorterToken(s.Profile.Duration.Duration, grant.ExpiresAt.Sub(grant.IssuedAt), report)
	// A token that is there from before may look good and be refused: its account, or the
	// keys, may have been created anew.
	if err := s.Put(ctx, s.TokenKey(), grant); err != nil {
		report(ui.Warning, fmt.Sprintf("token not cached: %v", err))
	}
	return nil
}

// bootstrapWorks reports whether the stored credential is good for long and accepted; then it
// stays. A store that cannot be read could keep no other either.
func bootstrapWorks(ctx context.Context, h *host.Host, s *session.Session) (bool, error) {
	entry, err := s.Store.Get(ctx, s.BootstrapKey())
	if errors.Is(err, keyring.ErrNotFound) {
		return false, nil
	}
	if err != nil || entry.IsHalfOver(h.Now()) {
		return false, err
	}
	if entry.ExpiresAt.Sub(entry.IssuedAt) > s.Profile.Bootstrap.Duration.Duration {
		return false, nil
	}
	accepted, err := s.Accepts(ctx, entry.Token)
	h.Log.Debug("tried the stored bootstrap credential", "accepted", accepted, "error", err)
	return err == nil && accepted, nil
}

// Plan returns what would be applied to the cluster, and the kubeconfig that would be merged, after
// the checks that come before a change.
func (p *Preparation) Plan(ctx context.Context) (manifests, rendered []byte, err error) {
	p.isDry = true
	check := p.check
	if p.IsForPods() {
		check = p.checkForPods
	}
	planned, err := check(ctx)
	if err != nil {
		return nil, nil, err
	}
	rendered, err = p.renderForShow()
	return cluster.Manifests(planned.Objects), rendered, err
}
