//go:build darwin || windows

package keyring

import (
	"context"
	"errors"
	"fmt"
	"time"

	gokeyring "github.com/zalando/go-keyring"
)

// platformItems are the passwords of Keychain or Credential Manager, through go-keyring.
type platformItems struct{ sys System }

func openKeyring(sys System) (prober, error) {
	return &store{
		kind:        Keyring,
		description: platformName,
		sys:         sys,
		items:       parted{items: newItems(platformItems{sys: sys}), limit: platformLimit},
	}, nil
}

func (p platformItems) read(ctx context.Context, name string) ([]byte, error) {
	return bounded(ctx, p.sys.longest(), func(context.Context) ([]byte, error) {
		value, err := gokeyring.Get(service, name)
		return []byte(value), platformError("reading", err)
	})
}

func (p platformItems) write(ctx context.Context, name string, value []byte, _ time.Time) error {
	return boundedErr(ctx, p.sys.longest(), func(context.Context) error {
		return platformError("writing", gokeyring.Set(service, name, string(value)))
	})
}

func (p platformItems) remove(ctx context.Context, name string) error {
	err := boundedErr(ctx, p.sys.longest(), func(context.Context) error {
		return platformError("deleting", gokeyring.Delete(service, name))
	})
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}

// platformError gives an error of go-keyring a type of this package.
func platformError(doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, gokeyring.ErrNotFound):
		return fmt.Errorf("%s: %w", doing, ErrNotFound)
	case errors.Is(err, gokeyring.ErrSetDataTooBig):
		return fmt.Errorf("%s: %w", doing, ErrTooBig)
	case refusedUnlock(err):
		return fmt.Errorf("%s: %w: %w", doing, ErrLocked, err)
	}
	return fmt.Errorf("%s: %w: %w", doing, ErrUnavailable, err)
}
