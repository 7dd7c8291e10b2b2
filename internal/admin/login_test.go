package admin

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// heard keeps what is reported.
type heard []string

func (h *heard) report(kind ui.Kind, text string) { *h = append(*h, string(kind)+": "+text) }

func TestAwait(t *testing.T) {
	waiting := []string{`login: waiting for the login of context "prod"`}
	failure := errors.New("exec: executable kubelogin failed with exit code 3")
	tests := []struct {
		name   string
		takes  time.Duration
		err    error         // of the plugin
		after  time.Duration // when a person has had enough; 0: never
		reason string        // empty: logged in
		said   []string
		ends   time.Duration
	}{
		{name: "a quick login says nothing", takes: loginNotice - 1, ends: loginNotice - 1},
		{name: "a slow one says what is waited for",
			takes: loginNotice + 1, said: waiting, ends: loginNotice + 1},
		{name: "one of minutes says it once", takes: loginLimit - 1, said: waiting,
			ends: loginLimit - 1},
		{name: "one that never ends is given up",
			takes: loginLimit + 1, said: waiting, reason: "its plugin took longer " +
				"than 5m0s",
			ends: loginLimit},
		{name: "one that fails says why",
			err: failure, reason: "its plugin: executable kubelogin failed with exit " +
				"code 3"},
		{name: "a person can have enough",
			takes: time.Minute, after: 3 * time.Second, said: waiting,
			reason: "interrupted",
			ends:   3 * time.Second},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				if tt.after != 0 {
					time.AfterFunc(tt.after, cancel)
				}
				var said heard
				begun := time.Now()
				err := await(ctx, "prod", func() error {
					time.Sleep(tt.takes)
					return tt.err
				}, said.report)
				if took := time.Since(begun); took != tt.ends {
					t.Errorf("took %v, want %v", took, tt.ends)
				}
				time.Sleep(tt.takes) // the plugin goes on, and ends with this test
				if (tt.reason == "") != (err == nil) || err != nil &&
					!errors.Is(err, ErrLogin) {
					t.Fatalf("error %v", err)
				}
				if err != nil && !strings.HasSuffix(err.Error(),
					`context "prod": `+tt.reason) {
					t.Errorf("error %v, want %q", err, tt.reason)
				}
				if !slices.Equal(said, tt.said) {
					t.Errorf("said %q, want %q", said, tt.said)
				}
			})
		})
	}
}

// The key that interrupts this program often ends its plugin, too, which then fails at the same
// time.
func TestAwaitWithAPluginThatIsInterruptedToo(t *testing.T) {
	for range 50 { // either may be noticed first
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			pressed := make(chan struct{})
			press := func(ui.Kind, string) {
				close(pressed)
				synctest.Wait()
				cancel()
			}
			err := await(ctx, "prod", func() error {
				<-pressed
				return errors.New("exec: signal: interrupt")
			}, press)
			if !errors.Is(err, ErrLogin) || !strings.HasSuffix(err.Error(),
				"interrupted") {
				t.Errorf("error %v", err)
			}
		})
	}
}
