package lifecycle

import (
	"context"
	"fmt"

	"github.com/sa-exec-credential/sa-exec-credential/internal/bootstrap"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/parallel"
	"github.com/sa-exec-credential/sa-exec-credential/internal/session"
)

const (
	// renewWorkers is how many machines are renewed for at once.
	renewWorkers = 8
	// renewLimit bounds what is done for one profile: a bootstrap command or a recovery, and
	// a server that answers nothing.
	renewLimit = bootstrap.CommandLimit + 4*mint.Deadline
)

// RenewFailure is a profile that could not be renewed.
type RenewFailure struct {
	Profile string
	Err     error
}

// Error implements error.
func (f *RenewFailure) Error() string { return fmt.Sprintf("profile %q: %v", f.Profile, f.Err) }

// Unwrap gives the reason.
func (f *RenewFailure) Unwrap() error { return f.Err }

// Renew renews the bootstrap credentials and tokens of all profiles that are due, or of one. One
// that fails does not keep the others; failures are in the order of the profiles' names.
func Renew(ctx context.Context, h *host.Host, name string) (failures []*RenewFailure, err error) {
	profiles, err := h.Profiles()
	if err != nil {
		return nil, err
	}
	names := []string{name}
	if name == "" {
		if names, err = profiles.Names(); err != nil {
			return nil, err
		}
	}
	failed := make([]error, len(names))
	groups := sharingDevice(h, names)
	parallel.ForEach(len(groups), renewWorkers, func(i int) {
		for _, index := range groups[i] {
			failed[index] = renewOne(ctx, h, names[index])
		}
	})
	for i, err := range failed {
		if err != nil {
			failures = append(failures, &RenewFailure{names[i], err})
		}
	}
	return failures, nil
}

func renewOne(ctx context.Context, h *host.Host, name string) error {
	ctx, cancel := context.WithTimeout(ctx, renewLimit)
	defer cancel()
	s, err := session.Load(ctx, h, name)
	if err != nil {
		return err
	}
	return s.Renew(ctx)
}

// sharingDevice groups the indices of names by what their profiles are bound to: those of one
// machine and account have a bootstrap credential in common, and the first renews it.
func sharingDevice(h *host.Host, names []string) (groups [][]int) {
	profiles, err := h.Profiles()
	group := map[string]int{}
	for i, name := range names {
		device := ""
		if err == nil {
			device = profiles.DeviceOf(name)
		}
		at, known := group[device]
		if !known || device == "" {
			at = len(groups)
			group[device], groups = at, append(groups, nil)
		}
		groups[at] = append(groups[at], i)
	}
	return groups
}
