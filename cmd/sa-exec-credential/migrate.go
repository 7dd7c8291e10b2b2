package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/setup"
)

type migrateCommand struct {
	Context      string `arg:"" help:"The context whose user has a service account's token."`
	AdminContext string `placeholder:"CONTEXT" help:"The context whose credentials prepare the cluster."`
	Kubeconfig   string `placeholder:"FILE" help:"The kubeconfig that holds both (default: as kubectl)."`

	Profile             string        `placeholder:"NAME" help:"Name of the profile (default: SERVICEACCOUNT.NAMESPACE@CLUSTER)."`
	Duration            time.Duration `default:"1h" help:"How long a token lives, at least 10m."`
	BootstrapDuration   time.Duration `default:"720h" help:"How long the bootstrap credential in the keyring lives; it renews itself."`
	Store               string        `enum:"auto,keyring,kernel" default:"auto" help:"Where secrets are kept: auto, keyring or kernel."`
	NoCap               bool          `help:"Do not limit by an admission policy what the bootstrap credential can ask for."`
	AllowDefaultAccount bool          `help:"Go on although every pod of the namespace has the account \"default\"."`

	DeleteLegacySecret bool `help:"Delete the Secret that the old token was read from, once the new way works."`
	DryRun             bool `help:"Print what would be made and changed, and touch nothing."`
}

// What keeps a context from being migrated.
var (
	errNotAccountToken = errors.New("the token is not a ServiceAccount's")
	errProfileTaken    = errors.New("there is a profile of that name for another account or cluster")
	errStillHeld       = errors.New("the legacy Secret was not deleted, because other users hold its token")
)

func migrateProblems() []problem {
	return []problem{
		{errNotAccountToken, exitUsage, "only contexts with a ServiceAccount's token can be migrated"},
		{kubeconfig.ErrShared, exitUsage, "give each cluster a user of its own first"}, // also wraps the difference
		{errProfileTaken, exitUsage, "choose another --profile"},
		{errStillHeld, exitUsage, "migrate the contexts of these users too, then delete the Secret with kubectl"},
	}
}

// accountPrefix begins the subject of every ServiceAccount's token.
const accountPrefix = "system:serviceaccount:"

// migration is one context on its way from a token in a file to the plugin.
type migration struct {
	command     *migrateCommand
	env         *environment
	paths       []string
	target      kubeconfig.Context // the context to migrate
	static      kubeconfig.Static
	claims      mint.Claims // what the old token says of itself
	preparation *preparation
	legacy      *setup.LegacySecret // where the old token was read from; nil: nowhere, or not known
}

// Run makes the new way, proves it, and only then takes the token out of the file. Interrupted anywhere before that, the
// old way still works, and another run goes on.
func (c *migrateCommand) Run(ctx context.Context, env *environment) error {
	m, err := c.newMigration(ctx, env)
	if err != nil {
		return err
	}
	m.findLegacySecret(ctx)
	if c.DryRun {
		return m.dryRun(ctx)
	}
	p := m.preparation
	session, err := p.ready(ctx)
	if err != nil {
		return err
	}
	proof, err := p.prove(ctx, session)
	if err != nil {
		return err
	}
	replaced, err := m.replace()
	if err != nil {
		return err
	}
	deleted := m.deleteLegacySecret(ctx, replaced)
	proof.context, proof.file = c.Context, replaced.File
	return errors.Join(deleted, env.write(proof.text(env.colours())))
}

// newMigration finds out everything that could be in the way. It changes nothing.
func (c *migrateCommand) newMigration(ctx context.Context, env *environment) (*migration, error) {
	m := &migration{command: c, env: env}
	var err error
	if m.paths, err = env.kubeconfigPaths(c.Kubeconfig); err != nil {
		return nil, err
	}
	if m.static, err = kubeconfig.StaticToken(m.paths, c.Context); err != nil {
		return nil, err
	}
	if m.claims, err = accountClaims(m.static.Token.Reveal()); err != nil {
		return nil, fmt.Errorf("context %q, user %q: %w", c.Context, m.static.User, err)
	}
	if m.target, err = kubeconfig.Resolve(m.paths, c.Context); err != nil {
		return nil, err
	}
	if c.AdminContext == "" {
		return nil, fmt.Errorf("%w: --admin-context is missing: name the context that may prepare service account %q", errUsage, m.account())
	}
	if err := m.plan(); err != nil {
		return nil, err
	}
	return m, m.askWho(ctx)
}

