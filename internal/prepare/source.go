package prepare

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/bootstrap"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/session"
)

const (
	// searchLimit bounds the search for the variables that a program misses. Each try runs it.
	searchLimit = 20 * time.Second
	searchTries = 40
)

// EnvironmentError is a bootstrap source that gives a credential in the environment of now, and
// none in that of a get.
type EnvironmentError struct {
	Source string   // as a flag spells it
	Names  []string // of the variables that make the difference, sorted
	IsRest bool     // the search ended early: some of the names do
	Err    error    // what comes of it without them
}

// Error implements error.
func (e *EnvironmentError) Error() string {
	which := "variables"
	if e.IsRest {
		which = "some of the variables"
	}
	return fmt.Sprintf("%s works only with %s that a get does not have: %s (without: %v)",
		e.Source, which, strings.Join(e.Names, ", "), e.Err)
}

// Unwrap gives what comes of it without them.
func (e *EnvironmentError) Unwrap() error { return e.Err }

// Flags are those of setup that have the profile keep the variables.
func (e *EnvironmentError) Flags() []string {
	var flags []string
	for _, name := range e.Names {
		flags = append(flags, "--bootstrap-env", name)
	}
	return flags
}

// checkSource tries what the profile will get its bootstrap credential from, and what it will
// recover with, before anything is created: with the variables that the profile keeps, and no
// others.
func (p *Preparation) checkSource(ctx context.Context) error {
	switch p.profile.Bootstrap.Source {
	case profile.SourceKeyring, profile.SourceInCluster:
	default:
		err := p.trySource(ctx, "--bootstrap "+SourceFlag(p.profile.Bootstrap),
			p.profile.Bootstrap)
		if p.isDry && isElsewhere(err, p.HasMinters()) {
			p.step("bootstrap source: not tried, it is there for the job and not here")
		} else if err != nil {
			return err
		}
	}
	if p.profile.Recovery == nil {
		return nil
	}
	err := p.trySource(ctx, "--recover", p.profile.Recovery.Credential)
	if lacking := (*EnvironmentError)(nil); err != nil && !errors.As(err, &lacking) {
		// such as a plugin that has to ask: the rest works without
		p.warn("--recover does not work now: %v", err)
		return nil
	}
	return err
}

// isElsewhere reports whether a source is not there because this is the machine of an administrator,
// who has named somebody else to mint.
func isElsewhere(err error, hasMinters bool) bool {
	return errors.Is(err, bootstrap.ErrNoJob) || hasMinters && errors.Is(err, bootstrap.ErrMissing)
}

func (p *Preparation) trySource(ctx context.Context, flag string, b profile.Bootstrap) error {
	works := func(environment map[string]string) error {
		tried := p.profile
		tried.Bootstrap = b
		tried.Bootstrap.Environment = environment
		s, err := session.With(ctx, p.host, tried, nil)
		if err != nil {
			return err
		}
		credential, err := bootstrap.Find(ctx, tried, s.System())
		if err != nil {
			return err
		}
		found, err := p.checkAccepted(ctx, credential.Config)
		if b.Source == p.profile.Bootstrap.Source {
			p.source = found
		}
		return err
	}
	err := works(b.Environment)
	if err == nil || b.Source != profile.SourceCommand && b.Source != profile.SourceContext {
		return err
	}
	names := p.variablesBeside(b.Environment)
	with := func(names []string) map[string]string {
		environment := maps.Clone(b.Environment)
		if environment == nil {
			environment = map[string]string{}
		}
		for _, name := range names {
			environment[name] = p.host.Getenv(name)
		}
		return environment
	}
	if len(names) == 0 || works(with(names)) != nil {
		return err
	}
	end, tries := time.Now().Add(searchLimit), 0
	found, complete := fewest(names, func(names []string) (worked, more bool) {
		tries++
		if tries > searchTries || time.Now().After(end) {
			return false, false
		}
		return works(with(names)) == nil, true
	})
	return &EnvironmentError{Source: flag, Names: found, IsRest: !complete, Err: err}
}

// furtherVariables are those of this process that an environment lacks, or has with another value.
func (p *Preparation) variablesBeside(environment map[string]string) []string {
	var names []string
	for _, setting := range p.host.Settings {
		name, value, _ := strings.Cut(setting, "=")
		kept, found := environment[name]
		// a shell sets these for every program anew
		isShells := name == "_" || name == "SHLVL" || name == bootstrap.WithinVariable
		if name != "" && !isShells && (!found || kept != value) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// fewest finds names without any of which it does not work, of a list with all of which it does.
// test tells whether it works with some, and whether it may be asked again. Where that ends the
// search, complete is false, and those that are left are more than it takes.
func fewest(names []string, test func(names []string) (works, more bool)) (found []string,
	complete bool) {
	ended := false
	works := func(names []string) bool {
		if ended {
			return false
		}
		worked, more := test(names)
		ended = !more
		return worked
	}
	// search finds what is needed of some beside what is there already
	var search func(some, there []string) []string
	search = func(some, there []string) []string {
		if len(some) < 2 || ended {
			return some
		}
		first, second := some[:len(some)/2], some[len(some)/2:]
		switch {
		case works(slices.Concat(there, first)):
			return search(first, there)
		case works(slices.Concat(there, second)):
			return search(second, there)
		case ended:
			return some
		}
		needed := search(first, slices.Concat(there, second))
		return append(slices.Clone(needed), search(second, slices.Concat(there, needed))...)
	}
	found = search(names, nil)
	return slices.Sorted(slices.Values(found)), !ended
}

// checkAccepted is an error when the API server takes a credential for none of its own. Whatever else
// it answers can have other reasons.
func (p *Preparation) checkAccepted(ctx context.Context, config *rest.Config) (source, error) {
	client, err := bootstrap.Minter(config, p.host.Now)
	if err != nil {
		return source{}, err
	}
	user, err := client.WhoAmI(ctx)
	if errors.Is(err, api.ErrUnauthorized) {
		err = fmt.Errorf("%w: the API server refuses what the source gives",
			bootstrap.ErrSource)
		return source{}, err
	}
	return source{config, user.Name}, nil
}
