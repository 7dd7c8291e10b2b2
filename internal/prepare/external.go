package prepare

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"github.com/sa-exec-credential/sa-exec-credential/internal/bootstrap"
	"github.com/sa-exec-credential/sa-exec-credential/internal/cluster"
	"github.com/sa-exec-credential/sa-exec-credential/internal/invitation"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/session"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// An invitation without a secret is for machines with an identity of their own that the cluster
// knows: a job of a CI system, a pod. What is in it can be committed.

// isExternal reports whether the machines that are invited have such an identity.
func (p *Preparation) isExternal() bool {
	return p.profile.Bootstrap.Source != profile.SourceKeyring
}

// ErrNoMinter is an invitation without a token that nobody could use.
var ErrNoMinter = errors.New("nobody may mint with this invitation")

// checkExternal is an error for what cannot be in an invitation, or where nobody is named who may
// mint. Who was named when the machine was invited before is not forgotten.
func (p *Preparation) checkExternal(ctx context.Context) error {
	if !p.isExternal() {
		return nil
	}
	switch p.profile.Bootstrap.Source {
	case profile.SourceContext, profile.SourceCommand:
		return ui.Usagef("an invitation cannot name a %s of the machine's: use setup there",
			p.profile.Bootstrap.Source)
	}
	if p.options.Minters.IsEmpty() {
		if err := p.knownMinters(ctx); err != nil {
			return err
		}
	}
	return p.decideMinting(ctx)
}

func (p *Preparation) knownMinters(ctx context.Context) error {
	known, err := p.invited(ctx)
	if err != nil {
		return err
	}
	before := known[strings.ToLower(p.options.Machines[0])]
	if len(p.options.Machines) > 1 || before.Minters.IsEmpty() {
		return fmt.Errorf("%w: name them", ErrNoMinter)
	}
	p.options.Minters = before.Minters
	return nil
}

// inviteExternal creates the device of a machine, or finds the one that an earlier invitation was
// for, and lets its minters mint as it.
func (p *Preparation) inviteExternal(ctx context.Context, machine string,
	known map[string]cluster.DeviceInfo, isFirst bool) (i invitation.Invitation, err error) {
	d, err := p.deviceFor(ctx, machine, known)
	if err != nil {
		return i, err
	}
	p.reportMinters(d.Name)
	trial := p.profile
	trial.Device = "record" // it has none here
	trial.Setup.Minters = p.minting.Minters
	s, err := session.With(ctx, p.host, trial, &d)
	if err != nil {
		return i, err
	}
	if isFirst { // they are the account's, and the same for all
		if err := p.tryAsMinter(ctx, s); err != nil {
			return i, err
		}
	}
	i = p.invitation(machine, d)
	i.External = invitation.ExternalFor(trial)
	return i, p.reportInvited(machine, "")
}

// tryAsMinter sees that minters can mint, and no more than the limits say, where the administrator
// may act as one of them.
func (p *Preparation) tryAsMinter(ctx context.Context, s *session.Session) error {
	config := p.asMinter(ctx, s)
	if config == nil {
		p.host.Log.Debug("no minter to try as")
		return nil
	}
	err := p.confirmLimits(ctx, func(ctx context.Context, life time.Duration) (bool, error) {
		return s.IsDeniedTo(ctx, config, life)
	})
	if err != nil {
		return err
	}
	client, err := bootstrap.Minter(config, p.host.Now)
	if err != nil {
		return err
	}
	err = cluster.WaitUntilAllowed(ctx, rbacLimit, func(ctx context.Context) error {
		_, err := client.Mint(ctx, s.TokenRequest())
		return err
	})
	if err != nil {
		return fmt.Errorf("minting token for %q as its minters would: %w",
			p.profile.Account(), session.ClassifyMintError(err))
	}
	return nil
}

