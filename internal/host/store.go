package host

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// stores are open: all profiles of a command use the same connections, and a store that hangs is
// waited for once.
type stores struct {
	mutex sync.Mutex
	open  map[storeKey]keyring.Store
	slow  sync.Once // has been said
}

type storeKey struct {
	kind     keyring.Kind
	tpm      string
	patience time.Duration
}

// Store opens a store, or gives the one that is open. It does no I/O yet, but for auto. tpm is where
// the TPM is that seals, see keyring.System.
func (h *Host) Store(ctx context.Context, kind keyring.Kind, tpm string) (keyring.Store, error) {
	if h.stores == nil {
		return h.openStore(ctx, kind, tpm)
	}
	h.stores.mutex.Lock()
	defer h.stores.mutex.Unlock()
	key := storeKey{kind, tpm, h.patience}
	if store, isOpen := h.stores.open[key]; isOpen {
		return store, nil
	}
	store, err := h.openStore(ctx, kind, tpm)
	if err != nil {
		return nil, err
	}
	if h.stores.open == nil {
		h.stores.open = map[storeKey]keyring.Store{}
	}
	h.stores.open[key] = store
	return store, nil
}

func (h *Host) openStore(ctx context.Context, kind keyring.Kind, tpm string) (keyring.Store,
	error) {
	return h.OpenStore(ctx, kind, keyring.System{Getenv: h.storePlace, Now: h.Now,
		Interactive: h.hasDesktop(), TPM: tpm, StateDir: h.StateDir(),
		CreateStateDir: func() error { return h.createBase(stateDirs()) },
		Limits:         keyring.Limits{Call: h.patience}, Origin: h.Origin(),
		Slow: h.sayStoreIsSlow})
}

// storePatience is how long a command that a person runs waits for a store that is slow:
// gnome-keyring writes its whole file for each change, and many contexts may be set up at once.
const storePatience = 30 * time.Second

// Patient is the host of a command in which a slow store is waited for: it would fail half done.
func (h *Host) Patient() *Host {
	other := *h
	other.patience = storePatience
	return &other
}

// sayStoreIsSlow tells a person once what is being waited for.
func (h *Host) sayStoreIsSlow() {
	if h.patience == 0 || h.stores == nil {
		return
	}
	h.stores.slow.Do(func() {
		h.Log.Line(ui.Warning, fmt.Sprintf("the keyring is slow, or asks you something; "+
			"it is waited for, up to %v", h.patience))
	})
}
