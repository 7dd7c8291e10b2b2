package doctor

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/bootstrap"
	"github.com/sa-exec-credential/sa-exec-credential/internal/files"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kuberc"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/prepare"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
	"github.com/sa-exec-credential/sa-exec-credential/internal/session"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// clockTolerance is how far the clocks may be apart before it is worth a warning. The server's
// Date has whole seconds.
const clockTolerance = 5 * time.Second

// profileChecks is the examination of one profile.
type profileChecks struct {
	*doctor
	profile profile.Profile
	session *session.Session // nil: openErr is why there is none
	openErr error
	kept    keyring.Entry // the bootstrap credential in the store
	minting *rest.Config  // what requests tokens, once the API server accepts it
	items   []Finding
}

func (c *profileChecks) add(items ...Finding) { c.items = append(c.items, items...) }

// fail is the doctor's, for this profile.
func (c *profileChecks) fail(check string, err error, fix string) Finding {
	return c.failOf(c.profile.Name, check, err, fix)
}

// examine goes the way that a get goes, and stops where that would stop.
func (d *doctor) examine(ctx context.Context, name string, loaded loadedProfile) []Finding {
	ctx, cancel := context.WithTimeout(ctx, profileLimit)
	defer cancel()
	c := &profileChecks{doctor: d, profile: loaded.Profile}
	c.profile.Name = name // also of one that could not be read
	if c.file(name, loaded.err) {
		c.session, c.openErr = session.Open(ctx, c.host, c.profile)
		c.credentials(ctx)
		c.log()
		c.lastWarning()
		c.recovery()
		c.checkContexts()
	}
	for i := range c.items {
		c.items[i].Profile = name
	}
	return c.items
}

// file is about the profile itself.
func (c *profileChecks) file(name string, err error) bool {
	const check = "profile"
	path := filepath.Join(string(c.profiles), name+".yaml")
	switch {
	case errors.Is(err, files.ErrUntrusted):
		c.add(c.untrusted(c.fail(check, err, ui.CommandLine("chmod", "go=",
			filepath.Dir(string(c.profiles)), string(c.profiles), path)), path))
		return false
	case err != nil:
		c.add(c.fail(check, err, ""))
		return false
	}
	info, err := os.Stat(path)
	if err == nil && info.Mode().Perm()&0o077 != 0 && runtime.GOOS != "windows" {
		c.add(warn(check, ui.CommandLine("chmod", "600", path),
			"others can read %s (mode %04o); there is no secret in it", path,
			info.Mode().Perm()).with(modes(private, path)))
		return true
	}
	c.add(ok(check, "%s, in %s", c.profile.Account(), path))
	return true
}

// untrusted has a profile that others could write to be trusted again, by a person who has looked at
// it: what others have written would count from then on.
func (c *profileChecks) untrusted(item Finding, path string) Finding {
	paths := []string{filepath.Dir(string(c.profiles)), string(c.profiles), path}
	if !isOwn(paths...) {
		return item
	}
	return item.mended(repair{what: item.Fix, do: modes(withoutOthers, paths...), careful: true})
}

// credentials follows the chain from the bootstrap credential to a token that the API server
// accepts.
func (c *profileChecks) credentials(ctx context.Context) {
	reachable := c.server()
	if c.stores[storeOf{c.profile.Store, c.profile.TPM}] != nil {
		return // said already, for the machine
	}
	if c.openErr != nil {
		c.add(c.fail("store", c.openErr, ""))
		return
	}
	stored, _ := c.session.Store.Get(ctx, c.session.TokenKey())
	if !c.bootstrapStored(ctx) || !reachable {
		return
	}
	minter := c.bootstrapAccepted(ctx)
	if minter == nil {
		return
	}
	grant, ok := c.mint(ctx, minter)
	if !ok {
		return
	}
	if c.profile.Bootstrap.Source == profile.SourceKeyring || c.session.ActsAs() != "" {
		c.add(c.limited(ctx))
	}
	c.token(ctx, grant, stored)
	c.rights(ctx, grant)
}

