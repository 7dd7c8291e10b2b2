package prepare

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/authority"
	"github.com/sa-exec-credential/sa-exec-credential/internal/bootstrap"
	"github.com/sa-exec-credential/sa-exec-credential/internal/cluster"
	"github.com/sa-exec-credential/sa-exec-credential/internal/device"
	"github.com/sa-exec-credential/sa-exec-credential/internal/eventlog"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/invitation"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/session"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// What keeps a machine from joining, beside what keeps a setup from being done.
var (
	ErrInvitationExpired = errors.New("the invitation has expired")
	ErrInvitationRefused = errors.New("the API server refuses the invitation")
	ErrOtherDevice       = errors.New("this machine is another device of the account")
)

// JoinError is what kept a machine from joining. Profile is what it would have got.
type JoinError struct {
	Profile profile.Profile
	Err     error
}

// Error implements error.
func (e *JoinError) Error() string { return e.Err.Error() }

// Unwrap makes it what has gone wrong.
func (e *JoinError) Unwrap() error { return e.Err }

// joining is one machine with its invitation.
type joining struct {
	*Preparation
	invitation invitation.Invitation
}

// ErrNoArgument keeps an invitation out of the list of processes.
var ErrNoArgument = errors.New("an invitation is no argument: hand it over on standard input or " +
	"as a file")

// maxPath is longer than the paths of most systems, in bytes, and shorter than an invitation.
const maxPath = 1024

// ReadInvitation reads that of a file, or of standard input where none is named. Errors are usage
// errors, or those of package invitation.
func ReadInvitation(h *host.Host, file string) (invitation.Invitation, error) {
	if file == "" || file == "-" {
		if ui.IsTerminal(h.Stdin) {
			h.Log.Line("join", "reading the invitation from standard input")
		}
		return invitation.Read(h.Stdin)
	}
	if strings.Contains(file, "\n") || len(file) > maxPath {
		return invitation.Invitation{}, ui.Usagef("%w", ErrNoArgument)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return invitation.Invitation{}, ui.Usagef("%w", err)
	}
	return invitation.Read(bytes.NewReader(data))
}

// NewJoin works out the profile of a machine that was invited. It writes nothing.
func NewJoin(h *host.Host, i invitation.Invitation, o Options, report ui.Report) (*Preparation,
	error) {
	p := i.ProfileFor("", o.Store)
	p.Name = cmp.Or(o.Profile, p.Name)
	if p.Bootstrap.Source == profile.SourceInCluster {
		// a pod's own token goes to its own cluster, whatever the invitation says
		_, own, err := readMounted(h)
		if err != nil {
			return nil, err
		}
		p.Cluster = own
	}
	record, err := device.NameFor(p)
	if err != nil {
		return nil, err
	}
	if o.Store == keyring.None && i.External == nil {
		return nil, ui.Usagef("--store none goes with an invitation without a secret: the " +
			"bootstrap credential that this one is exchanged for has to be kept")
	}
	// what was chosen on this machine stays; the rest is the invitation's
	kept := o.keep(h, p)
	o.Store, o.Output, o.KeepOutput = kept.Store, kept.Output, kept.KeepOutput
	o.AllowMissingClusterInfo, o.Log, o.TPM = kept.AllowMissingClusterInfo, kept.Log, kept.TPM
	if o.Store == keyring.None && i.External == nil { // of a profile that had nothing to keep
		o.Store = keyring.Auto
	}
	p.Device, p.Store, p.TPM, p.Log = record, o.Store, o.TPM, o.log()
	p.AllowMissingClusterInfo = *o.AllowMissingClusterInfo
	p.Setup.Output, p.Setup.PassedStores = o.remembered().Output, kept.passed
	joined := &Preparation{host: h.Patient(), options: o, profile: p, report: report}
	if p.Bootstrap.Source == profile.SourceKeyring && o.Bootstrap.Source != "" {
		return nil, ui.Usagef("--bootstrap is for invitations without a secret")
	}
	return joined, joined.setExternal(o.Bootstrap)
}

// Join exchanges an invitation for a bootstrap credential of this machine's own, and takes the
// steps of a setup on this machine. Whatever fails before the credential is kept leaves all as it
// was, and each step finds out whether it has been taken before. Errors are *JoinError.
func (p *Preparation) Join(ctx context.Context, i invitation.Invitation) (*Proof, error) {
	j := joining{p, i}
	s, err := j.ready(ctx)
	if err == nil {
		err = p.mergeKubeconfig()
	}
	var proof *Proof
	if err == nil {
		proof, err = p.prove(ctx, s)
	}
	if err != nil {
		return nil, &JoinError{p.profile, err}
	}
	return proof, nil
}

// announce says what is about to be taken.
func (j joining) announce() error {
	where, err := reached(j.profile.Cluster)
	if err != nil {
		return err
	}
	until := ""
	if j.invitation.External == nil {
		until = ", until " + ui.Date(j.invitation.Expires)
	}
	j.step("invitation of %q%s: tokens of %q of %s, as device %q", j.invitation.Machine, until,
		j.profile.Account(), where, j.invitation.Device.Name)
	return nil
}

