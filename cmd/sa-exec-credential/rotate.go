package main

import (
	"context"

	"github.com/sa-exec-credential/sa-exec-credential/internal/admin"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/lifecycle"
)

// administrator names whose credentials act on the cluster.
type administrator struct {
	Context    string `placeholder:"CONTEXT" help:"The context whose credentials act on the cluster (default: the one of setup, else the current one)."`
	Kubeconfig string `placeholder:"FILE" help:"The kubeconfig that holds it (default: as kubectl)."`
}

func (a administrator) choice() admin.Choice {
	return admin.Choice{Context: a.Context, Kubeconfig: a.Kubeconfig}
}

type rotateCommand struct {
	Profile       string `required:"" placeholder:"NAME" help:"The profile whose credentials are replaced."`
	administrator `embed:""`
}

// Run creates a new device and a new bootstrap credential, and ends the old ones once the new
// ones work.
func (r *rotateCommand) Run(ctx context.Context, h *host.Host) error {
	return lifecycle.Rotate(ctx, h, r.choice(), r.Profile, h.Log.Reporter("rotate"))
}