// log adds a line to the profile's log, where it has one.
func (c *profileChecks) log() {
	const check = "log"
	if c.profile.Log == "" || c.openErr != nil {
		return
	}
	if err := c.session.CheckLog(); err != nil {
		c.add(warn(check, c.options.Hint(c.profile.Name, err), "%v", err))
		return
	}
	c.add(ok(check, "%s: a line was written", c.profile.Log))
}

// lastWarning is what a get had to leave out: clients are told nothing but the token.
func (c *profileChecks) lastWarning() {
	if c.openErr != nil {
		return // said already
	}
	if last := c.session.LastWarning(); last != nil {
		fix := c.options.Hint(c.profile.Name, last.Err)
		c.add(warn("get", fix, "the last one, %s ago: %s",
			ui.Age(c.host.Now().Sub(last.At)), last.Text))
	}
}

// server is about the way to the API server, which profiles of one cluster share.
func (c *profileChecks) server() bool {
	const check = "server"
	answer := c.servers[clusterKey(c.profile.Cluster)]()
	if answer.err != nil {
		c.add(c.fail(check, fmt.Errorf("%s: %w", c.profile.Cluster.Server, answer.err),
			c.serverFix(answer.err)))
		return false
	}
	c.add(ok(check, "%s answers in %v, its certificate is trusted", c.profile.Cluster.Server,
		roughly(answer.took)))
	c.clock(answer)
	return true
}

// serverFix is the command that shows what is in the way, or that takes over a new certificate
// authority or address.
func (c *profileChecks) serverFix(err error) string {
	if errors.Is(err, api.ErrTLS) {
		return prepare.SetupLine(c.profile)
	}
	if line, moved := prepare.MoveLine(c.profile); moved {
		return "if the cluster has moved: " + line
	}
	line := []string{"curl", "-kv"}
	if c.profile.Cluster.ProxyURL != "" {
		line = append(line, "--proxy", secret.PlainURL(c.profile.Cluster.ProxyURL))
	}
	return "look for what is in the way, network, VPN or proxy: " + ui.CommandLine(append(line,
		strings.TrimRight(c.profile.Cluster.Server, "/")+"/version")...)
}

// clock compares this machine's time with the Date of an answer that took some time.
func (c *profileChecks) clock(answer serverStatus) {
	const check = "clock"
	switch {
	case answer.undated:
		c.add(warn(check, "check the proxy in front of the API server",
			"the API server's answers have no Date, so a wrong clock cannot be "+
				"noticed"))
	case answer.ahead.Abs() <= clockTolerance+answer.took:
		c.add(ok(check, "agrees with the API server's"))
	default:
		direction := map[bool]string{true: "ahead of", false: "behind"}[answer.ahead > 0]
		c.add(warn(check, clockFix(), "%v %s the API server's; expiry times are "+
			"corrected by that", answer.ahead.Abs().Round(time.Second), direction))
	}
}

// bootstrapStored looks at the credential in the store, for profiles that have one there.
func (c *profileChecks) bootstrapStored(ctx context.Context) bool {
	const check = "bootstrap"
	if c.profile.Bootstrap.Source != profile.SourceKeyring {
		return true
	}
	entry, err := c.session.Store.Get(ctx, c.session.BootstrapKey())
	switch {
	case errors.Is(err, keyring.ErrNotFound):
		err = bootstrap.Missing(err)
	case err == nil && !c.host.Now().Before(entry.ExpiresAt):
		err = fmt.Errorf("%w: on %s", bootstrap.ErrExpired, ui.Date(entry.ExpiresAt))
	}
	if err != nil {
		c.add(c.fail(check, err, prepare.SetupLine(c.profile)))
		return false
	}
	c.kept = entry
	c.lifetime()
	return true
}