func (m *migration) account() string { return m.claims.Namespace + "/" + m.claims.ServiceAccount }

// accountClaims reads whose token it is, or says why it is no ServiceAccount's. Nothing of the token but the names in its
// claims is told.
func accountClaims(token string) (mint.Claims, error) {
	claims := mint.ParseClaims(token)
	switch {
	case claims.Subject == "" && claims.Issuer == "":
		return claims, fmt.Errorf("%w: it is no JWT", errNotAccountToken)
	case !strings.HasPrefix(claims.Subject, accountPrefix):
		return claims, fmt.Errorf("%w: %q issued it for somebody else", errNotAccountToken, claims.Issuer)
	case claims.Namespace == "" || claims.Subject != mint.Username(claims.Namespace, claims.ServiceAccount):
		return claims, fmt.Errorf("%w: its claims do not name one account", errNotAccountToken)
	}
	return claims, nil
}

// plan works out the preparation: that of setup for an account that exists, with its rights, and with the cluster as the
// context has it.
func (m *migration) plan() error {
	c := m.command
	command := &setupCommand{ServiceAccount: m.claims.ServiceAccount, Namespace: m.claims.Namespace, NoRBAC: true, NoCap: c.NoCap,
		AllowDefaultAccount: c.AllowDefaultAccount, Duration: c.Duration, BootstrapDuration: c.BootstrapDuration, Store: c.Store,
		Bootstrap: string(profile.SourceKeyring), Profile: c.Profile, Output: "-", Parallel: 1}
	if command.Profile == "" {
		command.Profile = profile.DefaultName(m.claims.ServiceAccount, m.claims.Namespace, m.target.ClusterName)
	}
	if err := command.check(); err != nil {
		return err
	}
	p, err := command.newPreparation(m.env, m.paths, c.AdminContext)
	if err != nil {
		return err
	}
	if err := sameCluster(p.profile.Cluster, m.target.Cluster); err != nil {
		return fmt.Errorf("%w: context %q is for another cluster than %q", errUsage, c.AdminContext, c.Context)
	}
	p.profile.Cluster = m.target.Cluster
	if err := p.checkTaken(); err != nil {
		return err
	}
	p.say = func(step string) { m.env.log.line("migrate", step) }
	m.preparation = p
	entry, err := p.entry()
	if err != nil {
		return err
	}
	return kubeconfig.CanReplace(m.paths, c.Context, entry)
}

func sameCluster(a, b profile.Cluster) error {
	first, err := identityOf(a)
	if err != nil {
		return err
	}
	second, err := identityOf(b)
	if err != nil {
		return err
	}
	return first.Difference(second)
}

func identityOf(c profile.Cluster) (profile.Identity, error) {
	return profile.IdentityOf(c.Server, c.TLSServerName, c.CertificateAuthorityData)
}

// askWho makes sure that the old token is for the account that its claims name. One that is no longer accepted can be
// migrated all the same: to replace those that have expired is what migrate is for.
func (m *migration) askWho(ctx context.Context) error {
	config, err := kubeconfig.ClientConfig(m.paths, m.command.Context)
	if err != nil {
		return err
	}
	minter, err := mint.New(config, m.env.now)
	if err != nil {
		return err
	}
	user, err := minter.WhoAmI(ctx)
	switch wanted := mint.Username(m.claims.Namespace, m.claims.ServiceAccount); {
	case errors.Is(err, api.ErrUnauthorized):
		m.env.log.line("warning", fmt.Sprintf("the API server does not accept the old token; that it was for %q is only its own word", m.account()))
	case errors.Is(err, api.ErrForbidden):
	case err != nil:
		return fmt.Errorf("asking whom the old token stands for: %w", err)
	case user.Name != wanted:
		return fmt.Errorf("%w: it says %q, the API server %q", errNotAccountToken, wanted, user.Name)
	}
	return nil
}

// findLegacySecret names the Secrets that hold tokens of the account which never expire.
func (m *migration) findLegacySecret(ctx context.Context) {
	secrets, err := setup.ListLegacySecrets(ctx, m.preparation.admin, m.claims.Namespace, m.claims.ServiceAccount)
	if err != nil {
		m.env.log.warning(err)
	}
	for _, secret := range secrets {
		if secret.Name == m.claims.LegacySecret {
			m.legacy = &secret
			m.preparation.say(fmt.Sprintf("Secret %q: the old token was read from it, and never expires", m.secretName()))
			continue
		}
		m.env.log.line("warning", fmt.Sprintf("Secret %q holds another token of this account that never expires", m.claims.Namespace+"/"+secret.Name))
	}
}

