package keyring

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"
)

// service is the name under which this program's entries are kept, where a store has such a thing.
const service = "sa-exec-credential"

// System is what a store uses of its surroundings. The zero value is the real ones, with nobody to
// ask.
type System struct {
	Getenv func(string) string
	Now    func() time.Time
	Limits Limits
	// Origin tells whose entries are whose where several have a store: it is kept with each.
	Origin string
	// Interactive says that a person may be asked to unlock the store. Without it, a locked
	// store is ErrLocked at once.
	Interactive bool
}

// Limits are the longest times that one method of a Store takes.
type Limits struct {
	Call   time.Duration // where nobody is asked; 3 s when zero
	Prompt time.Duration // where a person may have to unlock the store; 60 s when zero
}

// Open returns the store of a kind. Only Auto asks the stores whether they work; the others are
// opened without any I/O, and an absent store shows at the first call.
//
// Auto is the platform's keyring when it can keep a secret now, or once a person has unlocked it,
// else the kernel keyring, else ErrUnavailable with the reason of each. It is never None: that one
// has to be wished for.
func Open(ctx context.Context, kind Kind, sys System) (Store, error) {
	sys = sys.withDefaults()
	switch kind {
	case Auto:
		return openAuto(ctx, sys)
	case Keyring:
		return openKeyring(sys)
	case Kernel:
		return openKernel(sys)
	case None:
		return none{}, nil
	}
	return nil, fmt.Errorf("unknown store %q", string(kind))
}

func (s System) withDefaults() System {
	if s.Getenv == nil {
		s.Getenv = os.Getenv
	}
	if s.Now == nil {
		s.Now = time.Now
	}
	if s.Limits.Call == 0 {
		s.Limits.Call = 3 * time.Second
	}
	if s.Limits.Prompt == 0 {
		s.Limits.Prompt = time.Minute
	}
	return s
}

// longest is the limit of a call that may ask a person.
func (s System) longest() time.Duration {
	if s.Interactive {
		return max(s.Limits.Call, s.Limits.Prompt)
	}
	return s.Limits.Call
}

// prober is a store that can tell whether it is able to keep a secret now.
type prober interface {
	Store
	probe(ctx context.Context) error
}

func openAuto(ctx context.Context, sys System) (Store, error) {
	var reasons []error
	for _, open := range []func(System) (prober, error){openKeyring, openKernel} {
		store, err := open(sys)
		if err == nil {
			err = store.probe(ctx)
		}
		if err == nil {
			return store, nil
		}
		if ctx.Err() != nil {
			return nil, ended(ctx)
		}
		reasons = append(reasons, err)
	}
	return nil, unavailable(errors.Join(reasons...))
}

// unavailable makes err an ErrUnavailable, whatever it was.
func unavailable(err error) error {
	if errors.Is(err, ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