// asMinter is how the administrator acts as a minter does, nil where he may not. With rights of an
// administrator's he may act as whomever he likes.
func (p *Preparation) asMinter(ctx context.Context, s *session.Session) *rest.Config {
	attributes := actingAttributes()
	as := s.ActsAs()
	if as == "" {
		m := p.minting.Minters
		switch {
		case len(m.Users) > 0:
			as, attributes = m.Users[0], map[string]any{"verb": "impersonate",
				"resource": "users", "name": m.Users[0]}
		case len(m.Accounts) > 0:
			namespace, name, _ := strings.Cut(m.Accounts[0], "/")
			as = mint.Username(namespace, name)
			attributes["namespace"], attributes["name"] = namespace, name
		default:
			return nil
		}
	}
	if p.admin.Config.Impersonate.UserName != "" || !p.may(ctx, p.admin.Client, attributes) {
		return nil
	}
	config := rest.CopyConfig(p.admin.Config)
	config.Impersonate = rest.ImpersonationConfig{UserName: as}
	return config
}

// setExternal says where on this machine the identity is that the invitation takes for granted. Of
// variables and files the invitation has no names: whoever writes one could have any secret of the
// machine sent to a server of his own.
func (p *Preparation) setExternal(b profile.Bootstrap) error {
	kind, isNamed := p.profile.Bootstrap.Source, b.Source == profile.SourceEnv ||
		b.Source == profile.SourceTokenFile
	switch {
	case kind != profile.SourceEnv && kind != profile.SourceTokenFile && b.Source != "":
		return ui.Usagef("--bootstrap is for invitations whose machine shows a token of its "+
			"own: this one's shows %q", kind)
	case kind != profile.SourceEnv && kind != profile.SourceTokenFile:
		return nil
	case !isNamed:
		return ui.Usagef("the invitation does not say where this machine's own token is: " +
			"name it with --bootstrap env=NAME or token-file=PATH")
	}
	p.profile.Bootstrap.Source = b.Source
	p.profile.Bootstrap.Variable, p.profile.Bootstrap.Path = b.Variable, b.Path
	return nil
}

// showIdentity says what is about to be sent where, after it has looked at it: a token says of
// itself who has issued it.
func (j joining) showIdentity(ctx context.Context, s *session.Session) error {
	credential, err := bootstrap.Find(ctx, j.profile, s.System())
	if err != nil {
		return err
	}
	claims := mint.ParseClaims(credential.Config.BearerToken)
	if claims.Issuer == "" || claims.Subject == "" {
		return fmt.Errorf("%w: %s holds no token of an identity provider (a JWT); nothing "+
			"was sent", bootstrap.ErrSource, SourceFlag(j.profile.Bootstrap))
	}
	where, err := reached(j.profile.Cluster)
	if err != nil {
		return err
	}
	j.step("%s: the token of %q, which %q has issued for %s, is sent to %s",
		SourceFlag(j.profile.Bootstrap), claims.Subject, claims.Issuer,
		ui.QuotedList(claims.Audiences), where)
	return nil
}

// joinExternal mints as the device with the machine's own identity before anything is written.
func (j joining) joinExternal(ctx context.Context, s *session.Session) error {
	if err := j.showIdentity(ctx, s); err != nil {
		return err
	}
	trial := *s
	trial.Profile.Log = "" // nothing has come of it yet
	var grant mint.Grant
	err := cluster.WaitUntilAllowed(ctx, rbacLimit, func(ctx context.Context) (err error) {
		grant, err = trial.Mint(ctx)
		return err
	})
	if err != nil {
		return err
	}
	return j.keepToken(ctx, s, grant)
}

// HasMinters reports whether others than the machine itself were named to mint.
func (p *Preparation) HasMinters() bool { return !p.options.Minters.IsEmpty() }

// InvitePods is Invite for pods of other accounts, which are one device together: they come and go.
func (p *Preparation) InvitePods(ctx context.Context) ([]invitation.Invitation, error) {
	name := cmp.Or(p.options.Device, "pods")
	p.options.Machines = []string{name}
	return p.Invite(ctx)
}

// JoinLine is the command with which a machine takes an invitation without a secret.
func JoinLine(i invitation.Invitation) string {
	line := []string{ui.Program, "join", i.Machine + ".invitation"}
	switch i.External.Source {
	case profile.SourceEnv:
		line = append(line, "--bootstrap", "env=NAME")
	case profile.SourceTokenFile:
		line = append(line, "--bootstrap", "token-file=PATH")
	}
	return ui.Elsewhere(line...)
}
