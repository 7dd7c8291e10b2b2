package prepare

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/bootstrap"
	"github.com/sa-exec-credential/sa-exec-credential/internal/cluster"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/rights"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// MigrateOptions say how a context gets the plugin in place of its token.
type MigrateOptions struct {
	Context      string
	AdminContext string
	Kubeconfig   string // a file that was named; empty: as kubectl
	// ServiceAccount and Namespace name the account where the server does not say whose the
	// token is.
	ServiceAccount, Namespace string

	Profile             string
	Duration            time.Duration
	BootstrapDuration   time.Duration
	Store               keyring.Kind
	TPM                 string // what a sealed store seals with, see keyring.System
	NoLimits            bool
	AllowDefaultAccount bool
	TakeOver            bool // a profile's name that is taken
	DeleteLegacySecret  bool
}

// What keeps a context from being migrated.
var (
	ErrNotAccountToken = errors.New("the token is not a ServiceAccount's")
	ErrStillHeld       = errors.New("the legacy Secret was not deleted, because other users " +
		"hold its token")
)

// accountPrefix begins the subject of every ServiceAccount's token.
const accountPrefix = "system:serviceaccount:"

// Migration is one context on its way from a token in a file to the plugin.
type Migration struct {
	host        *host.Host
	options     MigrateOptions
	report      ui.Report
	paths       []string
	target      kubeconfig.Context // the context to migrate
	static      kubeconfig.Static
	claims      mint.Claims // what the old token says of itself
	namespace   string      // of the account
	account     string      // as the server says, or else as it was named
	verified    bool        // by the server, which makes the claims true
	preparation *Preparation
	// where the old token was read from; nil: nowhere, or not known
	legacy *cluster.LegacySecret
}

// NewMigration finds out everything that could be in the way. It changes nothing.
func NewMigration(ctx context.Context, h *host.Host, o MigrateOptions,
	report ui.Report) (*Migration, error) {
	m := &Migration{host: h, options: o, report: report}
	if err := m.readContext(); err != nil {
		return nil, err
	}
	switch {
	case o.AdminContext == "":
		return nil, ui.Usagef("--admin-context is missing: name the context that can " +
			"prepare the service account")
	case (o.ServiceAccount == "") != (o.Namespace == ""):
		return nil, ui.Usagef("--serviceaccount and --namespace name one account, and " +
			"need each other")
	}
	if err := m.findAccount(ctx); err != nil {
		return nil, err
	}
	if err := m.plan(ctx); err != nil {
		return nil, err
	}
	m.findLegacySecret(ctx)
	if m.legacy != nil && o.DeleteLegacySecret {
		ref := cluster.Ref{Kind: "Secret", Namespace: m.namespace, Name: m.legacy.Name}
		m.preparation.needed = []rights.Right{rights.On("delete", ref)}
	}
	return m, nil
}

func (m *Migration) readContext() (err error) {
	if m.paths, err = m.host.KubeconfigPaths(m.options.Kubeconfig); err != nil {
		return err
	}
	if m.static, err = kubeconfig.StaticToken(m.paths, m.options.Context); err != nil {
		return err
	}
	if m.claims, err = accountClaims(m.static.Token.Reveal()); err != nil {
		return fmt.Errorf("context %q, user %q: %w", m.options.Context, m.static.User, err)
	}
	m.target, err = kubeconfig.Resolve(m.paths, m.options.Context)
	return err
}

// Account is the old token's NAMESPACE/SERVICEACCOUNT.
func (m *Migration) Account() string { return m.namespace + "/" + m.account }

// accountClaims reads whose token it is, or says why it is no ServiceAccount's. Nothing of the
// token but the names in its claims is told.
func accountClaims(token string) (mint.Claims, error) {
	claims := mint.ParseClaims(token)
	switch {
	case claims.Subject == "" && claims.Issuer == "":
		return claims, fmt.Errorf("%w: it is no JWT", ErrNotAccountToken)
	case !strings.HasPrefix(claims.Subject, accountPrefix):
		return claims, fmt.Errorf("%w: %q issued it for somebody else", ErrNotAccountToken,
			claims.Issuer)
	case claims.Namespace == "" || claims.Subject != mint.Username(claims.Namespace,
		claims.ServiceAccount):
		return claims, fmt.Errorf("%w: its claims do not name one account",
			ErrNotAccountToken)
	}
	return claims, nil
}