// lifetime warns before a bootstrap credential that should have renewed itself is over, and
// remembers how long it lives where that is less than was asked for.
func (c *profileChecks) lifetime() {
	life := c.kept.ExpiresAt.Sub(c.kept.IssuedAt)
	left := c.kept.ExpiresAt.Sub(c.host.Now())
	if shorter := prepare.Granted(c.profile.Bootstrap.Duration, life); shorter != nil {
		c.profile.Bootstrap.Granted = shorter
	}
	if left < life/5 {
		c.add(warn("renewal", ui.CommandLine(ui.Program, "renew", "--profile",
			c.profile.Name), "the bootstrap credential has %s left of %s: the next "+
			"mint renews it, but a machine that is off for longer, or requests no "+
			"token, needs setup again", ui.Age(left),
			profile.ShortDuration(life.Round(time.Minute))))
	}
}

// bootstrapAccepted asks the API server whom the bootstrap credential stands for.
func (c *profileChecks) bootstrapAccepted(ctx context.Context) *mint.Client {
	const check = "bootstrap"
	credential, err := bootstrap.Find(ctx, c.profile, c.session.System())
	if errors.Is(err, kuberc.ErrDenied) {
		c.add(c.fail(check, err, "")) // no other credential would change that
		return nil
	}
	if err != nil {
		c.add(c.fail(check, err, c.sourceFix()))
		return nil
	}
	minter, err := bootstrap.Minter(credential.Config, c.host.Now)
	if err != nil {
		c.add(c.fail(check, err, c.sourceFix()))
		return nil
	}
	user, err := minter.WhoAmI(ctx)
	if errors.Is(err, api.ErrUnauthorized) {
		err = c.session.ClassifyMintError(err)
	}
	if err != nil && !errors.Is(err, api.ErrForbidden) {
		c.add(c.fail(check, err, c.sourceFix()))
		return nil
	}
	c.add(ok(check, "%s", c.describe(user, credential.Config)))
	c.minting = c.session.Acting(credential.Config)
	if minter, err = bootstrap.Minter(c.minting, c.host.Now); err != nil {
		c.add(c.fail(check, err, c.sourceFix()))
		return nil
	}
	if text := prepare.ShortLife(c.profile); text != "" && c.profile.Recovery == nil {
		recovering := c.profile
		recovering.Recovery = &profile.Recovery{Credential: profile.Bootstrap{
			Environment: c.profile.Bootstrap.Environment}}
		c.add(warn("renewal", prepare.SetupLine(recovering), "%s", text))
	}
	return minter
}

// sourceFix is setup where that makes the credential; elsewhere only the person knows where it
// comes from. For a job it is the hint, which depends on the error.
func (c *profileChecks) sourceFix() string {
	switch {
	case c.profile.Bootstrap.IsJob():
		return ""
	case c.profile.Bootstrap.Source == profile.SourceKeyring:
		return prepare.SetupLine(c.profile)
	}
	return "get a new one for " + prepare.SourceFlag(c.profile.Bootstrap) + ", or: " +
		prepare.SetupLine(c.profile)
}

// describe says whom the bootstrap credential stands for, until when, and when it is replaced.
func (c *profileChecks) describe(user mint.User, config *rest.Config) string {
	text := "accepted"
	if user.Name != "" {
		text += " as " + user.Name
	}
	if c.profile.Bootstrap.Source == profile.SourceKeyring {
		return text + fmt.Sprintf(", until %s, renews itself from %s",
			ui.Date(c.kept.ExpiresAt), ui.Date(c.kept.HalfOver()))
	}
	text += ", from " + prepare.SourceFlag(c.profile.Bootstrap)
	if as := c.session.ActsAs(); as != "" && config.Impersonate.UserName == "" {
		text += ", acts as " + as
	}
	if expires := mint.ParseClaims(config.BearerToken).ExpiresAt; !expires.IsZero() {
		text += ", until " + ui.Date(expires)
	}
	return text
}

