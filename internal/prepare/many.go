package prepare

import (
	"context"
	"errors"

	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/parallel"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// ErrInterrupted is a command that a person stopped.
var ErrInterrupted = errors.New("interrupted")

// Outcome is what came of one context.
type Outcome struct {
	Context string
	Profile string
	Account string
	Err     error
}

// Many prepares the clusters of several contexts, limit of them at once. One that fails does not
// stop the others. done is called with each outcome, from any goroutine; report says of which
// context it speaks.
func Many(ctx context.Context, h *host.Host, o Options, paths, names []string, limit int,
	report func(context string) ui.Report, done func(Outcome)) []Outcome {
	outcomes := make([]Outcome, len(names))
	batch := kubeconfig.NewBatch(o.Output)
	parallel.ForEach(len(names), limit, func(i int) {
		outcomes[i] = prepareOne(ctx, h, o, paths, names[i], batch, report(names[i]))
		done(outcomes[i])
	})
	return outcomes
}

func prepareOne(ctx context.Context, h *host.Host, o Options, paths []string, name string,
	batch *kubeconfig.Batch, report ui.Report) Outcome {
	if ctx.Err() != nil {
		return Outcome{Context: name, Err: ErrInterrupted}
	}
	p, err := New(ctx, h, o, paths, name, report)
	if err != nil && ctx.Err() != nil {
		return Outcome{Context: name, Err: ErrInterrupted}
	}
	if err != nil {
		return Outcome{Context: name, Err: err}
	}
	p.batch = batch
	result := Outcome{Context: name, Profile: p.profile.Name, Account: p.profile.Account()}
	_, result.Err = p.Run(ctx)
	if result.Err != nil && ctx.Err() != nil {
		result.Err = ErrInterrupted
	}
	return result
}