// plan works out the preparation: that of setup for an account that exists, with its rights, and
// with the cluster as the context has it.
func (m *Migration) plan(ctx context.Context) error {
	o := m.options
	lifetime := profile.Duration{Duration: o.BootstrapDuration}
	setup := Options{ServiceAccount: m.account, Namespace: m.namespace, NoRBAC: true,
		NoLimits: o.NoLimits, AllowDefaultAccount: o.AllowDefaultAccount,
		TakeOver: o.TakeOver, Duration: o.Duration,
		Bootstrap: profile.Bootstrap{Source: profile.SourceKeyring,
			Duration: &lifetime},
		BootstrapDuration: o.BootstrapDuration, Store: o.Store, TPM: o.TPM,
		Profile: o.Profile}
	if setup.Profile == "" {
		setup.Profile = profile.DefaultName(m.account, m.namespace, m.target.ClusterName)
	}
	p, err := New(ctx, m.host, setup, m.paths, o.AdminContext, m.report)
	if err != nil {
		return err
	}
	if err := p.profile.Cluster.DifferenceWithin(m.target.Cluster); err != nil {
		return ui.Usagef("context %q is for another cluster than %q", o.AdminContext,
			o.Context)
	}
	authorities := p.profile.Cluster.CertificateAuthorityData
	p.profile.Cluster = m.target.Cluster
	p.profile.Cluster.CertificateAuthorityData = authorities
	if err := p.checkTaken(ctx); err != nil {
		return err
	}
	m.preparation = p
	entry, err := p.entry()
	if err != nil {
		return err
	}
	return kubeconfig.CanReplace(m.paths, o.Context, entry)
}

// findAccount finds out whose the old token is. What it says of itself is only its own word: the
// server decides. Where that does not tell, as with a token that has expired, the account has to
// be named, and nothing is deleted.
func (m *Migration) findAccount(ctx context.Context) error {
	claimed := mint.Username(m.claims.Namespace, m.claims.ServiceAccount)
	named := mint.Username(m.options.Namespace, m.options.ServiceAccount)
	user, err := m.whoAmI(ctx)
	switch {
	case api.IsAny(err, api.ErrUnauthorized, api.ErrForbidden, api.ErrNotFound):
		return m.takeNamed(err)
	case err != nil:
		return fmt.Errorf("asking whom the old token stands for: %w", err)
	case user.Name != claimed:
		return fmt.Errorf("%w: it says %q, the API server %q", ErrNotAccountToken, claimed,
			user.Name)
	case m.options.ServiceAccount != "" && user.Name != named:
		return ui.Usagef("the old token is for %q, and not for the account that was named",
			user.Name)
	}
	m.namespace, m.account, m.verified = m.claims.Namespace, m.claims.ServiceAccount, true
	return nil
}

func (m *Migration) whoAmI(ctx context.Context) (mint.User, error) {
	config, err := kubeconfig.ClientConfig(m.paths, m.options.Context)
	if err != nil {
		return mint.User{}, err
	}
	client, err := bootstrap.Minter(config, m.host.Now)
	if err != nil {
		return mint.User{}, err
	}
	return client.WhoAmI(ctx)
}

// takeNamed is for when the server does not say whose the old token is.
func (m *Migration) takeNamed(reason error) error {
	switch {
	case m.options.ServiceAccount == "":
		return ui.Usagef("the API server does not say whose the old token is (%v): name "+
			"the account with "+
			"--serviceaccount and --namespace", reason)
	case m.options.DeleteLegacySecret:
		return ui.Usagef("--delete-legacy-secret needs a token that the API server "+
			"accepts (%v)", reason)
	}
	m.namespace, m.account = m.options.Namespace, m.options.ServiceAccount
	m.report(ui.Warning, fmt.Sprintf("the API server does not say whose the old token is "+
		"(%v): taken for one of %q, as named",
		reason, m.Account()))
	return nil
}

func (m *Migration) step(format string, args ...any) { m.preparation.step(format, args...) }

func (m *Migration) warn(format string, args ...any) { m.preparation.warn(format, args...) }

// findLegacySecret names the Secrets that hold tokens of the account which never expire.
func (m *Migration) findLegacySecret(ctx context.Context) {
	secrets, err := cluster.ListLegacySecrets(ctx, m.preparation.admin.Client, m.namespace,
		m.account)
	if err != nil {
		m.warn("%v", err)
	}
	for _, secret := range secrets {
		if m.verified && secret.Name == m.claims.LegacySecret {
			m.legacy = &secret
			m.step("Secret %q: the old token was read from it, and never expires",
				m.secretName())
			continue
		}
		m.warn("Secret %q holds a token of this account that never expires",
			m.namespace+"/"+secret.Name)
	}
}

func (m *Migration) secretName() string { return m.namespace + "/" + m.legacy.Name }