// reached is where a cluster is and whom is believed there, for two people to compare.
func reached(c profile.Cluster) (string, error) {
	identity, err := c.Identity()
	if err != nil {
		return "", err
	}
	if identity.CA == "" {
		return c.Server + " (the system's certificate authorities)", nil
	}
	return fmt.Sprintf("%s (certificate authority %s)", c.Server, identity.CA[:16]), nil
}

func (j joining) ready(ctx context.Context) (*session.Session, error) {
	if err := j.announce(); err != nil {
		return nil, err
	}
	release, err := j.lock(ctx)
	if err != nil {
		return nil, err
	}
	defer release()
	if err := j.check(ctx); err != nil {
		return nil, err
	}
	s, err := session.With(ctx, j.host, j.profile, &j.invitation.Device)
	if err != nil {
		return nil, err
	}
	old, _, err := j.before()
	if err != nil {
		return nil, err
	}
	if j.invitation.External != nil {
		return s, j.joinExternal(ctx, s)
	}
	j.keepGranted(old, s)
	joined, err := j.hasJoined(ctx, s)
	if err != nil {
		return nil, err
	}
	if joined {
		j.step("this machine has joined already: its bootstrap credential stays")
		j.profile.Bootstrap.Granted = s.Profile.Bootstrap.Granted
		return s, j.settle(ctx, s)
	}
	return s, j.exchange(ctx, s)
}

// hasJoined reports whether an earlier join of the same device has left a credential that is good:
// then the invitation is not needed, and can have expired.
func (j joining) hasJoined(ctx context.Context, s *session.Session) (bool, error) {
	entry, err := s.Store.Get(ctx, s.BootstrapKey())
	if errors.Is(err, keyring.ErrNotFound) {
		return false, nil
	}
	if err != nil || !j.host.Now().Before(entry.ExpiresAt) {
		return false, err
	}
	return s.Accepts(ctx, entry.Token)
}

// check finds out everything that can be known before a change, but for what the server says.
func (j joining) check(ctx context.Context) error {
	if !authority.Fits(j.profile.Cluster) {
		return fmt.Errorf("%w: %d bytes", authority.ErrTooLarge,
			len(j.profile.Cluster.CertificateAuthorityData))
	}
	if err := j.checkTaken(ctx); err != nil {
		return err
	}
	if err := eventlog.To(j.profile.Log).Check(); err != nil {
		return err
	}
	if err := j.checkOutput(); err != nil {
		return err
	}
	if err := j.checkDevice(ctx); err != nil {
		return err
	}
	return j.chooseStore(ctx)
}

// checkDevice is an ErrOtherDevice when this machine mints for the account as another device: that
// one would be left without a machine that knows it. One that is no longer good for anything, or
// whose store is not there any more, is replaced.
func (j joining) checkDevice(ctx context.Context) error {
	current := j.record.Current
	if current == nil || *current == j.invitation.Device || j.record.Revoked {
		return nil
	}
	sharing, err := session.Sharing(j.host, j.record.Name)
	if err != nil {
		return err
	}
	for _, p := range sharing {
		s, err := session.With(ctx, j.host, p, current)
		if err != nil {
			return err
		}
		works, err := j.works(ctx, s)
		if err != nil && !errors.Is(err, keyring.ErrUnavailable) {
			return err
		}
		if works {
			return fmt.Errorf("%w: profile %q is of %q, the invitation of %q",
				ErrOtherDevice, p.Name, current.Name, j.invitation.Device.Name)
		}
	}
	return nil
}

// works reports whether a profile mints with what this machine has.
func (j joining) works(ctx context.Context, s *session.Session) (bool, error) {
	if s.Profile.Bootstrap.Source == profile.SourceKeyring {
		return j.hasJoined(ctx, s)
	}
	_, err := s.Mint(ctx)
	if api.IsAny(err, session.ErrDeviceGone, session.ErrAccountGone, api.ErrForbidden,
		session.ErrBootstrapRefused, bootstrap.ErrMissing, bootstrap.ErrExpired,
		bootstrap.ErrSource) {
		return false, nil
	}
	return err == nil, err
}

// exchange gets this machine's own credential and a token before anything is written, and then
// keeps them.
func (j joining) exchange(ctx context.Context, s *session.Session) error {
	bootstrapped, token, err := j.request(ctx, s)
	if err != nil {
		return err
	}
	asked := s.Profile.Bootstrap.Duration
	s.Profile.Bootstrap.Granted = Granted(asked,
		bootstrapped.ExpiresAt.Sub(bootstrapped.IssuedAt))
	j.profile.Bootstrap.Granted = s.Profile.Bootstrap.Granted
	if err := s.KeepBootstrap(ctx, bootstrapped); err != nil {
		return err
	}
	j.step("bootstrap credential: requested for %s and kept in the store",
		profile.ShortDuration(asked.Duration))
	reportShort(s.Profile, j.report)
	return j.keepToken(ctx, s, token)
}

