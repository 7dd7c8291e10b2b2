package keyring

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// bounded runs call and returns its result, or ErrTimeout after limit. A call that hangs is left
// behind with its goroutine: a store may wait for a person without end, and the process ends soon.
func bounded[T any](ctx context.Context, limit time.Duration,
	call func(context.Context) (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	done := make(chan result, 1)
	go func() {
		value, err := call(ctx)
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		if r.err != nil && ctx.Err() != nil {
			r.err = ended(ctx)
		}
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, ended(ctx)
	}
}

// ended says why ctx is over: out of time is the store's fault, cancelled is the caller's wish.
func ended(ctx context.Context) error {
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return ErrTimeout
	}
	return fmt.Errorf("waiting for the keyring: %w", ctx.Err())
}

// boundedErr is bounded for a call without a result.
func boundedErr(ctx context.Context, limit time.Duration, call func(context.Context) error) error {
	_, err := bounded(ctx, limit,
		func(ctx context.Context) (struct{}, error) { return struct{}{}, call(ctx) })
	return err
}
