package main

import (
	"context"

	"github.com/sa-exec-credential/sa-exec-credential/internal/execcred"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/session"
)

type getCommand struct {
	Profile string `required:"" placeholder:"NAME" help:"The profile to get a token for."`
}

// Run prints an ExecCredential for the client whose exec info is in the environment.
func (g *getCommand) Run(ctx context.Context, h *host.Host) error {
	h = h.ForGet()
	info, err := execInfo(h)
	if err != nil {
		return err
	}
	s, err := session.Load(ctx, h, g.Profile)
	if err != nil {
		return err
	}
	if err := s.CheckClient(info); err != nil {
		return err
	}
	answer, err := s.Token(ctx, false)
	if err != nil {
		return err
	}
	result, err := execcred.Encode(info.APIVersion, answer.Token, answer.Expires)
	if err != nil {
		return err
	}
	return h.Write(result)
}

func execInfo(h *host.Host) (execcred.Info, error) {
	text, present := h.Variables(execcred.EnvironmentVariable)
	if !present {
		return execcred.Absent(), nil
	}
	return execcred.Parse(text)
}
