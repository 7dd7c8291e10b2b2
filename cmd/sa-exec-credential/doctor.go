package main

import (
	"context"

	"github.com/sa-exec-credential/sa-exec-credential/internal/advice"
	"github.com/sa-exec-credential/sa-exec-credential/internal/doctor"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/output"
	"github.com/sa-exec-credential/sa-exec-credential/internal/prepare"
)

type doctorCommand struct {
	Profile    string `placeholder:"NAME" help:"Check only this profile (default: all)."`
	Output     string `short:"o" enum:"table,json" default:"table" help:"table or json."`
	Kubeconfig string `placeholder:"FILE" help:"The kubeconfig whose contexts are checked (default: as kubectl)."`
	Fix        bool   `help:"Fix what can be fixed on this machine alone, after asking, and check again."`
	Yes        bool   `short:"y" help:"With --fix: do not ask."`
}

// report is what -o json prints.
type report struct {
	APIVersion string           `json:"apiVersion"`
	Kind       string           `json:"kind"` // Report
	Items      []doctor.Finding `json:"items"`
}

// Run examines everything that can be wrong. What is broken makes the exit code that of the first
// failure; warnings do not.
func (c *doctorCommand) Run(ctx context.Context, h *host.Host) error {
	items, names, err := doctor.Run(ctx, h, doctor.Options{Profile: c.Profile,
		Kubeconfig: c.Kubeconfig, Fix: c.Fix, Yes: c.Yes, Report: h.Log.Reporter("doctor"),
		Hint: func(profile string, err error) string {
			_, hint := explain(advice.Situation{Host: h, Operation: "doctor",
				Profile: profile}, err)
			return hint
		}})
	if ctx.Err() != nil {
		return prepare.ErrInterrupted
	}
	if err != nil {
		return err
	}
	result := doctor.Page{Look: h.Look(), Profiles: h.ProfilesPlace()}.Render(items, names)
	if c.Output == "json" {
		list := report{APIVersion: output.Version, Kind: "Report", Items: items}
		if result, err = output.Encode(c.Output, list); err != nil {
			return err
		}
	}
	h.Log.Gap()
	if err := h.Write(result); err != nil {
		return err
	}
	for _, item := range items {
		if item.Result == doctor.Failed {
			code, _ := explain(advice.Situation{Operation: "doctor"}, item.Err)
			return silentExit(code)
		}
	}
	return nil
}
