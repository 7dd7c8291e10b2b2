package main

import (
	"context"
	"fmt"

	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// selection names the profile that a command is about. With neither flag it is the only profile there is.
type selection struct {
	Profile    string `placeholder:"NAME" xor:"which" help:"The profile (default: the only one there is)."`
	Context    string `placeholder:"CONTEXT" xor:"which" help:"The profile that this kubeconfig context names."`
	Kubeconfig string `placeholder:"FILE" help:"The kubeconfig in which --context is looked up."`
}

func (s selection) resolve(env *environment) (string, error) {
	if s.Profile != "" {
		return s.Profile, nil
	}
	if s.Context != "" {
		return env.profileOfContext(s.Kubeconfig, s.Context)
	}
	folder, err := env.profiles()
	if err != nil {
		return "", err
	}
	names, err := folder.Names()
	if err != nil {
		return "", err
	}
	switch len(names) {
	case 0:
		return "", fmt.Errorf("%w: there are none yet", profile.ErrMissing)
	case 1:
		return names[0], nil
	}
	return "", fmt.Errorf("%w: there are %d profiles; name one with --profile", errUsage, len(names))
}

type tokenCommand struct {
	selection `embed:""`
	Header    bool `help:"Print an Authorization header line, as curl -H takes it."`
}

// Run prints the token, minted or from the store.
func (t *tokenCommand) Run(ctx context.Context, env *environment) error {
	name, err := t.resolve(env)
	if err != nil {
		return err
	}
	s, err := env.load(ctx, name)
	if err != nil {
		return err
	}
	tokens := s.cache()
	tokens.ByHand = true
	answer, err := tokens.Get(ctx)
	if err != nil {
		return err
	}
	format := "%s\n"
	if t.Header {
		format = "Authorization: Bearer %s\n"
	}
	return env.write(fmt.Appendf(nil, format, answer.Token.Reveal()))
}
