package main

import (
	"context"

	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/lifecycle"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

type revokeCommand struct {
	Profile        string `placeholder:"NAME" xor:"which" required:"" help:"The profile of this machine to end."`
	Device         string `placeholder:"NAME" xor:"which" required:"" help:"The machine to end, as devices lists it."`
	ServiceAccount string `placeholder:"SERVICEACCOUNT" name:"serviceaccount" help:"With --device: the service account."`
	Namespace      string `short:"n" placeholder:"NS" help:"With --device: its namespace (default: the context's)."`
	administrator  `embed:""`
}

// Run deletes a device, waits until its tokens are refused, and forgets everything about it here.
func (r *revokeCommand) Run(ctx context.Context, h *host.Host) error {
	report := h.Log.Reporter("revoke")
	switch {
	case r.Device == "" && (r.ServiceAccount != "" || r.Namespace != ""):
		return ui.Usagef("--serviceaccount and --namespace go with --device")
	case r.Device == "":
		return lifecycle.Revoke(ctx, h, r.choice(), r.Profile, report)
	case r.ServiceAccount == "":
		return ui.Usagef("--device needs --serviceaccount")
	}
	return lifecycle.RevokeDevice(ctx, h, r.choice(), r.Namespace, r.ServiceAccount, r.Device,
		report)
}
