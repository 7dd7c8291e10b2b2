package main

import (
	"context"

	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/session"
)

type logoutCommand struct {
	Profile   string `placeholder:"NAME" xor:"which" required:"" help:"The profile to forget the token of."`
	All       bool   `xor:"which" required:"" help:"All profiles, and what is kept of profiles that are gone."`
	Bootstrap bool   `help:"Forget the bootstrap credential too; setup creates a new one."`
}

// Run forgets tokens on this machine. They stay good until they expire; revoke ends them.
func (l *logoutCommand) Run(ctx context.Context, h *host.Host) error {
	if l.All {
		return session.ForgetAll(ctx, h, l.Bootstrap)
	}
	s, err := session.Load(ctx, h.Patient(), l.Profile)
	if err != nil {
		return err
	}
	return s.Forget(ctx, l.Bootstrap)
}
