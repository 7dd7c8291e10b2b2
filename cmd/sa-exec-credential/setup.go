package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kuberc"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/setup"
	"github.com/sa-exec-credential/sa-exec-credential/internal/yamledit"
)

type setupCommand struct {
	ServiceAccount string `arg:"" optional:"" name:"serviceaccount" help:"The service account to mint tokens for. In a pod, with --bootstrap in-cluster: by default the pod's own."`
	Namespace      string `short:"n" placeholder:"NS" help:"Its namespace (default: the context's)."`

	Context     []string `placeholder:"CONTEXT" sep:"none" help:"The context whose credentials prepare the cluster; repeatable, and may be a glob (default: the current one)."`
	AllContexts bool     `help:"Prepare the clusters of all contexts."`
	Kubeconfig  string   `placeholder:"FILE" help:"The kubeconfig that holds the contexts (default: as kubectl)."`
	Parallel    int      `default:"8" placeholder:"N" help:"How many clusters are prepared side by side."`

	Role         []string `group:"Rights:" placeholder:"ROLE" help:"An existing Role to bind; repeatable."`
	ClusterRole  []string `group:"Rights:" placeholder:"ROLE" help:"An existing ClusterRole to bind; repeatable."`
	Verb         []string `group:"Rights:" help:"Verbs of a role to make, as kubectl create role spells them."`
	Resource     []string `group:"Rights:" help:"Resources of the role to make, such as pods,deployments.apps,pods/log."`
	ResourceName []string `group:"Rights:" placeholder:"NAME" help:"Only objects of this name; repeatable."`
	ClusterWide  bool     `group:"Rights:" help:"Grant the ClusterRoles, or the role to make, in all namespaces."`
	NoRBAC       bool     `group:"Rights:" name:"no-rbac" help:"The service account and its rights exist already; leave them alone."`
	NoCap        bool     `group:"Rights:" help:"Do not limit by an admission policy what the bootstrap credential can ask for."`

	AllowDefaultAccount bool `group:"Rights:" help:"Go on although every pod of the namespace has the account \"default\"."`
	AllowAdmin          bool `group:"Rights:" help:"Go on although the account gets to do everything."`

	Duration          time.Duration `group:"Tokens:" default:"1h" help:"How long a token lives, at least 10m."`
	Audience          []string      `group:"Tokens:" help:"For whom tokens are (default: the API server); repeatable."`
	Bootstrap         string        `group:"Tokens:" default:"keyring" placeholder:"SOURCE" help:"keyring, context=NAME, in-cluster, token-file=PATH, env=NAME or command=COMMAND: what authenticates the request for a token."`
	BootstrapDuration time.Duration `group:"Tokens:" default:"720h" help:"How long the bootstrap credential in the keyring lives; it renews itself."`
	BootstrapEnv      []string      `group:"Tokens:" placeholder:"NAME" help:"A variable that a bootstrap command, or another context's plugin, gets with its value of now; repeatable."`
	Recover           bool          `group:"Tokens:" help:"Let get use this context's credentials when the cluster no longer knows the bootstrap credential: after new signing keys, in a rebuilt cluster, or when the store was emptied; never after revoke."`
	Minter            string        `group:"Tokens:" placeholder:"NS/NAME" help:"With --bootstrap in-cluster, on an administrator's machine: the pods' account that may mint."`
	Store             string        `group:"Tokens:" enum:"auto,keyring,kernel,none" default:"auto" help:"Where secrets are kept: auto, keyring, kernel or none."`

	Profile                 string `group:"Results:" placeholder:"NAME" help:"Name of the profile and of its context (default: SERVICEACCOUNT.NAMESPACE@CLUSTER)."`
	Output                  string `group:"Results:" short:"o" placeholder:"FILE" help:"The kubeconfig that gets the context; - prints one (default: as kubectl)."`
	UseContext              bool   `group:"Results:" help:"Make it the current context."`
	AllowMissingClusterInfo bool   `group:"Results:" help:"Also answer clients that do not say which cluster the token will be sent to."`
	Allowlist               bool   `group:"Results:" help:"Add the plugin to the allowlist in kubectl's kuberc."`
	DryRun                  bool   `group:"Results:" help:"Print the manifests and the kubeconfig, and touch nothing."`
}

