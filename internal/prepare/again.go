package prepare

import (
	"cmp"
	"fmt"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// What a first setup takes where no flag says otherwise.
const (
	defaultDuration          = time.Hour
	defaultBootstrapDuration = 720 * time.Hour
)

// keep fills in what no flag says: as an earlier setup has chosen it for the same account and
// cluster, or else the defaults.
func (o Options) keep(h *host.Host, wanted profile.Profile) Options {
	var old profile.Profile
	// what this machine has chosen for itself is nothing for those that it invites
	if profiles, err := h.Profiles(); err == nil && !o.invites() {
		old, err = profiles.Load(wanted.Name)
		sameServer := old.Cluster.Server == wanted.Cluster.Server
		if err != nil || old.Account() != wanted.Account() || !sameServer {
			old = profile.Profile{}
		}
	}
	o.Duration = cmp.Or(o.Duration, old.Duration.Duration, defaultDuration)
	o.keepBootstrap(old.Bootstrap)
	o.Store = cmp.Or(o.Store, old.Store, defaultStore(wanted.Bootstrap))
	o.Log = cmp.Or(o.Log, old.Log)
	switch {
	case o.TPM != "":
	case o.Store == keyring.Sealed && old.Store == keyring.Sealed:
		o.TPM = old.TPM
	case o.Store == keyring.Sealed || o.Store == keyring.Auto:
		o.TPM = keyring.FindTPM
	}
	if o.Store == old.Store {
		o.passed = old.Setup.PassedStores
	}
	if o.Audiences == nil {
		o.Audiences = old.Audiences
	}
	if o.In == nil && !o.ClusterWide {
		o.In = old.In
	}
	if o.Minters.IsEmpty() && o.Bootstrap.Source == old.Bootstrap.Source {
		o.Minters = old.Setup.Minters
	}
	o.AllowMissingClusterInfo = keptFlag(o.AllowMissingClusterInfo, old.AllowMissingClusterInfo)
	o.Recover = keptFlag(o.Recover, old.Recovery != nil)
	if o.Recover != nil && *o.Recover && len(o.BootstrapEnv) == 0 && old.Recovery != nil {
		o.BootstrapEnv = host.FurtherVariables(old.Recovery.Credential.Environment)
	}
	o.NoRBAC = o.NoRBAC || old.Setup.NoRBAC && !o.grants()
	o.NoLimits = o.NoLimits || old.Setup.NoLimits
	o.granted = old.Setup.Rights
	if o.KeepOutput && old.Setup.Output != "" {
		o.Output, o.KeepOutput = []string{old.Setup.Output}, false // and remembered again
	}
	return o
}

func (o *Options) keepBootstrap(old profile.Bootstrap) {
	if o.Bootstrap.Source == "" {
		o.Bootstrap = old
		o.Bootstrap.Source = cmp.Or(old.Source, profile.SourceKeyring)
	}
	if b := &o.Bootstrap; b.IsJob() && b.Source == old.Source {
		b.Audience, b.URL = cmp.Or(b.Audience, old.Audience), cmp.Or(b.URL, old.URL)
	}
	if o.Bootstrap.Source != profile.SourceKeyring {
		return
	}
	before := profile.Duration{}
	if old.Duration != nil {
		before = *old.Duration
	}
	o.Bootstrap.Duration = &profile.Duration{Duration: cmp.Or(o.BootstrapDuration,
		before.Duration,
		defaultBootstrapDuration)}
}

// defaultStore is none for a job: it can ask anew at each mint, and what it left in a store another
// job on the same machine, such as one of a pull request, could use.
func defaultStore(b profile.Bootstrap) keyring.Kind {
	if b.IsJob() {
		return keyring.None
	}
	return keyring.Auto
}

func keptFlag(given *bool, before bool) *bool {
	if given != nil {
		return given
	}
	return &before
}

// grants reports whether rights are asked for.
func (o Options) grants() bool {
	return len(o.Roles)+len(o.ClusterRoles)+len(o.Verbs)+len(o.Resources) > 0
}

// reportChanges says what is otherwise than an earlier setup of the profile has chosen.
func (p *Preparation) reportChanges(old profile.Profile) {
	was, is := choices(old), choices(p.profile)
	for i, choice := range is {
		if was[i].value != choice.value {
			p.step("%s: %s, was %s", choice.name, choice.value, was[i].value)
		}
	}
}

type choice struct{ name, value string }

func choices(p profile.Profile) []choice {
	bootstrap := ""
	if p.Bootstrap.Duration != nil {
		bootstrap = profile.ShortDuration(p.Bootstrap.Duration.Duration)
	}
	return []choice{
		{"duration", profile.ShortDuration(p.Duration.Duration)},
		{"bootstrap source", string(p.Bootstrap.Source)},
		{"bootstrap duration", bootstrap},
		{"audience of the job's ID token", p.Bootstrap.Audience},
		{"where the job asks for its ID token", p.Bootstrap.URL},
		{"audiences", fmt.Sprintf("%q", p.Audiences)},
		{"store", string(p.Store)},
		{"log", cmp.Or(p.Log, NoLog)},
		{"TPM", p.TPM},
		{"recovery", fmt.Sprint(p.Recovery != nil)},
		{"clients without cluster information", fmt.Sprint(p.AllowMissingClusterInfo)},
	}
}
