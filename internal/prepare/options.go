package prepare

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/cluster"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
	"github.com/sa-exec-credential/sa-exec-credential/internal/yamledit"
)

// Options say what a setup shall come to. What is empty stays as an earlier setup has chosen it.
type Options struct {
	ServiceAccount string
	Namespace      string // empty: the context's

	Roles, ClusterRoles             []string // existing ones, to bind
	Verbs, Resources, ResourceNames []string // of a role to create
	// namespaces in which the rights are granted; none: the account's
	In                              []string
	ClusterWide, NoRBAC, NoLimits   bool
	AllowDefaultAccount, AllowAdmin bool
	TakeOver                        bool // a profile's name that is taken

	Duration          time.Duration // of a token
	Audiences         []string
	Bootstrap         profile.Bootstrap
	BootstrapDuration time.Duration
	job               Job
	BootstrapEnv      []string // variables kept beside those that programs usually need
	Recover           *bool
	Minters           profile.Minters // who else may mint as the device
	Device            string          // what the device is called; empty: as this machine
	Store             keyring.Kind
	Log               string // NoLog: none
	// TPM is what a sealed store seals with, see keyring.System
	TPM string

	Profile string // empty: the default name
	// Output are the kubeconfig files that get the context. None: the kubeconfig is printed.
	Output                  []string
	KeepOutput              bool // Output is only the default
	UseContext              bool
	AllowMissingClusterInfo *bool
	granted                 profile.Rights // by an earlier setup
	passed                  []string       // why that has chosen no other store
	Allowlist               bool

	// Machines are those that an invite is for, by their names; none: this one is set up.
	Machines []string
	Valid    time.Duration // of an invitation
}

// invites reports whether other machines are prepared for, and nothing is done on this one.
func (o Options) invites() bool { return len(o.Machines) > 0 }

// Check is a usage error for what the flags that setup and invite have in common cannot mean. It
// asks nobody.
func (o Options) Check() error {
	makesRole := len(o.Verbs)+len(o.Resources)+len(o.ResourceNames) > 0
	switch {
	case o.NoRBAC && (makesRole || len(o.Roles)+len(o.ClusterRoles)+len(o.In) > 0):
		return ui.Usagef("--no-rbac cannot be combined with --role, --cluster-role, " +
			"--verb or --in")
	case o.ClusterWide && len(o.In) > 0:
		return ui.Usagef("--cluster-wide and --in cannot be combined")
	}
	for _, audience := range o.Audiences {
		if err := profile.CheckAudience(audience); err != nil {
			return ui.Usagef("%w", err)
		}
	}
	for name, d := range map[string]time.Duration{"--duration": o.Duration,
		"--bootstrap-duration": o.BootstrapDuration} {
		if err := profile.CheckLifetime(name, d); d != 0 && err != nil {
			return ui.Usagef("%w", err)
		}
	}
	if o.Profile == "" {
		return nil
	}
	return profile.CheckName(o.Profile)
}

// What keeps a setup from being done.
var (
	ErrProfileTaken = errors.New("there is a profile of that name for another account or " +
		"cluster")
	ErrNotInPod  = errors.New("no ServiceAccount token is mounted; is this a pod?")
	ErrNotProven = errors.New("the new context does not work")
)

// wanted is what the cluster shall hold.
func (p *Preparation) wanted() cluster.Wanted {
	o := p.options
	return cluster.Wanted{
		Namespace: p.profile.Namespace, ServiceAccount: p.profile.ServiceAccount,
		Roles: o.Roles, ClusterRoles: o.ClusterRoles,
		Verbs: o.Verbs, Resources: o.Resources, ResourceNames: o.ResourceNames,
		In: o.In, ClusterWide: o.ClusterWide, NoRBAC: o.NoRBAC, Minting: p.minting,
		Limits:              p.isLimited(),
		AllowDefaultAccount: o.AllowDefaultAccount, AllowAdmin: o.AllowAdmin,
	}
}

// isLimited reports whether the cluster's policy is for what the profile mints with: a device.
func (p *Preparation) isLimited() bool { return !p.options.NoLimits && p.needsDevice() }

// limits are what this machine asks for.
func limitsFor(p profile.Profile) cluster.Limits {
	limits := cluster.Limits{Token: p.Duration.Duration, Audiences: p.Audiences}
	if p.Bootstrap.Duration != nil {
		limits.Bootstrap = p.Bootstrap.Duration.Duration
	}
	return limits
}

// NoLog ends a log that an earlier setup has chosen.
const NoLog = "none"

// log is that of the profile.
func (o Options) log() string {
	if o.Log == NoLog {
		return ""
	}
	return o.Log
}

