package main

import (
	"context"

	"github.com/sa-exec-credential/sa-exec-credential/internal/build"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/output"
)

type versionCommand struct {
	Output string `short:"o" enum:"text,json,yaml" default:"text" help:"text, json or yaml."`
}

// Run prints the version of the program, what it was built from and what for.
func (c *versionCommand) Run(_ context.Context, h *host.Host) error {
	if c.Output == "text" {
		return h.Write([]byte(build.Current().String() + "\n"))
	}
	encoded, err := output.Encode(c.Output, build.Current())
	if err != nil {
		return err
	}
	return h.Write(encoded)
}
