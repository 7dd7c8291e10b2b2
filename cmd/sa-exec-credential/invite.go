package main

import (
	"context"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/invitation"
	"github.com/sa-exec-credential/sa-exec-credential/internal/prepare"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

type inviteCommand struct {
	ServiceAccount string        `arg:"" name:"serviceaccount" help:"The service account to mint tokens for."`
	Namespace      string        `short:"n" placeholder:"NS" help:"Its namespace (default: the context's)."`
	For            []string      `required:"" sep:"none" placeholder:"NAME" help:"The machine that is invited, by the name of its host; repeatable, with -o."`
	Valid          time.Duration `default:"10m" help:"How long the invitation is good, 10m to 24h."`
	Context        string        `placeholder:"CONTEXT" help:"The context whose credentials prepare the cluster (default: the current one)."`
	Kubeconfig     string        `placeholder:"FILE" help:"The kubeconfig that holds it (default: as kubectl)."`
	grants         `embed:""`
	lifetimes      `embed:""`
	Bootstrap      string `group:"Tokens:" placeholder:"SOURCE" help:"What the machine authenticates with, where the cluster knows it by itself: github-actions, azure-pipelines, in-cluster, token-file=PATH or env=NAME. The invitation has no secret then, and does not expire (default: a token in the invitation)."`
	jobs           `embed:""`
	minters        `embed:"" group:"Tokens:"`
	Profile        string `group:"Results:" placeholder:"NAME" help:"Name of the profile that join suggests (default: SERVICEACCOUNT.NAMESPACE@CLUSTER)."`
	Output         string `group:"Results:" short:"o" placeholder:"DIR" help:"A directory that gets one file each, NAME.invitation (default: standard output)."`
	DryRun         bool   `group:"Results:" help:"Print the manifests, and touch nothing."`
}

// Run prints invitations, which is all that is left of them on this machine.
func (c *inviteCommand) Run(ctx context.Context, h *host.Host) error {
	if err := c.check(); err != nil {
		return err
	}
	paths, err := h.SourcePaths(c.Kubeconfig)
	if err != nil {
		return err
	}
	o := minted(c.grants, c.lifetimes, c.Profile)
	if err := o.Sourced(h, c.Bootstrap, paths, c.job(), c.DryRun); err != nil {
		return err
	}
	if o.Minters, err = prepare.ParseMinters(c.MinterUser, c.MinterGroup, c.Minter, o.Bootstrap); err != nil {
		return err
	}
	o.ServiceAccount, o.Namespace = c.ServiceAccount, c.Namespace
	o.Machines, o.Valid = c.For, c.Valid
	p, err := prepare.New(ctx, h, o, paths, c.Context, h.Log.Reporter("invite"))
	if err != nil {
		return err
	}
	if c.DryRun {
		text, err := p.DryRunInvite(ctx)
		if err != nil {
			return err
		}
		return h.Write(text)
	}
	list, err := p.Invite(ctx)
	if err != nil {
		return err
	}
	return handOut(h, c.Output, list)
}

func (c *inviteCommand) check() error {
	if err := prepare.CheckMachines(c.For); err != nil {
		return ui.Usagef("--for: %w", err)
	}
	if c.Valid < invitation.MinValid || c.Valid > invitation.MaxValid || c.Valid%time.Second != 0 {
		return ui.Usagef("invalid --valid %q: must be between 10m and 24h, in whole seconds", c.Valid)
	}
	if err := minted(c.grants, c.lifetimes, c.Profile).Check(); err != nil {
		return err
	}
	if c.Output == "" && len(c.For) > 1 && !c.DryRun {
		return ui.Usagef("several machines need -o DIR, one file each")
	}
	if c.Output == "" || c.DryRun {
		return nil
	}
	return prepare.CheckInvitationFiles(c.Output, c.For)
}

// handOut writes the invitations to files of a directory, or the only one to standard output.
func handOut(h *host.Host, dir string, list []invitation.Invitation) error {
	warn := func() {
		if list[0].External == nil {
			h.Log.Line(ui.Warning, "until it has expired, whoever has an invitation can join as its machine")
			return
		}
		h.Log.Line(ui.Hint, "there is no secret in it, and it does not expire; where it is read: "+prepare.JoinLine(list[0]))
	}
	if dir == "" {
		block, err := list[0].Encode()
		if err != nil {
			return err
		}
		if ui.IsTerminal(h.Stdout) || list[0].External != nil {
			warn()
		}
		return h.Write(block)
	}
	paths, err := prepare.WriteInvitations(dir, list)
	if err != nil {
		return err
	}
	warn()
	return h.Write(ui.Lines(paths))
}