// remembered is what the next setup does the same way again.
func (o Options) remembered() profile.Setup {
	setup := profile.Setup{NoRBAC: o.NoRBAC, NoLimits: o.NoLimits, Rights: o.rights(),
		PassedStores: o.passed, Minters: o.Minters}
	if !o.KeepOutput && len(o.Output) == 1 {
		setup.Output = yamledit.Absolute(o.Output[0])
	}
	return setup
}

// rights are those that this setup grants, or else those that an earlier one has.
func (o Options) rights() profile.Rights {
	switch {
	case o.NoRBAC:
		return profile.Rights{}
	case !o.grants():
		return o.granted
	}
	return profile.Rights{Roles: o.Roles, ClusterRoles: o.ClusterRoles, Verbs: o.Verbs,
		Resources: o.Resources, ResourceNames: o.ResourceNames, ClusterWide: o.ClusterWide,
		AllowAdmin: o.AllowAdmin}
}

// profileFor is the profile of a context.
func (o Options) profileFor(h *host.Host, found kubeconfig.Context,
	paths []string) profile.Profile {
	p := profile.Profile{
		Name: o.Profile, Cluster: found.Cluster,
		Namespace:      cmp.Or(o.Namespace, found.Namespace, "default"),
		ServiceAccount: o.ServiceAccount,
		Audiences:      o.Audiences, Duration: profile.Duration{Duration: o.Duration},
		Bootstrap: o.Bootstrap,
		Store:     o.Store, TPM: o.TPM, In: o.In,
		AllowMissingClusterInfo: o.AllowMissingClusterInfo != nil &&
			*o.AllowMissingClusterInfo,
		Origin: originOf(found, paths),
		Setup:  o.remembered(), Log: o.log(),
	}
	if o.Recover != nil && *o.Recover {
		p.Recovery = &profile.Recovery{Credential: profile.Bootstrap{Source: profile.SourceContext,
			Context: found.Name, Kubeconfig: Absolute(paths),
			Environment: h.Pinned(o.BootstrapEnv)}}
	}
	if p.Bootstrap.Source == profile.SourceGitHub { // no other cluster takes it then
		p.Bootstrap.Audience = cmp.Or(p.Bootstrap.Audience, found.Cluster.Server)
	}
	p.Name = cmp.Or(p.Name, profile.DefaultName(p.ServiceAccount, p.Namespace,
		found.ClusterName))
	return p
}

// originOf is what later commands find the context by, nil when it is in a file that will not be
// there any more.
func originOf(found kubeconfig.Context, paths []string) *profile.Origin {
	if host.IsTemporary(found.File) {
		return nil
	}
	lasting := slices.DeleteFunc(Absolute(paths), host.IsTemporary)
	return &profile.Origin{Context: found.Name, Kubeconfig: lasting}
}

// checkSources is about files that a later get could not read.
func (p *Preparation) checkSources(found kubeconfig.Context) error {
	sources := map[string]profile.Bootstrap{"--bootstrap context=": p.profile.Bootstrap,
		"--recover": p.recoverySource()}
	for flag, b := range sources {
		i := slices.IndexFunc(b.Kubeconfig, host.IsTemporary)
		if b.Source == profile.SourceContext && i >= 0 {
			return ui.Usagef("%s reads the kubeconfig again at each get, and %q is "+
				"temporary: save it as a file, and name that with --kubeconfig",
				flag, b.Kubeconfig[i])
		}
	}
	if p.profile.Origin == nil {
		p.warn("the kubeconfig %q is temporary and not remembered: rotate, revoke and a "+
			"further setup need --kubeconfig and --context again", found.File)
	}
	return nil
}

func (p *Preparation) recoverySource() profile.Bootstrap {
	if p.profile.Recovery == nil {
		return profile.Bootstrap{}
	}
	return p.profile.Recovery.Credential
}

// Absolute are the paths from the root on, as later commands need them.
func Absolute(paths []string) []string {
	list := make([]string, len(paths))
	for i, path := range paths {
		list[i] = yamledit.Absolute(path)
	}
	return list
}

// Candidates are the contexts that patterns name, or all of them, without those that setup itself
// has created: they cannot prepare anything.
func Candidates(paths, patterns []string) ([]string, error) {
	names, err := kubeconfig.Contexts(paths, patterns...)
	if err != nil {
		return nil, err
	}
	ours, err := kubeconfig.FindPluginContexts(paths)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(names, func(name string) bool {
		return slices.ContainsFunc(ours, func(use kubeconfig.PluginContext) bool { return use.Context == name })
	}), nil
}
