package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
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
	outcomes := prepare.Many(ctx, h, o, paths, names, c.Parallel, report,
		func(o prepare.Outcome) {
			h.Log.Line("setup", fmt.Sprintf("%d/%d %s: %s", done.Add(1), len(names),
				o.Context,
				resultOf(o)))
		})
	warnOfStray(h)
	table := outcomesTable(outcomes, ui.Width(h.Stdout))
	if err := h.Write(table.Text(h.Colours())); err != nil {
		return err
	}
	if err := worst(outcomes); err != nil {
		return err
	}
	h.Log.Line("setup", "all is ready: "+ui.Plural(len(outcomes), "context"))
	return nil
}

// narrow is the width of a terminal in which the account has no place beside the profile, whose
// name mostly begins with it.
const narrow = 120

func outcomesTable(outcomes []prepare.Outcome, width int) *ui.Table {
	table := &ui.Table{Width: width}
	table.Header = []string{"CONTEXT", "PROFILE", "ACCOUNT", "RESULT"}
	isNarrow := width > 0 && width < narrow
	if isNarrow {
		table.Header = slices.Delete(table.Header, 2, 3)
	}
	for _, o := range outcomes {
		colour := ""
		if o.Err != nil {
			colour = ui.Red
		}
		cells := []string{o.Context, o.Profile, o.Account, resultOf(o)}
		if isNarrow {
			cells = slices.Delete(cells, 2, 3)
		}
		table.Row(colour, cells...)
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