func (m *migration) secretName() string { return m.claims.Namespace + "/" + m.legacy.Name }

// replace takes the token out of the kubeconfig and reports what of it is left elsewhere.
func (m *migration) replace() (kubeconfig.Replaced, error) {
	entry, err := m.preparation.entry()
	if err != nil {
		return kubeconfig.Replaced{}, err
	}
	replaced, err := kubeconfig.ReplaceUser(m.paths, m.command.Context, entry)
	if err != nil {
		return replaced, err
	}
	m.preparation.say(fmt.Sprintf("user %q in %q: runs the plugin, and its token is gone", replaced.User, replaced.File))
	for _, name := range m.sharing(replaced.User) {
		m.preparation.say(fmt.Sprintf("context %q: has the same user, and changed with it", name))
	}
	m.tellLeftovers(replaced)
	return replaced, nil
}

// sharing lists the other contexts of the user.
func (m *migration) sharing(user string) []string {
	uses, err := kubeconfig.FindPluginContexts(m.paths)
	m.env.log.debug("looked for other contexts of the user", "error", err)
	var names []string
	for _, use := range uses {
		if use.User == user && use.Context != m.command.Context {
			names = append(names, use.Context)
		}
	}
	return names
}

// tellLeftovers says where the old token still is, and how long it is good.
func (m *migration) tellLeftovers(replaced kubeconfig.Replaced) {
	warn := func(format string, args ...any) { m.env.log.line("warning", fmt.Sprintf(format, args...)) }
	if replaced.TokenFile != "" {
		warn("the old token is still in %q; when nothing else reads it: %s", replaced.TokenFile, commandLine("rm", replaced.TokenFile))
	}
	for _, holder := range replaced.Holders {
		warn("user %q still holds the same token", holder)
	}
	switch expires := m.claims.ExpiresAt; {
	case m.legacy != nil && !m.command.DeleteLegacySecret:
		warn("the old token is good until its Secret is deleted; when nothing else uses it: %s", m.deleteLine())
	case expires.After(m.env.now()):
		warn("the old token is good until %s, wherever it was copied to", date(expires))
	}
}

func (m *migration) deleteLine() string {
	line := []string{"kubectl", "--context", m.command.AdminContext, "-n", m.claims.Namespace, "delete", "secret", m.legacy.Name}
	if m.command.Kubeconfig != "" {
		line = slices.Insert(line, 1, "--kubeconfig", m.command.Kubeconfig)
	}
	return commandLine(line...)
}

// deleteLegacySecret ends the old token where that was asked for and breaks nobody whom this program knows of.
func (m *migration) deleteLegacySecret(ctx context.Context, replaced kubeconfig.Replaced) error {
	switch {
	case !m.command.DeleteLegacySecret:
		return nil
	case m.legacy == nil:
		m.env.log.line("warning", "there is no legacy Secret to delete")
		return nil
	case len(replaced.Holders) > 0:
		return fmt.Errorf("%w: %s", errStillHeld, quotedList(replaced.Holders))
	}
	if err := setup.DeleteLegacySecret(ctx, m.preparation.admin, m.claims.Namespace, *m.legacy); err != nil {
		return err
	}
	m.preparation.say(fmt.Sprintf("Secret %q: deleted, and with it the old token", m.secretName()))
	return nil
}

func quotedList(names []string) string {
	return strings.Join(mapped(names, func(name string) string { return fmt.Sprintf("%q", name) }), ", ")
}

// dryRun prints what would be applied, and what the user would become.
func (m *migration) dryRun(ctx context.Context) error {
	p := m.preparation
	manifests, rendered, err := p.plan(ctx)
	if err != nil {
		return err
	}
	var result bytes.Buffer
	result.WriteString(printable(fmt.Sprintf("# For the cluster: context %q would make these, a device Secret and a bootstrap credential. Service account %q and "+
		"its rights stay as they are.", m.command.AdminContext, m.account())) + "\n")
	result.Write(manifests)
	result.WriteString("---\n" + printable(fmt.Sprintf("# For the client: the exec section would take the place of the token of user %q in %q. All names there stay.",
		m.static.User, m.static.File)) + "\n")
	result.Write(rendered)
	if m.legacy != nil && m.command.DeleteLegacySecret {
		result.WriteString(printable(fmt.Sprintf("# Secret %q would be deleted.", m.secretName())) + "\n")
	}
	return m.env.write(result.Bytes())
}