// mint requests a token for good, and keeps it nowhere.
func (c *profileChecks) mint(ctx context.Context, minter *mint.Client) (mint.Grant, bool) {
	const check = "mint"
	if grant, mounted, err := c.session.MountedGrant(); err != nil {
		c.add(c.fail(check, err, ""))
		return grant, false
	} else if mounted {
		c.add(ok(check, "not needed: the pod's own token is for this account"))
		return grant, true
	}
	grant, err := minter.Mint(ctx, c.session.TokenRequest())
	if err != nil {
		err = fmt.Errorf("minting token for %q: %w", c.profile.Account(),
			c.session.ClassifyMintError(err))
		c.add(c.fail(check, err, prepare.SetupLine(c.profile)))
		return grant, false
	}
	_ = c.session.NoteMint(grant) // log says when that fails
	asked, granted := c.profile.Duration.Duration,
		grant.ExpiresAt.Sub(grant.IssuedAt).Round(time.Second)
	if asked-granted > clockTolerance {
		shorter := c.profile
		shorter.Duration.Duration = max(granted.Truncate(time.Minute), profile.MinDuration)
		c.add(warn(check, prepare.SetupLine(shorter),
			"a token of %s was asked for, and one of %s granted: the API server "+
				"allows no more", profile.ShortDuration(asked),
			profile.ShortDuration(granted)))
		return grant, true
	}
	c.add(ok(check, "a token of %s, as asked for", profile.ShortDuration(asked)))
	return grant, true
}

// limited finds out whether admission holds the bootstrap credential back, which it cannot look up.
func (c *profileChecks) limited(ctx context.Context) Finding {
	const check = "limits"
	asked := c.profile.Duration.Duration
	for _, lifetime := range []time.Duration{asked + time.Second, profile.MaxDuration} {
		denied, err := c.session.IsDeniedTo(ctx, c.minting,
			min(lifetime, profile.MaxDuration))
		switch {
		case err != nil:
			return warn(check, prepare.SetupLine(c.profile), "cannot be told: %v", err)
		case denied && lifetime < profile.MaxDuration:
			return ok(check, "limited: whoever has the bootstrap credential gets no "+
				"token of more than %s", profile.ShortDuration(asked))
		case denied:
			return ok(check, "limited, though to more than the %s of this profile",
				profile.ShortDuration(asked))
		}
	}
	const unlimited = "not limited: whoever has the bootstrap credential can ask for tokens " +
		"of any lifetime; "
	if has, err := c.session.HasPolicies(ctx); err == nil && !has {
		return warn(check, "", unlimited+"the API server is older than Kubernetes 1.30")
	}
	return warn(check, prepare.SetupLine(c.profile),
		unlimited+"needs a context that can create admission policies")
}

// token asks the API server whom the new token stands for, and whether it still takes the stored
// one.
func (c *profileChecks) token(ctx context.Context, grant mint.Grant, stored keyring.Entry) {
	const check = "token"
	user, err := session.WhoIs(ctx, c.host, c.profile.Cluster, grant.Token)
	wanted := mint.Username(c.profile.Namespace, c.profile.ServiceAccount)
	switch {
	case err != nil && len(c.profile.Audiences) > 0 && errors.Is(err, api.ErrUnauthorized):
		c.add(ok(check, "for %s, and not for the API server",
			strings.Join(c.profile.Audiences, ", ")))
		return
	case errors.Is(err, api.ErrForbidden):
		c.add(ok(check, "accepted (name not checked: the account cannot ask who it is)"))
		return
	case err != nil:
		c.add(c.fail(check, fmt.Errorf("a new token: %w", err),
			prepare.SetupLine(c.profile)))
		return
	case user.Name != wanted:
		c.add(c.fail(check, fmt.Errorf("%w: a token for %q is accepted as %q",
			prepare.ErrNotProven, wanted, user.Name), prepare.SetupLine(c.profile)))
		return
	}
	if c.storedRefused(ctx, stored) {
		c.add(warn(check, ui.CommandLine(ui.Program, "logout", "--profile", c.profile.Name),
			"a new token is accepted as %s, but the stored one is refused",
			user.Name).with(func(ctx context.Context) error {
			return c.session.Forget(ctx, false)
		}))
		return
	}
	c.add(ok(check, "accepted as %s", user.Name))
}

func (c *profileChecks) storedRefused(ctx context.Context, stored keyring.Entry) bool {
	if stored.Token.Empty() || !c.host.Now().Before(stored.ExpiresAt) {
		return false
	}
	accepted, err := c.session.Accepts(ctx, stored.Token)
	return err == nil && !accepted
}