// Run creates the new way, proves it, and only then takes the token out of the file. Interrupted
// anywhere before that, the old way still works, and another run goes on. The proof is there also
// when deleting the legacy Secret failed.
func (m *Migration) Run(ctx context.Context) (*Proof, error) {
	s, err := m.preparation.ready(ctx)
	if err != nil {
		return nil, err
	}
	proof, err := m.preparation.prove(ctx, s)
	if err != nil {
		return nil, err
	}
	replaced, err := m.replace()
	if err != nil {
		return nil, err
	}
	proof.Context, proof.File = m.options.Context, replaced.File
	proof.IsElsewhere = m.preparation.isElsewhere(Absolute([]string{replaced.File})[0])
	return proof, m.deleteLegacySecret(ctx, replaced)
}

// replace takes the token out of the kubeconfig and reports what of it is left elsewhere.
func (m *Migration) replace() (kubeconfig.Replaced, error) {
	entry, err := m.preparation.entry()
	if err != nil {
		return kubeconfig.Replaced{}, err
	}
	replaced, err := kubeconfig.ReplaceUser(m.paths, m.options.Context, entry)
	if err != nil {
		return replaced, err
	}
	m.step("user %q in %q: runs the plugin, and its token is gone", replaced.User,
		replaced.File)
	for _, name := range m.sharing(replaced.User) {
		m.step("context %q: has the same user, and changed with it", name)
	}
	for _, name := range replaced.Clusters {
		m.step("cluster %q: has its certificate authorities and an extension in the "+
			"kubeconfig itself, as Python's client needs", name)
	}
	for _, name := range replaced.Unfit {
		m.warn("cluster %q was left as it is: Python's client needs "+
			"certificate-authority-data and extensions in it", name)
	}
	m.tellLeftovers(replaced)
	return replaced, nil
}

// sharing lists the other contexts of the user.
func (m *Migration) sharing(user string) []string {
	uses, err := kubeconfig.FindPluginContexts(m.paths)
	m.host.Log.Debug("looked for other contexts of the user", "error", err)
	var names []string
	for _, use := range uses {
		if use.User == user && use.Context != m.options.Context {
			names = append(names, use.Context)
		}
	}
	return names
}

// tellLeftovers says where the old token still is, and how long it is good.
func (m *Migration) tellLeftovers(replaced kubeconfig.Replaced) {
	if replaced.TokenFile != "" {
		m.warn("the old token is still in %q; when nothing else reads it: %s",
			replaced.TokenFile,
			ui.CommandLine("rm", replaced.TokenFile))
	}
	for _, holder := range replaced.Holders {
		m.warn("user %q still holds the same token", holder)
	}
	switch expires := m.claims.ExpiresAt; {
	case m.legacy != nil && !m.options.DeleteLegacySecret:
		m.warn("the old token is good until its Secret is deleted; when nothing else "+
			"uses it: %s", m.deleteLine())
	case expires.After(m.host.Now()):
		m.warn("the old token is good until %s, wherever it was copied to",
			ui.Date(expires))
	}
}

func (m *Migration) deleteLine() string {
	line := []string{"kubectl"}
	if m.options.Kubeconfig != "" {
		line = append(line, "--kubeconfig", m.options.Kubeconfig)
	}
	return ui.CommandLine(append(line, "--context", m.options.AdminContext, "-n", m.namespace,
		"delete", "secret", m.legacy.Name)...)
}

// deleteLegacySecret ends the old token where that was asked for and breaks nobody whom this
// program knows of.
func (m *Migration) deleteLegacySecret(ctx context.Context, replaced kubeconfig.Replaced) error {
	switch {
	case !m.options.DeleteLegacySecret:
		return nil
	case m.legacy == nil:
		m.warn("there is no legacy Secret to delete")
		return nil
	case len(replaced.Holders) > 0:
		return fmt.Errorf("%w: %s", ErrStillHeld, ui.QuotedList(replaced.Holders))
	}
	err := cluster.DeleteLegacySecret(ctx, m.preparation.admin.Client, m.namespace, *m.legacy)
	if err != nil {
		return err
	}
	m.step("Secret %q: deleted, and with it the old token", m.secretName())
	return nil
}

// MigrationPlan is what a migration would come to.
type MigrationPlan struct {
	Manifests, Kubeconfig []byte
	User, File            string // whose token the exec section would take the place of
	LegacySecret          string // NAMESPACE/NAME that would be deleted; empty: none
}

// Plan returns what would be applied, and what the user would become.
func (m *Migration) Plan(ctx context.Context) (MigrationPlan, error) {
	manifests, rendered, err := m.preparation.Plan(ctx)
	plan := MigrationPlan{Manifests: manifests, Kubeconfig: rendered, User: m.static.User,
		File: m.static.File}
	if m.legacy != nil && m.options.DeleteLegacySecret {
		plan.LegacySecret = m.secretName()
	}
	return plan, err
}
