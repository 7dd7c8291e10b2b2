package main

import (
	"context"
	"fmt"

	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/session"
)

type tokenCommand struct {
	Profile    string `placeholder:"NAME" xor:"which" help:"The profile (default: that of the current context, or the only one)."`
	Context    string `placeholder:"CONTEXT" xor:"which" help:"The profile that this kubeconfig context names."`
	Kubeconfig string `placeholder:"FILE" help:"The kubeconfig whose context it is."`
	Header     bool   `help:"Print an Authorization header line, as curl -H takes it."`
}

// Run prints the token, minted or from the store.
func (t *tokenCommand) Run(ctx context.Context, h *host.Host) error {
	name, err := session.Choose(h, t.Profile, t.Context, t.Kubeconfig)
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
