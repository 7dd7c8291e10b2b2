package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/lifecycle"
	"github.com/sa-exec-credential/sa-exec-credential/internal/prepare"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

type setupCommand struct {
	ServiceAccount string `arg:"" optional:"" name:"serviceaccount" help:"The service account to mint tokens for. In a pod, with --bootstrap in-cluster: by default the pod's own."`
	Namespace      string `short:"n" placeholder:"NS" help:"Its namespace (default: the context's)."`

	Context     []string `placeholder:"CONTEXT" sep:"none" help:"The context whose credentials prepare the cluster; repeatable, and can be a glob (default: the current one)."`
	AllContexts bool     `help:"Prepare the clusters of all contexts."`
	Kubeconfig  string   `placeholder:"FILE" help:"The kubeconfig that holds the contexts (default: as kubectl)."`
	Parallel    int      `default:"8" placeholder:"N" help:"How many clusters are prepared at once."`

	grants    `embed:""`
	lifetimes `embed:""`

	Bootstrap    string `group:"Tokens:" placeholder:"SOURCE" help:"keyring (default), context=NAME, in-cluster, token-file=PATH, env=NAME, command=COMMAND, github-actions or azure-pipelines: what authenticates the request for a token."`
	jobs         `embed:""`
	BootstrapEnv []string `group:"Tokens:" placeholder:"NAME" help:"A variable that a bootstrap command, or another context's plugin, gets with its value of now; repeatable."`
	Recover      *bool    `group:"Tokens:" negatable:"" help:"Let get use this context's credentials when the cluster no longer knows the bootstrap credential: after new signing keys, in a rebuilt cluster, or when the store was emptied; never after revoke."`
	minters      `embed:"" group:"Tokens:"`
	Device       string `group:"Tokens:" placeholder:"NAME" help:"What the device is called, for one that stands for a system of many machines (default: this machine)."`
	Store        string `group:"Tokens:" enum:",auto,keyring,sealed,kernel,none" default:"" placeholder:"STORE" help:"Where secrets are kept: auto, keyring, sealed (files that only this machine opens), kernel or none (default: auto, or as set up before)."`
	sealing      `embed:"" group:"Tokens:"`

	Profile                 string `group:"Results:" placeholder:"NAME" help:"Name of the profile and of its context (default: SERVICEACCOUNT.NAMESPACE@CLUSTER)."`
	TakeOver                bool   `group:"Results:" help:"Replace a profile of the same name that is for another cluster or account, such as one that was recreated or moved."`
	Output                  string `group:"Results:" short:"o" placeholder:"FILE" help:"The kubeconfig that gets the context; - prints one (default: as kubectl)."`
	UseContext              bool   `group:"Results:" help:"Make it the current context."`
	AllowMissingClusterInfo *bool  `group:"Results:" negatable:"" help:"Also answer clients that do not say which cluster the token will be sent to."`
	Allowlist               bool   `group:"Results:" help:"Add the plugin to the allowlist in kubectl's kuberc."`
	DryRun                  bool   `group:"Results:" help:"Print the manifests and the kubeconfig, and touch nothing."`

	unattended `embed:""`
}

// grants are the flags of what the account is granted.
type grants struct {
	Role         []string `group:"Rights:" placeholder:"ROLE" help:"An existing Role to bind; repeatable."`
	ClusterRole  []string `group:"Rights:" placeholder:"ROLE" help:"An existing ClusterRole to bind; repeatable."`
	Verb         []string `group:"Rights:" help:"Verbs of a role to create, as kubectl create role spells them."`
	Resource     []string `group:"Rights:" help:"Resources of the role to create, such as pods,deployments.apps,pods/log."`
	ResourceName []string `group:"Rights:" placeholder:"NAME" help:"Only objects of this name; repeatable."`
	In           []string `group:"Rights:" placeholder:"NS" help:"A namespace in which the rights are granted; repeatable (default: the account's own)."`
	ClusterWide  bool     `group:"Rights:" help:"Grant the ClusterRoles, or the role to create, in all namespaces."`
	NoRBAC       bool     `group:"Rights:" name:"no-rbac" help:"The service account and its rights exist already; leave them alone."`
	NoLimits     bool     `group:"Rights:" help:"Do not limit by the cluster's admission policy what devices can ask for."`

	AllowDefaultAccount bool `group:"Rights:" help:"Allow the account \"default\", which every pod of the namespace has."`
	AllowAdmin          bool `group:"Rights:" help:"Allow cluster-admin and wildcard permissions."`
}

// jobs are the flags of what a job of a CI system asks for its ID token.
type jobs struct {
	BootstrapAudience string `group:"Tokens:" placeholder:"AUDIENCE" help:"With --bootstrap github-actions, or --issuer: whom the job's ID token is for (default: the cluster's server)."`
	BootstrapURL      string `group:"Tokens:" name:"bootstrap-url" placeholder:"URL" help:"Where a job may ask for its ID token: there, and below (default: GitHub's and Azure's own services)."`
	Issuer            string `group:"Tokens:" placeholder:"URL" help:"With --dry-run: the issuer of the ID tokens that those of --minter-user have; it also prints what the API server needs to take them (default: GitHub's, for github-actions)."`
}

