package main

import (
	"context"

	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/prepare"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

type joinCommand struct {
	File                    string `arg:"" optional:"" placeholder:"FILE" help:"The file of the invitation (default: standard input)."`
	Profile                 string `placeholder:"NAME" help:"Name of the profile and of its context (default: as the invitation suggests)."`
	Bootstrap               string `placeholder:"SOURCE" help:"For an invitation without a secret that does not say it: env=NAME or token-file=PATH, where this machine's own token is."`
	Store                   string `enum:",auto,keyring,sealed,kernel,none" default:"" placeholder:"STORE" help:"Where secrets are kept: auto, keyring, sealed (files that only this machine opens), kernel, or none for an invitation without a secret (default: auto, or as before)."`
	sealing                 `embed:""`
	Output                  string `short:"o" placeholder:"FILE" help:"The kubeconfig that gets the context; - prints one (default: as kubectl)."`
	UseContext              bool   `help:"Make it the current context."`
	AllowMissingClusterInfo *bool  `negatable:"" help:"Also answer clients that do not say which cluster the token will be sent to."`
	Allowlist               bool   `help:"Add the plugin to the allowlist in kubectl's kuberc."`

	unattended `embed:""`
}

// Run takes an invitation, and prints what setup does.
func (j *joinCommand) Run(ctx context.Context, h *host.Host) error {
	if err := j.check(); err != nil {
		return err
	}
	return j.withTimer(ctx, h, h.Log.Reporter("join"), false, j.run)
}

func (j *joinCommand) run(ctx context.Context, h *host.Host) error {
	if err := profile.CheckName(j.Profile); j.Profile != "" && err != nil {
		return err
	}
	output, err := outputFiles(h, j.Output)
	if err != nil {
		return err
	}
	source, err := prepare.ParseSource(h, j.Bootstrap, nil, nil)
	if err != nil {
		return err
	}
	i, err := prepare.ReadInvitation(h, j.File)
	if err != nil {
		return err
	}
	o := prepare.Options{Profile: j.Profile, Bootstrap: source, Store: keyring.Kind(j.Store), TPM: j.TPM, Output: output, KeepOutput: j.Output == "",
		UseContext: j.UseContext, AllowMissingClusterInfo: j.AllowMissingClusterInfo, Allowlist: j.Allowlist,
		Log: j.Log}
	p, err := prepare.NewJoin(h, i, o, h.Log.Reporter("join"))
	if err != nil {
		return err
	}
	proof, err := p.Join(ctx, i)
	if err != nil {
		return err
	}
	return printProof(h, p, proof, j.Output)
}
