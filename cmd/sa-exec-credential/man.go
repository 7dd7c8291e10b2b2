package main

import (
	"context"

	"github.com/alecthomas/kong"

	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/manual"
)

type manCommand struct {
	Command string `arg:"" optional:""`

	program *kong.Node
}

// Run prints the manual page of a command, or of the program, for packages.
func (c *manCommand) Run(_ context.Context, h *host.Host) error {
	page, err := manual.Page(c.program, c.Command)
	if err != nil {
		return err
	}
	return h.Write(page)
}
