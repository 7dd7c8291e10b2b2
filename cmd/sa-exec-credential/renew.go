package main

import (
	"context"

	"github.com/sa-exec-credential/sa-exec-credential/internal/advice"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/lifecycle"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

type renewCommand struct {
	Profile string `placeholder:"NAME" help:"Only this profile (default: all)."`
}

// Run renews what is due, and says nothing when all is well: a timer runs it. The exit code is that
// of the first profile that failed.
func (r *renewCommand) Run(ctx context.Context, h *host.Host) error {
	failures, err := lifecycle.Renew(ctx, h.Patient(), r.Profile)
	if err != nil || len(failures) == 0 {
		return err
	}
	for _, f := range failures {
		h.Log.Line("error", h.Located(f).Error())
	}
	code, hint := explain(advice.Situation{Host: h, Operation: "renew", Profile: failures[0].Profile}, failures[0])
	if len(failures) > 1 {
		hint = "to see what fixes each of them: sa-exec-credential doctor"
	}
	h.Log.Line(ui.Hint, hint)
	return silentExit(code)
}
