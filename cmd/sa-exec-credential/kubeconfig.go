package main

import (
	"context"
	"fmt"

	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/prepare"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

type kubeconfigCommand struct {
	Profile    string `required:"" placeholder:"NAME" help:"The profile to write a context for."`
	Output     string `short:"o" default:"-" placeholder:"FILE" help:"The kubeconfig that gets the context; - prints one."`
	UseContext bool   `help:"Make it the current context of FILE."`
}

// Run prints a kubeconfig for an existing profile, or merges its context into one.
func (k *kubeconfigCommand) Run(_ context.Context, h *host.Host) error {
	profiles, err := h.Profiles()
	if err != nil {
		return err
	}
	loaded, err := profiles.Load(k.Profile)
	if err != nil {
		return err
	}
	p := prepare.ForProfile(h, loaded)
	if k.Output == "-" {
		rendered, err := p.Render()
		if err != nil {
			return err
		}
		return h.Write(rendered)
	}
	if _, err := p.Merge([]string{k.Output}, k.UseContext); err != nil {
		return err
	}
	target := kubeconfig.Target([]string{k.Output})
	if err := prepare.NotPrivate(target); err != nil {
		h.Log.Warn(err)
	}
	h.Log.Reporter("kubeconfig")(ui.Done, fmt.Sprintf("context %q is in %q", p.Context(), target))
	return nil
}
