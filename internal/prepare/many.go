package prepare

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/sa-exec-credential/sa-exec-credential/internal/admin"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/parallel"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// ErrInterrupted is a command that a person stopped.
var ErrInterrupted = errors.New("interrupted")

// ContextError is that of one context of many.
type ContextError struct {
	Context string
	Err     error
}

// Error implements error.
func (e *ContextError) Error() string { return fmt.Sprintf("context %q: %v", e.Context, e.Err) }

// Unwrap makes it what has gone wrong there.
func (e *ContextError) Unwrap() error { return e.Err }

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
	profiles, trial := ProfileNames(h, o, paths, names), &StoreTrial{}
	parallel.ForEach(len(names), limit, func(i int) {
		o := o
		o.Profile = profiles[names[i]]
		outcomes[i] = prepareOne(ctx, h, o, paths, names[i], batch, trial, report(names[i]))
		done(outcomes[i])
	})
	return outcomes
}

// ProfileNames are the names of the profiles of contexts, before anything is created. Of several
// contexts that would have one name, that of which there is such a profile already keeps it, or
// else the first; the names of the others end with a hash of the context's. So contexts keep their
// profiles when they are set up again.
func ProfileNames(h *host.Host, o Options, paths, contexts []string) map[string]string {
	names, sharing := map[string]string{}, map[string][]string{}
	for _, context := range contexts {
		found, paths, err := admin.Resolve(h, paths, context, h.Log.Quiet)
		if err != nil {
			continue // that is said when it is prepared
		}
		name := o.profileFor(h, found, paths).Name
		sharing[name] = append(sharing[name], context)
		names[context] = name
	}
	for name, contexts := range sharing {
		first := slices.Min(contexts)
		if profiles, err := h.Profiles(); err == nil {
			old, err := profiles.Load(name)
			if err == nil && old.Origin != nil && slices.Contains(contexts,
				old.Origin.Context) {
				first = old.Origin.Context
			}
		}
		for _, context := range contexts {
			if context != first {
				names[context] = profile.NameWith(name, context)
			}
		}
	}
	return names
}

func prepareOne(ctx context.Context, h *host.Host, o Options, paths []string, name string,
	batch *kubeconfig.Batch, trial *StoreTrial, report ui.Report) Outcome {
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
	p.trial = trial
	if slices.Equal(p.options.Output, o.Output) {
		p.batch = batch
	}
	result := Outcome{Context: name, Profile: p.profile.Name, Account: p.profile.Account()}
	_, result.Err = p.Run(ctx)
	if result.Err != nil && ctx.Err() != nil {
		result.Err = ErrInterrupted
	}
	return result
}
