package main

import (
	"context"

	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
)

type copyBinaryCommand struct {
	Dir string `arg:"" placeholder:"DIR" help:"A directory that exists; an older copy in it is replaced."`
}

// Run prints the path of the copy.
func (c *copyBinaryCommand) Run(ctx context.Context, h *host.Host) error {
	path, err := host.CopyProgram(ctx, c.Dir)
	if err != nil {
		return err
	}
	return h.Write([]byte(path + "\n"))
}
