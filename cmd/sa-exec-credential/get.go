package main

import (
	"context"

	"github.com/sa-exec-credential/sa-exec-credential/internal/call"
	"github.com/sa-exec-credential/sa-exec-credential/internal/execcred"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/session"
)

type getCommand struct {
	// nil: none was named, and an empty name is one that cannot be
	Profile *string `placeholder:"NAME" help:"The profile to get a token for. Default: that of the client's cluster."`
}

// Run prints an ExecCredential for the client whose exec info is in the environment.
func (g *getCommand) Run(ctx context.Context, h *host.Host) error {
	h = h.ForGet()
	info, err := call.ExecInfo(h)
	if err != nil {
		return err
	}
	if g.Profile != nil {
		s, err := session.Load(ctx, h, *g.Profile)
		if err != nil {
			return err
		}
		return answer(ctx, h, s, info)
	}
	p, err := call.Find(h, info)
	if err != nil {
		return err
	}
	h.Log.Debug("the cluster of the client leads to a profile", "profile", p.Name)
	s, err := session.Open(ctx, h, p)
	if err == nil {
		err = answer(ctx, h, s, info)
	}
	if err != nil {
		return &call.FoundError{Profile: p.Name, Err: err}
	}
	return nil
}

func answer(ctx context.Context, h *host.Host, s *session.Session, info execcred.Info) error {
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
