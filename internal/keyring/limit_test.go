package keyring

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestACallThatHangsIsLeftBehind(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	err := boundedErr(context.Background(), time.Millisecond,
		func(context.Context) error { <-release; return nil })
	if !errors.Is(err, ErrTimeout) {
		t.Errorf("got %v, want ErrTimeout", err)
	}
}

func TestACallIsLeftBehindWhenItsCallerGivesUp(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	release := make(chan struct{})
	defer close(release)
	err := boundedErr(ctx, time.Hour,
		func(context.Context) error { cancel(); <-release; return nil })
	if !errors.Is(err, context.Canceled) || errors.Is(err, ErrTimeout) {
		t.Errorf("got %v, want context.Canceled", err)
	}
}

func TestACallWithoutTroubleGivesItsResult(t *testing.T) {
	want := errors.New("wanted")
	value, err := bounded(context.Background(), time.Hour,
		func(context.Context) (int, error) { return 7, want })
	if value != 7 || !errors.Is(err, want) {
		t.Errorf("got %d, %v", value, err)
	}
}
