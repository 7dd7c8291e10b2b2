package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/session"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

type tokenCommand struct {
	Profile    string `placeholder:"NAME" xor:"which" help:"The profile (default: the only one there is)."`
	Context    string `placeholder:"CONTEXT" xor:"which" help:"The profile that this kubeconfig context names."`
	Kubeconfig string `placeholder:"FILE" help:"The kubeconfig in which --context is looked up."`
	Header     bool   `help:"Print an Authorization header line, as curl -H takes it."`
}

// Run prints the token, minted or from the store.
func (t *tokenCommand) Run(ctx context.Context, h *host.Host) error {
	name, err := t.profile(h)
	if err != nil {
		return err
	}
	s, err := session.Load(ctx, h, name)
	if err != nil {
		return err
	}
	answer, err := s.Token(ctx, true)
	if err != nil {
		return err
	}
	format := "%s\n"
	if t.Header {
		format = "Authorization: Bearer %s\n"
	}
	return h.Write(fmt.Appendf(nil, format, answer.Token.Reveal()))
}

// profile is the one that was named, by itself or by its context, else the only one there is.
func (t *tokenCommand) profile(h *host.Host) (string, error) {
	switch {
	case t.Profile != "":
		return t.Profile, nil
	case t.Context != "":
		return profileOfContext(h, t.Kubeconfig, t.Context)
	}
	profiles, err := h.Profiles()
	if err != nil {
		return "", err
	}
	names, err := profiles.Names()
	if err != nil {
		return "", err
	}
	switch len(names) {
	case 0:
		return "", fmt.Errorf("%w: there are none yet", profile.ErrMissing)
	case 1:
		return names[0], nil
	}
	return "", ui.Usagef("there are %d profiles; name one with --profile: %s", len(names),
		strings.Join(names, ", "))
}

// profileOfContext returns the profile that a context of the user's kubeconfig names.
func profileOfContext(h *host.Host, file, name string) (string, error) {
	paths, err := h.KubeconfigPaths(file)
	if err != nil {
		return "", err
	}
	uses, err := kubeconfig.FindPluginContexts(paths)
	if err != nil {
		return "", err
	}
	for _, use := range uses {
		if use.Context == name {
			return use.Profile, nil
		}
	}
	return "", fmt.Errorf("%w with sa-exec-credential as its user: %q", kubeconfig.ErrNoContext,
		name)
}
