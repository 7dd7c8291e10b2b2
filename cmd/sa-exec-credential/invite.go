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
	o.ServiceAccount, o.Namespace = c.ServiceAccount, c.Namespace
	o.Machines, o.Valid = c.For, c.Valid
	p, err := prepare.New(ctx, h, o, paths, c.Context, h.Log.Reporter("invite"))
	if err != nil {
		return err
	}
	if c.DryRun {
		manifests, err := p.PlanInvite(ctx)
		if err != nil {
			return err
		}
		return h.Write(append([]byte("# Each machine's own device is created by invite, without --dry-run.\n"), manifests...))
	}
	list, err := p.Invite(ctx)
	if err != nil {
		return err
	}
	return c.handOut(h, list)
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

// handOut writes the invitations to files, or the only one to standard output.
func (c *inviteCommand) handOut(h *host.Host, list []invitation.Invitation) error {
	const secret = "until it has expired, whoever has an invitation can join as its machine"
	if c.Output == "" {
		block, err := list[0].Encode()
		if err != nil {
			return err
		}
		if ui.IsTerminal(h.Stdout) {
			h.Log.Line(ui.Warning, secret)
		}
		return h.Write(block)
	}
	paths, err := prepare.WriteInvitations(c.Output, list)
	if err != nil {
		return err
	}
	h.Log.Line(ui.Warning, secret)
	return h.Write(ui.Lines(paths))
}
