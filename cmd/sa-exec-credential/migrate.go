package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/prepare"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

type migrateCommand struct {
	Context      string `arg:"" help:"The context whose user has a service account's token."`
	AdminContext string `placeholder:"CONTEXT" help:"The context whose credentials prepare the cluster."`
	Kubeconfig   string `placeholder:"FILE" help:"The kubeconfig that holds both (default: as kubectl)."`

	ServiceAccount string `name:"serviceaccount" placeholder:"NAME" help:"The account, where the server does not say whose the token is."`
	Namespace      string `short:"n" placeholder:"NS" help:"The namespace of that account."`

	Profile             string        `placeholder:"NAME" help:"Name of the profile (default: SERVICEACCOUNT.NAMESPACE@CLUSTER)."`
	Duration            time.Duration `default:"1h" help:"How long a token lives, at least 10m."`
	BootstrapDuration   time.Duration `default:"720h" help:"How long the bootstrap credential in the keyring lives; it renews itself."`
	Store               string        `enum:"auto,keyring,sealed,kernel" default:"auto" help:"Where secrets are kept: auto, keyring, sealed or kernel."`
	sealing             `embed:""`
	NoLimits            bool `help:"Do not limit by the cluster's admission policy what devices can ask for."`
	AllowDefaultAccount bool `help:"Allow the account \"default\", which every pod of the namespace has."`

	TakeOver           bool `help:"Replace a profile of the same name that is for another cluster or account."`
	DeleteLegacySecret bool `help:"Delete the Secret that the old token was read from, once the new way works."`
	DryRun             bool `help:"Print what would be created and changed, and touch nothing."`
}

// Run proves the new way, and only then takes the token out of the file.
func (c *migrateCommand) Run(ctx context.Context, h *host.Host) error {
	lifetimes := prepare.Options{Duration: c.Duration, BootstrapDuration: c.BootstrapDuration}
	if err := lifetimes.Check(); err != nil {
		return err
	}
	if c.Profile != "" {
		if err := profile.CheckName(c.Profile); err != nil {
			return err
		}
	}
	m, err := prepare.NewMigration(ctx, h, prepare.MigrateOptions{Context: c.Context, AdminContext: c.AdminContext,
		Kubeconfig: c.Kubeconfig, ServiceAccount: c.ServiceAccount, Namespace: c.Namespace, Profile: c.Profile, Duration: c.Duration, BootstrapDuration: c.BootstrapDuration,
		Store: keyring.Kind(c.Store), TPM: c.TPM, NoLimits: c.NoLimits, AllowDefaultAccount: c.AllowDefaultAccount,
		TakeOver: c.TakeOver, DeleteLegacySecret: c.DeleteLegacySecret}, h.Log.Reporter("migrate"))
	if err != nil {
		return err
	}
	if c.DryRun {
		return c.dryRun(ctx, h, m)
	}
	proof, err := m.Run(ctx)
	if proof == nil {
		return err
	}
	h.Log.Gap()
	return errors.Join(err, h.Write(proof.Text(h.Now(), h.Look())))
}

// dryRun prints what would be applied, and what the user would become.
func (c *migrateCommand) dryRun(ctx context.Context, h *host.Host, m *prepare.Migration) error {
	plan, err := m.Plan(ctx)
	if err != nil {
		return err
	}
	var result bytes.Buffer
	comment := func(format string, args ...any) {
		result.WriteString("# " + ui.Printable(fmt.Sprintf(format, args...)) + "\n")
	}
	comment("For the cluster: context %q would create these, a device and a bootstrap credential. "+
		"Service account %q and its rights stay as they are.", c.AdminContext, m.Account())
	result.Write(plan.Manifests)
	result.WriteString("---\n")
	comment("For the client: the exec section would take the place of the token of user %q in %q. All names there stay. "+
		"The user's clusters would get what they lack of certificate-authority-data and extensions.", plan.User, plan.File)
	result.Write(plan.Kubeconfig)
	if plan.LegacySecret != "" {
		comment("Secret %q would be deleted.", plan.LegacySecret)
	}
	return h.Write(result.Bytes())
}