func (j jobs) job() prepare.Job {
	return prepare.Job{Audience: j.BootstrapAudience, Prefix: j.BootstrapURL, Issuer: j.Issuer}
}

// sealing is the flag of what a sealed store seals with.
type sealing struct {
	TPM string `name:"tpm" placeholder:"PATH" help:"The TPM that a sealed store seals with, unix:PATH for a simulator (default: /dev/tpmrm0, or else systemd seals)."`
}

// minters are the flags of who mints beside the machine itself.
type minters struct {
	Minter      []string `sep:"none" placeholder:"NS/NAME" help:"With another --bootstrap than keyring: a service account, such as pods have, that may mint as the device; repeatable."`
	MinterUser  []string `sep:"none" placeholder:"USER" help:"The same for a user, as the API server calls them; repeatable (default: whom the source stands for, where that may not mint yet)."`
	MinterGroup []string `sep:"none" placeholder:"GROUP" help:"The same for a group; repeatable."`
}

// lifetimes are the flags of what is minted.
type lifetimes struct {
	Duration          time.Duration `group:"Tokens:" help:"How long a token lives, at least 10m (default: 1h, or as set up before)."`
	Audience          []string      `sep:"none" group:"Tokens:" help:"For whom tokens are (default: the API server); repeatable."`
	BootstrapDuration time.Duration `group:"Tokens:" help:"How long the bootstrap credential in the keyring lives; it renews itself (default: 720h, or as set up before)."`
}

// Run prepares one cluster, or many at once.
func (c *setupCommand) Run(ctx context.Context, h *host.Host) error {
	if err := c.check(); err != nil {
		return err
	}
	return c.withTimer(ctx, h, h.Log.Reporter("setup"), c.DryRun, c.run)
}

func (c *setupCommand) run(ctx context.Context, h *host.Host) error {
	paths, err := h.SourcePaths(c.Kubeconfig)
	if err != nil {
		return err
	}
	o, err := c.options(h, paths)
	if err != nil {
		return err
	}
	if c.inPod(h) {
		return c.runInPod(ctx, h, o)
	}
	names, err := c.contexts(paths)
	if err != nil {
		return err
	}
	if len(names) != 1 && !c.DryRun {
		return c.runMany(ctx, h, o, paths, names)
	}
	profiles := prepare.ProfileNames(h, o, paths, names)
	for _, name := range names {
		o.Profile = profiles[name]
		p, err := prepare.New(ctx, h, o, paths, name, h.Log.Reporter("setup"))
		if err != nil {
			return err
		}
		if err := c.runOne(ctx, h, p); err != nil {
			return err
		}
	}
	return nil
}

func (c *setupCommand) check() error {
	several := c.AllContexts || len(c.Context) > 1
	switch {
	case c.AllContexts && len(c.Context) > 0:
		return ui.Usagef("--context and --all-contexts cannot be combined")
	case several && c.Profile != "":
		return ui.Usagef("--profile names one profile, and several contexts need several")
	case several && c.UseContext:
		return ui.Usagef("--use-context needs a single --context")
	case c.Recover != nil && *c.Recover && c.Bootstrap == string(profile.SourceInCluster):
		return ui.Usagef("--recover needs a context's credentials, which pods do not have")
	case c.Timer && prepare.IsTransient(c.Bootstrap):
		return ui.Usagef("--timer has nothing to renew for pods, for which kubelet does that, and for jobs")
	case c.Parallel < 1:
		return ui.Usagef("invalid --parallel %d: must be at least 1", c.Parallel)
	}
	runsPrograms := c.Recover != nil && *c.Recover || strings.HasPrefix(c.Bootstrap, "command=") ||
		strings.HasPrefix(c.Bootstrap, "context=")
	if !runsPrograms && len(c.BootstrapEnv) > 0 {
		return ui.Usagef("--bootstrap-env goes with --bootstrap command= or context=, or with --recover")
	}
	if err := c.unattended.check(); err != nil {
		return err
	}
	return minted(c.grants, c.lifetimes, c.Profile).Check()
}

// options are what setup shall come to, as the flags say.
func (c *setupCommand) options(h *host.Host, paths []string) (prepare.Options, error) {
	o := minted(c.grants, c.lifetimes, c.Profile)
	o.BootstrapEnv = c.BootstrapEnv
	if err := o.Sourced(h, c.Bootstrap, paths, c.job(), c.DryRun); err != nil {
		return prepare.Options{}, err
	}
	minters, err := prepare.ParseMinters(c.MinterUser, c.MinterGroup, c.Minter, o.Bootstrap)
	if err != nil {
		return prepare.Options{}, err
	}
	output, err := outputFiles(h, c.Output)
	if err != nil {
		return prepare.Options{}, err
	}
	o.ServiceAccount, o.Namespace, o.TakeOver = c.ServiceAccount, c.Namespace, c.TakeOver
	o.Recover, o.Minters, o.Device = c.Recover, minters, c.Device
	o.Store, o.TPM, o.Allowlist = keyring.Kind(c.Store), c.TPM, c.Allowlist
	o.Output, o.KeepOutput, o.UseContext = output, c.Output == "", c.UseContext
	o.AllowMissingClusterInfo, o.Log = c.AllowMissingClusterInfo, c.Log
	return o, nil
}

