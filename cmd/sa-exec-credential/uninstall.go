package main

import (
	"context"

	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/lifecycle"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

type uninstallCommand struct {
	ServiceAccount string `arg:"" name:"serviceaccount" help:"The service account."`
	Namespace      string `short:"n" placeholder:"NS" help:"Its namespace (default: the context's)."`
	DryRun         bool   `help:"List what would be removed and what would be kept, and touch nothing."`
	administrator  `embed:""`
}

// Run removes what setup created for an account from the cluster, and what is left of it here.
func (u *uninstallCommand) Run(ctx context.Context, h *host.Host) error {
	report := h.Log.Reporter("uninstall")
	plan, err := lifecycle.PlanUninstall(ctx, h, u.choice(), u.Namespace, u.ServiceAccount,
		report)
	if err != nil {
		return err
	}
	if u.DryRun {
		return h.Write(ui.Lines(plan.Lines()))
	}
	return plan.Run(ctx)
}
