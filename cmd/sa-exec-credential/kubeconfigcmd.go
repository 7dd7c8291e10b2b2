package main

import (
	"context"
	"fmt"

	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
)

type kubeconfigCommand struct {
	Profile    string `required:"" placeholder:"NAME" help:"The profile to write a context for."`
	Output     string `short:"o" default:"-" placeholder:"FILE" help:"The kubeconfig that gets the context; - prints one."`
	UseContext bool   `help:"Make it the current context of FILE."`
}

// Run prints a kubeconfig for an existing profile, or merges its context into one.
func (k *kubeconfigCommand) Run(ctx context.Context, env *environment) error {
	s, err := env.load(ctx, k.Profile)
	if err != nil {
		return err
	}
	p := &preparation{command: &setupCommand{}, env: env, profile: s.profile}
	if k.Output == "-" {
		rendered, err := p.render()
		if err != nil {
			return err
		}
		return env.write(rendered)
	}
	entry, err := p.entry()
	if err != nil {
		return err
	}
	if _, err := kubeconfig.Merge([]string{k.Output}, entry, k.UseContext); err != nil {
		return err
	}
	env.log.line("kubeconfig", fmt.Sprintf("context %q is in %q", entry.ContextName, k.Output))
	return nil
}
