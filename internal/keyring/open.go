package keyring

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/sealed"
)

// FindTPM is the place of a TPM in a System that Open shall choose.
const FindTPM = "auto"

// CheckTPM says what keeps a text from being the place of a TPM.
func CheckTPM(place string) error { return sealed.CheckTPM(place) }

// DefaultTPM is where a TPM is looked for.
const DefaultTPM = sealed.DefaultTPM

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
	// StateDir is where the user's programs keep what has to stay; empty: not known. Sealed
	// files go there, and CreateStateDir makes sure of it before the first is written.
	StateDir       string
	CreateStateDir func() error
	// TPM is where the TPM is that seals, as sealed.CheckTPM takes it; empty: systemd seals.
	// With FindTPM, Open finds out which of the two can.
	TPM string
	// Interactive says that a person may be asked to unlock the store. Without it, a locked
	// store is ErrLocked at once.
	Interactive bool
	// Slow is told of a call that takes longer than Limits.Notice; nil: nobody is.
	Slow func()
}

// Limits are the longest times that one method of a Store takes.
type Limits struct {
	Call   time.Duration // where nobody is asked; 3 s when zero
	Prompt time.Duration // where a person may have to unlock the store; 60 s when zero
	Notice time.Duration // after which a call that goes on is slow; 3 s when zero
}

// SealedLimit is Limits.Call of the sealed store, at the least: a TPM needs up to half a second for
// a key, and others may be at it.
const SealedLimit = 8 * time.Second

// Open returns the store of a kind. Only Auto asks the stores whether they work; the others are
// opened without any I/O, and an absent store shows at the first call.
//
// Auto is the platform's keyring when it can keep a secret now, or once a person has unlocked it,
// and has it after a restart; else the sealed store, else the kernel keyring, else ErrUnavailable
// with the reason of each. It is never None: that one has to be wished for.
func Open(ctx context.Context, kind Kind, sys System) (Store, error) {
	sys = sys.withDefaults()
	switch kind {
	case Auto:
		return fronting(openAuto(ctx, sys))
	case Keyring:
		return fronting(openKeyring(sys))
	case Sealed:
		if sys.TPM == FindTPM {
			return fronting(openSealedWay(ctx, sys))
		}
		return fronting(openSealed(sys))
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
	if s.Limits.Notice == 0 {
		s.Limits.Notice = 3 * time.Second
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

// noticing has Slow told of a call, unless it ends in time.
func (s System) noticing() (end func() bool) {
	if s.Slow == nil || s.longest() <= s.Limits.Notice {
		return func() bool { return false }
	}
	return time.AfterFunc(s.Limits.Notice, s.Slow).Stop
}

// prober is a store that can tell whether it is able to keep a secret now.
type prober interface {
	Store
	probe(ctx context.Context) error
	// passedOver notes why Open has chosen no other store.
	passedOver(reasons []error)
}

// openAuto takes the first store that can keep a secret now and still has it after a restart, else
// the kernel keyring. Why those before it were passed over stands in Passed.
func openAuto(ctx context.Context, sys System) (prober, error) {
	if sys.TPM == "" {
		sys.TPM = FindTPM
	}
	var reasons []error
	for _, open := range []func(context.Context, System) (prober, error){
		openLasting, openSealedWay, openTried(openKernel)} {
		store, err := open(ctx, sys)
		if err == nil {
			store.passedOver(reasons)
			return store, nil
		}
		if ctx.Err() != nil {
			return nil, ended(ctx)
		}
		reasons = append(reasons, err)
	}
	return nil, unavailable(&severalErrors{reasons})
}

// openTried opens a store that works.
func openTried(open func(System) (prober, error)) func(context.Context, System) (prober, error) {
	return func(ctx context.Context, sys System) (prober, error) {
		store, err := open(sys)
		if err == nil {
			err = store.probe(ctx)
		}
		return store, err
	}
}

// openLasting opens the platform's keyring where that is more than memory.
func openLasting(ctx context.Context, sys System) (prober, error) {
	store, err := openTried(openKeyring)(ctx, sys)
	if err != nil {
		return nil, err
	}
	if lifetime := Lifetime(ctx, store); lifetime != "" {
		return nil, unavailable(fmt.Errorf("%s keeps things only %s", store.Description(),
			lifetime))
	}
	return store, nil
}

// openSealedWay opens the sealed store, with FindTPM by what can seal here: the TPM, else systemd.
func openSealedWay(ctx context.Context, sys System) (prober, error) {
	if sys.TPM != FindTPM || runtime.GOOS != "linux" {
		return openTried(openSealed)(ctx, sys)
	}
	sys.TPM = sealed.DefaultTPM
	store, err := openTried(openSealed)(ctx, sys)
	if err == nil || ctx.Err() != nil {
		return store, err
	}
	sys.TPM = ""
	store, systemdErr := openTried(openSealed)(ctx, sys)
	if systemdErr == nil {
		store.passedOver([]error{err})
		return store, nil
	}
	return nil, &severalErrors{[]error{err, systemdErr}}
}

// severalErrors are the reasons of one failure, on one line.
type severalErrors struct{ list []error }

// Error implements error.
func (e *severalErrors) Error() string {
	var texts []string
	for _, err := range e.list {
		texts = append(texts, err.Error())
	}
	return strings.Join(texts, "; ")
}

// Unwrap gives the reasons.
func (e *severalErrors) Unwrap() []error { return e.list }

// fronting puts in front of a store what the platform has for that.
func fronting(store prober, err error) (Store, error) {
	if err != nil {
		return nil, err
	}
	return withFront(store), nil
}

// unavailable makes err an ErrUnavailable, whatever it was.
func unavailable(err error) error {
	if errors.Is(err, ErrUnavailable) {
		return err
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}
