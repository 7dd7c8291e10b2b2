package main

import (
	"context"

	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/lifecycle"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

type forgetCommand struct {
	Profile    string `required:"" placeholder:"NAME" help:"The profile to remove from this machine."`
	Kubeconfig string `placeholder:"FILE" help:"The kubeconfig to take its contexts out of (default: as kubectl)."`
	DryRun     bool   `help:"List what would be removed, and touch nothing."`
}

// Run removes a profile from this machine, whatever has become of its cluster.
func (f *forgetCommand) Run(ctx context.Context, h *host.Host) error {
	plan, err := lifecycle.PlanForget(h, f.Profile, f.Kubeconfig, h.Log.Reporter("forget"))
	if err != nil {
		return err
	}
	if f.DryRun {
		return h.Write(ui.Lines(plan.Lines()))
	}
	return plan.Run(ctx)
}
