package main

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/prepare"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// runMany prepares the clusters of several contexts at once. One that fails does not stop the
// others. Its error is said when it comes; the table at the end has a line for each.
func (c *setupCommand) runMany(ctx context.Context, h *host.Host, o prepare.Options, paths,
	names []string) error {
	if o.Output == nil {
		return ui.Usagef("-o - prints the kubeconfig of a single context")
	}
	var done atomic.Int32
	// Warnings come in between, so every line has its context's name.
	report := func(context string) ui.Report {
		return func(kind ui.Kind, text string) { h.Log.Quiet(kind, context+": "+text) }
	}
	outcomes, err := prepare.Many(ctx, h, o, paths, names, c.Parallel, report,
		func(o prepare.Outcome) {
			h.Log.Line("setup", fmt.Sprintf("%d/%d %s: %s", done.Add(1), len(names),
				o.Context,
				resultOf(o)))
		})
	if err != nil {
		return err
	}
	warnOfStray(h)
	h.Log.Gap()
	if err := h.Write(outcomesTable(outcomes).Text(h.Look())); err != nil {
		return err
	}
	if err := worst(outcomes); err != nil {
		return err
	}
	h.Log.Reporter("setup")(ui.Done, "all is ready: "+ui.Plural(len(outcomes), "context"))
	return nil
}

func outcomesTable(outcomes []prepare.Outcome) *ui.Table {
	table := &ui.Table{Header: []string{"CONTEXT", "PROFILE", "ACCOUNT", "RESULT"},
		Spare: []string{"ACCOUNT", "PROFILE"}}
	for _, o := range outcomes {
		result, colour := "ready", ""
		if o.Err != nil {
			result, colour = "", ui.Red
		}
		table.Row(colour, o.Context, o.Profile, o.Account, result)
		if o.Err != nil {
			table.Note(resultOf(o))
		}
	}
	return table
}

func resultOf(o prepare.Outcome) string {
	if o.Err != nil {
		return "error: " + o.Err.Error()
	}
	return "ready"
}

// worst says how many failed, with the exit code and hint of the first that was not only
// interrupted: what ends that one is the same command for all of them.
func worst(outcomes []prepare.Outcome) error {
	failed := 0
	var first error
	for _, o := range outcomes {
		if o.Err == nil {
			continue
		}
		failed++
		if first == nil && !errors.Is(o.Err, prepare.ErrInterrupted) {
			first = &prepare.ContextError{Context: o.Context, Err: o.Err}
		}
	}
	switch {
	case failed == 0:
		return nil
	case first == nil:
		return fmt.Errorf("%d of %d contexts were not prepared: %w", failed, len(outcomes),
			prepare.ErrInterrupted)
	}
	return fmt.Errorf("%d of %d contexts were not prepared; the first: %w", failed,
		len(outcomes), first)
}
