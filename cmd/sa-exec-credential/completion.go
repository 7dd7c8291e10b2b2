package main

import (
	"context"

	"github.com/alecthomas/kong"

	"github.com/sa-exec-credential/sa-exec-credential/internal/completion"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
)

type completionCommand struct {
	Shell string `arg:"" enum:"bash,zsh,fish,powershell" help:"bash (with the package bash-completion), zsh, fish or powershell."`
}

// Run prints the shell's script, which asks the hidden command below for candidates.
func (c *completionCommand) Run(_ context.Context, h *host.Host) error {
	script, err := completion.Script(c.Shell)
	if err != nil {
		return err
	}
	return h.Write(script)
}

type completeCommand struct {
	Words []string `arg:"" optional:""`

	program *kong.Node
}

// Run answers the script.
func (c *completeCommand) Run(_ context.Context, h *host.Host) error {
	return h.Write([]byte(completion.Candidates(h, c.program, c.Words)))
}