// minted are the options that setup and invite have in common.
func minted(r grants, l lifetimes, profile string) prepare.Options {
	return prepare.Options{
		Profile: profile,
		Roles:   r.Role, ClusterRoles: r.ClusterRole,
		Verbs: r.Verb, Resources: r.Resource, ResourceNames: r.ResourceName,
		In: r.In, ClusterWide: r.ClusterWide, NoRBAC: r.NoRBAC, NoLimits: r.NoLimits,
		AllowDefaultAccount: r.AllowDefaultAccount, AllowAdmin: r.AllowAdmin,
		Duration: l.Duration, Audiences: l.Audience, BootstrapDuration: l.BootstrapDuration,
	}
}

// outputFiles are the kubeconfig files that get the new context: the one of -o, else the user's own.
func outputFiles(h *host.Host, flag string) ([]string, error) {
	switch flag {
	case "-":
		return nil, nil
	case "":
		return h.KubeconfigPaths("")
	}
	return []string{flag}, nil
}

// contexts resolves names and globs.
func (c *setupCommand) contexts(paths []string) ([]string, error) {
	if !c.AllContexts && len(c.Context) == 0 {
		return []string{""}, nil
	}
	names, err := prepare.Candidates(paths, c.Context)
	if err == nil && len(names) == 0 {
		err = fmt.Errorf("%w: no context is left that could prepare a cluster", kubeconfig.ErrNoContext)
	}
	return names, err
}

// runOne prepares one cluster, prints the proof, and the kubeconfig where that was asked for.
func (c *setupCommand) runOne(ctx context.Context, h *host.Host, p *prepare.Preparation) error {
	if c.DryRun {
		return c.dryRun(ctx, h, p)
	}
	if p.IsForPods() {
		return c.runForPods(ctx, h, p)
	}
	proof, err := p.Run(ctx)
	if err != nil {
		return err
	}
	return printProof(h, p, proof, c.Output)
}

func printProof(h *host.Host, p *prepare.Preparation, proof *prepare.Proof, output string) error {
	warnOfStray(h)
	if output != "-" {
		h.Log.Gap()
		return h.Write(proof.Text(h.Now(), h.Look()))
	}
	rendered, err := p.Render()
	if err != nil {
		return err
	}
	_, _ = h.Stderr.Write(proof.Text(h.Now(), ui.Look{}))
	return h.Write(rendered)
}

func warnOfStray(h *host.Host) {
	for _, warning := range h.Stray() {
		h.Log.Line(ui.Warning, warning)
	}
}

// dryRun prints what would be applied and merged.
func (c *setupCommand) dryRun(ctx context.Context, h *host.Host, p *prepare.Preparation) error {
	timer := ""
	if c.Timer {
		timer = lifecycle.TimerLine(h)
	}
	text, err := p.DryRun(ctx, timer)
	if err != nil {
		return err
	}
	return h.Write(text)
}

// inPod reports whether setup shall use what kubelet has mounted, and nobody's kubeconfig.
func (c *setupCommand) inPod(h *host.Host) bool {
	return c.Bootstrap == string(profile.SourceInCluster) && c.Kubeconfig == "" && len(c.Context) == 0 &&
		!c.AllContexts && h.Getenv("KUBERNETES_SERVICE_HOST") != ""
}

func (c *setupCommand) runInPod(ctx context.Context, h *host.Host, o prepare.Options) error {
	if len(c.Role)+len(c.ClusterRole)+len(c.Verb)+len(c.Resource) > 0 {
		return ui.Usagef("in a pod setup changes nothing in the cluster; grant rights with an administrator's --context")
	}
	p, err := prepare.InPod(h, o, h.Log.Reporter("setup"))
	if err != nil {
		return err
	}
	if !c.DryRun {
		return c.runOne(ctx, h, p)
	}
	rendered, err := p.Render()
	if err != nil {
		return err
	}
	return h.Write(rendered)
}

// runForPods is what an administrator does for pods that shall mint: those of the account itself use
// their own token, and others join with an invitation.
func (c *setupCommand) runForPods(ctx context.Context, h *host.Host, p *prepare.Preparation) error {
	account := p.Profile()
	if p.HasMinters() {
		list, err := p.InvitePods(ctx)
		if err != nil {
			return err
		}
		return handOut(h, "", list)
	}
	if err := p.PrepareForPods(ctx); err != nil {
		return err
	}
	h.Log.Line(ui.Hint, fmt.Sprintf("pods of %q itself use their mounted token; for pods of another account name that one with --minter",
		account.Account()))
	return h.Write(fmt.Appendf(nil, "The cluster is ready. Next, in the pod: %s\n", ui.Elsewhere(ui.Program, "setup",
		account.ServiceAccount, "-n", account.Namespace, "--bootstrap", "in-cluster", "-o", "FILE")))
}