// keepToken keeps the first token, and then writes what leads to it.
func (j joining) keepToken(ctx context.Context, s *session.Session, token mint.Grant) error {
	reportShorterToken(j.profile.Duration.Duration, token.ExpiresAt.Sub(token.IssuedAt),
		j.report)
	if err := s.NoteMint(token); err != nil {
		j.warn("%v", err)
	}
	if err := s.Put(ctx, s.TokenKey(), token); err != nil {
		j.warn("token not cached: %v", err)
	}
	if err := j.settle(ctx, s); err != nil {
		// what no profile leads to nobody would find
		j.host.Log.Debug("forgetting it again", "error", s.Forget(ctx, true))
		return err
	}
	return nil
}

// request is the exchange as far as the API server is concerned. The invitation's token is held in
// memory, and so is what it is exchanged for.
func (j joining) request(ctx context.Context, s *session.Session) (bootstrapped, token mint.Grant,
	err error) {
	config, err := bootstrap.WithToken(j.profile.Cluster, j.invitation.Token)
	if err != nil {
		return bootstrapped, token, err
	}
	client, err := bootstrap.Minter(config, j.host.Now)
	if err != nil {
		return bootstrapped, token, err
	}
	if err := j.checkInvited(ctx, client); err != nil {
		return bootstrapped, token, err
	}
	err = cluster.WaitUntilAllowed(ctx, rbacLimit, func(ctx context.Context) (err error) {
		bootstrapped, err = client.Mint(ctx, s.BootstrapRequest())
		return err
	})
	if err != nil {
		return bootstrapped, token, fmt.Errorf("requesting the bootstrap credential: %w",
			j.classify(session.ClassifyMintError(err)))
	}
	trial := *s
	trial.Store, trial.Profile.Log = held{}, "" // nothing has come of it yet
	if err := trial.Put(ctx, trial.BootstrapKey(), bootstrapped); err != nil {
		return bootstrapped, token, err
	}
	err = cluster.WaitUntilAllowed(ctx, rbacLimit, func(ctx context.Context) (err error) {
		token, err = trial.Mint(ctx)
		return err
	})
	return bootstrapped, token, err
}

// checkInvited asks the server whom the invitation's token stands for. Its answer counts, also
// where the clock of this machine says otherwise.
func (j joining) checkInvited(ctx context.Context, client *mint.Client) error {
	user, err := client.WhoAmI(ctx)
	if err != nil {
		return j.classify(err)
	}
	wanted := mint.Username(j.profile.Namespace, j.invitation.Device.Name)
	if user.Name != "" && user.Name != wanted {
		return fmt.Errorf("%w: it says %q, not %q", ErrInvitationRefused, user.Name, wanted)
	}
	return nil
}

// classify says what an answer means for an invitation. One whose time is over needs no other
// explanation.
func (j joining) classify(err error) error {
	refused := errors.Is(err, api.ErrUnauthorized) ||
		errors.Is(err, session.ErrBootstrapRefused) || errors.Is(err, session.ErrDeviceGone)
	switch {
	case j.invitation.External == nil && !j.host.Now().Before(j.invitation.Expires):
		return fmt.Errorf("%w: it was good until %s", ErrInvitationExpired,
			ui.Date(j.invitation.Expires))
	case refused:
		return fmt.Errorf("%w: it was revoked, or this machine's clock is behind",
			ErrInvitationRefused)
	}
	return err
}

// settle writes the device record and the profile.
func (j joining) settle(ctx context.Context, s *session.Session) error {
	old, found, err := j.before()
	if err != nil {
		return err
	}
	before := j.record.Record
	if err := j.saveRecord(ctx); err != nil {
		return err
	}
	j.profile.Version = old.Version // which is written, and no part of what is compared
	if found && reflect.DeepEqual(old, j.profile) {
		j.step("profile %q: unchanged", j.profile.Name)
		return nil
	}
	if found {
		j.reportChanges(old)
		j.forgetReplaced(ctx, old, s)
	}
	if err := j.saveProfile(); err != nil {
		j.restoreRecord(before)
		return err
	}
	return nil
}

// saveRecord makes this machine the device that it was invited as.
func (j joining) saveRecord(ctx context.Context) error {
	record, before := j.record, j.record.Record
	current := j.invitation.Device
	record.Current, record.Revoked = &current, false
	record.ClusterUID = cmp.Or(j.invitation.ClusterUID, record.ClusterUID)
	if before.Current != nil && *before.Current != current && !before.Revoked {
		record.Retired = append(record.Retired, *before.Current)
	}
	if reflect.DeepEqual(before, record.Record) {
		return nil
	}
	if err := record.Save(); err != nil {
		return err
	}
	if before.Current != nil && *before.Current != current {
		j.forgetOld(ctx, record.Name, before.Current)
	}
	return nil
}

// restoreRecord takes the record back when nothing came of the rest.
func (j joining) restoreRecord(before device.Record) {
	j.record.Record = before
	err := j.record.Remove()
	if before.Current != nil || before.Next != "" {
		err = j.record.Save()
	}
	j.host.Log.Debug("took the device record back", "error", err)
}
