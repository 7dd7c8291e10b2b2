package prepare

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/sa-exec-credential/sa-exec-credential/internal/admin"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/parallel"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/session"
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
//
// What does not differ between contexts is done once: the kubeconfig that they are in is read, and
// whether the new ones can be merged is found out, before the first of them is prepared; see
// kubeconfig.Batch for how they are written and read again.
func Many(ctx context.Context, h *host.Host, o Options, paths, names []string, limit int,
	report func(context string) ui.Report, done func(Outcome)) ([]Outcome, error) {
	files, err := kubeconfig.Read(paths)
	if err != nil {
		return nil, err
	}
	plans, outcomes := planMany(h, o, files, names, report)
	f := &fleet{batch: kubeconfig.NewBatch(o.Output, len(names)), output: o.Output,
		profiles: sync.OnceValues(func() (map[string][]profile.Profile, error) {
			return session.ByDevice(h)
		})}
	trial := &StoreTrial{}
	f.batch.Check(f.entriesOf(plans))
	parallel.ForEachWaiting(len(names), limit, func(i int, waiting func(func())) {
		p := plans[i]
		if p != nil {
			p.trial, p.fleet, p.waiting = trial, f, waiting
			outcomes[i].Err = prepareOne(ctx, p)
		}
		if p == nil || !p.hasMerged {
			f.batch.Leave()
		}
		done(outcomes[i])
	})
	return outcomes, nil
}

// planMany works out the profiles. Of a context that has none there is an outcome already.
func planMany(h *host.Host, o Options, files *kubeconfig.Files, names []string,
	report func(context string) ui.Report) ([]*Preparation, []Outcome) {
	plans, outcomes := make([]*Preparation, len(names)), make([]Outcome, len(names))
	profiles := profileNames(h, o, files, names)
	for i, name := range names {
		o := o
		o.Profile = profiles[name]
		p, err := plan(h, o, files, name, report(name))
		outcomes[i] = Outcome{Context: name, Err: err}
		if err == nil {
			plans[i] = p
			outcomes[i].Profile = p.profile.Name
			outcomes[i].Account = p.profile.Account()
		}
	}
	return plans, outcomes
}

func prepareOne(ctx context.Context, p *Preparation) error {
	if ctx.Err() != nil {
		return ErrInterrupted
	}
	err := p.login(ctx)
	if err == nil {
		p.admin.Client.Share(p.fleet.memoOf(p.found))
		_, err = p.Run(ctx)
	}
	if err != nil && ctx.Err() != nil {
		return ErrInterrupted
	}
	return err
}

// ProfileNames are the names of the profiles of contexts, before anything is created. Of several
// contexts that would have one name, that of which there is such a profile already keeps it, or
// else the first; the names of the others end with a hash of the context's. So contexts keep their
// profiles when they are set up again.
func ProfileNames(h *host.Host, o Options, paths, contexts []string) map[string]string {
	files, err := kubeconfig.Read(paths)
	if err != nil {
		return nil // that is said when they are prepared
	}
	return profileNames(h, o, files, contexts)
}

func profileNames(h *host.Host, o Options, files *kubeconfig.Files,
	contexts []string) map[string]string {
	names, sharing := map[string]string{}, map[string][]string{}
	for _, context := range contexts {
		found, paths, err := admin.ResolveIn(h, files, context, h.Log.Quiet)
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
