package cluster

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
)

// The pauses between tries: RBAC reaches an API server in some 100 ms, with several of them in a
// second or so.
const (
	firstPause = 50 * time.Millisecond
	lastPause  = 500 * time.Millisecond
)

// WaitUntilAllowed repeats try for as long as RBAC forbids it, up to limit: roles count only once
// every API server has heard of them. It returns what try last did, where it had
// the time; a denial by admission is final.
func WaitUntilAllowed(ctx context.Context, limit time.Duration,
	try func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var forbidden error
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		err := try(ctx)
		if ctx.Err() != nil && err != nil {
			return cmp.Or(forbidden, err) // the last try was cut short
		}
		if !forbiddenByRBAC(err) {
			return err
		}
		forbidden = err
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

func forbiddenByRBAC(err error) bool {
	var status *api.StatusError
	return errors.Is(err, api.ErrForbidden) && !(errors.As(err, &status) && status.Admission)
}
