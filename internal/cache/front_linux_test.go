package cache

import (
	"context"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
)

// deafBus is the address of a bus that takes connections and says nothing.
func deafBus(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bus")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return "unix:path=" + path
}

// TestAStoreThatFailsIsNotWaitedForTwice has the Secret Service fail: what is in front of it keeps
// the token, so that one is minted, for all who ask.
func TestAStoreThatFailsIsNotWaitedForTwice(t *testing.T) {
	for name, bus := range map[string]string{"by silence": deafBus(t),
		"at once": "unix:path=/nonexistent"} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			key := fmt.Sprintf("token:%x", shortHash([]byte(w.dir)))
			// each process opens a store of its own
			ask := func(caller int) error {
				store, err := keyring.Open(t.Context(), keyring.Keyring, keyring.System{
					Getenv: func(name string) string {
						return map[string]string{"DBUS_SESSION_BUS_ADDRESS": bus}[name]
					}, Limits: keyring.Limits{Call: 50 * time.Millisecond}, Now: w.clock})
				if err != nil {
					return err
				}
				t.Cleanup(func() { _ = store.Delete(context.Background(), key) })
				c := w.cache(caller)
				c.Store, c.Key = store, key
				answer, err := c.Get(t.Context())
				if err == nil && answer.Token.Reveal() != "minted-1" {
					err = fmt.Errorf("got %q", answer.Token.Reveal())
				}
				return err
			}
			w.set(time.Now()) // the kernel's clock tells when its keys end
			var crowd sync.WaitGroup
			for caller := range 10 {
				crowd.Go(func() {
					if err := ask(caller + 1); err != nil {
						t.Error(err)
					}
				})
			}
			crowd.Wait()
			if len(w.warnings) > 0 || w.mints != 1 {
				t.Errorf("%d mints, warnings %v", w.mints, w.warnings)
			}
		})
	}
}