// Run prepares one cluster, or many side by side.
func (c *setupCommand) Run(ctx context.Context, env *environment) error {
	if err := c.check(); err != nil {
		return err
	}
	if c.inPod(env) {
		return c.runInPod(ctx, env)
	}
	paths, err := env.kubeconfigPaths(c.Kubeconfig)
	if err != nil {
		return err
	}
	names, err := c.contexts(paths)
	if err != nil {
		return err
	}
	if len(names) != 1 && !c.DryRun {
		return c.runMany(ctx, env, paths, names)
	}
	for _, name := range names {
		p, err := c.newPreparation(env, paths, name)
		if err != nil {
			return err
		}
		if err := p.runAlone(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (c *setupCommand) check() error {
	several := c.AllContexts || len(c.Context) > 1
	switch {
	case c.AllContexts && len(c.Context) > 0:
		return fmt.Errorf("%w: --context and --all-contexts exclude each other", errUsage)
	case several && c.Profile != "":
		return fmt.Errorf("%w: --profile names one profile, and several contexts need several", errUsage)
	case several && c.UseContext:
		return fmt.Errorf("%w: --use-context needs a single --context", errUsage)
	case c.Duration < profile.MinDuration || c.Duration > profile.MaxDuration || c.Duration%time.Second != 0:
		return fmt.Errorf("%w: --duration %v: at least %v, in whole seconds", errUsage, c.Duration, profile.MinDuration)
	case c.BootstrapDuration < profile.MinDuration || c.BootstrapDuration > profile.MaxDuration || c.BootstrapDuration%time.Second != 0:
		return fmt.Errorf("%w: --bootstrap-duration %v: at least %v, in whole seconds", errUsage, c.BootstrapDuration, profile.MinDuration)
	case c.Recover && c.Bootstrap == string(profile.SourceInCluster):
		return fmt.Errorf("%w: --recover needs a context's credentials, which pods do not have", errUsage)
	case c.Parallel < 1:
		return fmt.Errorf("%w: --parallel %d: at least 1", errUsage, c.Parallel)
	}
	if _, err := c.minter(); err != nil || c.Profile == "" {
		return err
	}
	return profile.CheckName(c.Profile)
}

// contexts resolves names and globs. Contexts that setup itself has made cannot prepare anything.
func (c *setupCommand) contexts(paths []string) ([]string, error) {
	if !c.AllContexts && len(c.Context) == 0 {
		return []string{""}, nil
	}
	names, err := kubeconfig.Contexts(paths, c.Context...)
	if err != nil {
		return nil, err
	}
	ours, err := kubeconfig.FindPluginContexts(paths)
	if err != nil {
		return nil, err
	}
	names = slices.DeleteFunc(names, func(name string) bool {
		return slices.ContainsFunc(ours, func(use kubeconfig.PluginContext) bool { return use.Context == name })
	})
	if len(names) == 0 {
		return nil, fmt.Errorf("%w: no context is left that could prepare a cluster", kubeconfig.ErrNoContext)
	}
	return names, nil
}

// wanted is what the cluster shall hold.
func (c *setupCommand) wanted(p profile.Profile) setup.Wanted {
	w := setup.Wanted{
		Namespace: p.Namespace, ServiceAccount: p.ServiceAccount,
		Roles: c.Role, ClusterRoles: c.ClusterRole, Verbs: c.Verb, Resources: c.Resource, ResourceNames: c.ResourceName,
		ClusterWide: c.ClusterWide, NoRBAC: c.NoRBAC, Bootstrap: p.Bootstrap.Source == profile.SourceKeyring,
		Cap: !c.NoCap, Duration: c.Duration, BootstrapDuration: c.BootstrapDuration,
		AllowDefaultAccount: c.AllowDefaultAccount, AllowAdmin: c.AllowAdmin,
	}
	w.Minter, _ = c.minter() // check has seen that it can be read
	// The cap also demands a device Secret, which belongs to a machine; pods come and go.
	w.Cap = w.Cap && w.Bootstrap
	return w
}

// bootstrap reads --bootstrap.
func (c *setupCommand) bootstrap(env *environment, paths []string) (profile.Bootstrap, error) {
	source, value, _ := strings.Cut(c.Bootstrap, "=")
	b := profile.Bootstrap{Source: profile.Source(source)}
	needsValue := true
	switch b.Source {
	case profile.SourceKeyring, profile.SourceInCluster:
		needsValue = false
		if b.Source == profile.SourceKeyring {
			b.Duration = &profile.Duration{Duration: c.BootstrapDuration}
		}
	case profile.SourceContext:
		b.Context, b.Kubeconfig = value, paths
		b.Environment = env.pinned(c.BootstrapEnv)
	case profile.SourceTokenFile:
		path, err := filepath.Abs(value)
		if err != nil {
			return b, err
		}
		b.Path = path
	case profile.SourceEnv:
		b.Variable = value
	case profile.SourceCommand:
		command, err := findCommand(value)
		if err != nil {
			return b, err
		}
		b.Command = command
		b.Environment = env.pinned(c.BootstrapEnv)
	default:
		return b, fmt.Errorf("%w: --bootstrap %q is none of keyring, context=NAME, in-cluster, token-file=PATH, env=NAME, command=COMMAND", errUsage, c.Bootstrap)
	}
	if needsValue != (value != "") {
		return b, fmt.Errorf("%w: --bootstrap %q: %s", errUsage, c.Bootstrap, map[bool]string{true: "a value is missing", false: "it takes no value"}[needsValue])
	}
	if runsPrograms := b.Environment != nil || c.Recover; !runsPrograms && len(c.BootstrapEnv) > 0 {
		return b, fmt.Errorf("%w: --bootstrap-env goes with --bootstrap command= or context=, or with --recover", errUsage)
	}
	return b, nil
}

// recovery is nil unless --recover asks for it.
func (c *setupCommand) recovery(env *environment, origin *profile.Origin) *profile.Recovery {
	if !c.Recover {
		return nil
	}
	return &profile.Recovery{Credential: profile.Bootstrap{Source: profile.SourceContext, Context: origin.Context,
		Kubeconfig: origin.Kubeconfig, Environment: env.pinned(c.BootstrapEnv)}}
}

// plan returns what would be applied to the cluster, and the kubeconfig that would be merged.
func (p *preparation) plan(ctx context.Context) (manifests, rendered []byte, err error) {
	objects, err := setup.Plan(ctx, p.admin, p.command.wanted(p.profile))
	if err != nil {
		return nil, nil, err
	}
	rendered, err = p.render()
	return setup.Manifests(objects), rendered, err
}

// dryRun prints what would be applied and merged.
func (p *preparation) dryRun(ctx context.Context) error {
	manifests, rendered, err := p.plan(ctx)
	if err != nil {
		return err
	}
	var result bytes.Buffer
	result.WriteString("# For the cluster: kubectl apply -f - of this part makes what setup would. Each machine's own device\n" +
		"# Secret and bootstrap credential are made by: sa-exec-credential setup --no-rbac\n")
	result.Write(manifests)
	result.WriteString("---\n# For the client: this kubeconfig would be merged. It is no manifest: cut it off before kubectl apply.\n")
	result.Write(rendered)
	return p.env.write(result.Bytes())
}

// problemWords are what setup's own errors are answered with.
func setupProblems() []problem {
	return []problem{
		{setup.ErrUsage, exitUsage, "see sa-exec-credential setup --help"},
		{setup.ErrDefaultAccount, exitUsage, "use an account of its own; to go on nevertheless: --allow-default-account"},
		{setup.ErrAdmin, exitUsage, "grant what the work needs and no more; to go on nevertheless: --allow-admin"},
		{setup.ErrForeign, exitForbidden, "choose another name, or have its owner remove it"},
		{setup.ErrTerminating, exitServer, "try again when it is gone"},
		{kubeconfig.ErrNoContext, exitUsage, "kubectl config get-contexts lists them; --kubeconfig names another file"},
		{kubeconfig.ErrReference, exitUsage, "mend the kubeconfig: kubectl config view shows it"},
		{kubeconfig.ErrInsecure, exitProfile, "put the cluster's certificate authority into the kubeconfig and remove insecure-skip-tls-verify"},
		{yamledit.ErrMalformed, exitUsage, "mend the file; it was left as it is"},
		{kubeconfig.ErrForeign, exitUsage, "choose another --profile, or remove the entry from the kubeconfig"},
		{yamledit.ErrLocked, exitUnexpected, "if no other program is at work, remove the .lock file"},
		{yamledit.ErrUnsupported, exitUsage, "write to another file with -o, and add it to KUBECONFIG"},
		{kubeconfig.ErrNotStatic, exitUsage, "only contexts with a ServiceAccount's token can be migrated"},
		{kubeconfig.ErrOurs, exitUsage, "nothing needs to be done"},
		{kubeconfig.ErrShared, exitUsage, "give each cluster a user of its own first"},
		{kuberc.ErrDenyAll, exitUsage, "change credentialPluginPolicy in kuberc first"},
		{kuberc.ErrNoAllowlist, exitUsage, "kubectl allows every plugin already; to change that set credentialPluginPolicy: Allowlist"},
		{kuberc.ErrPolicy, exitUsage, "mend kuberc: kubectl itself would refuse it"},
		{kubeconfig.ErrEntry, exitUsage, "see sa-exec-credential setup --help"},
	}
}

// setupHint is for errors that say more than their kind.
func setupHint(err error) (problem, bool) {
	var (
		escalation *setup.EscalationError
		conflict   *setup.ConflictError
		roleRef    *setup.RoleRefError
		unknown    *setup.UnknownError
		object     *setup.ObjectError
	)
	switch {
	case errors.As(err, &escalation):
		return problem{code: exitForbidden, hint: "nobody may grant more than they hold: have a cluster administrator run setup; on GKE first run: " +
			"kubectl create clusterrolebinding cluster-admin-me --clusterrole=cluster-admin --user=\"$(gcloud config get-value account)\""}, true
	case errors.As(err, &conflict):
		return problem{code: exitForbidden, hint: "change it where it is managed, or use --no-rbac"}, true
	case errors.As(err, &roleRef):
		return problem{code: exitForbidden, hint: "delete that binding first: what it binds cannot be changed"}, true
	case errors.As(err, &unknown) && len(unknown.Nearest) > 0:
		return problem{code: exitUsage, hint: "did you mean " + strings.Join(unknown.Nearest, ", ") + "?"}, true
	case errors.As(err, &unknown):
		return problem{code: exitUsage, hint: "kubectl api-resources and kubectl get clusterroles list what there is"}, true
	case errors.As(err, &object) && problemOfKind(err).code == exitForbidden:
		return problem{code: exitForbidden, hint: "use a context that may do this (--context), or have an administrator apply the output of --dry-run and use --no-rbac"}, true
	}
	return problem{}, false
}
