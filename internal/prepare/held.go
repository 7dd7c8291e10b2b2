package prepare

import (
	"context"
	"fmt"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
)

// held is a store in the memory of this process, for a credential that is kept nowhere: that of an
// invitation, and that which a machine has got for it before anything is written.
type held map[string]keyring.Entry

// Kind implements keyring.Store.
func (held) Kind() keyring.Kind { return keyring.None }

// Description implements keyring.Store.
func (held) Description() string { return "none" }

// Get implements keyring.Store.
func (h held) Get(_ context.Context, key string) (keyring.Entry, error) {
	entry, found := h[key]
	if !found {
		return keyring.Entry{}, fmt.Errorf("%w: it is not held", keyring.ErrNotFound)
	}
	return entry, nil
}

// Set implements keyring.Store.
func (h held) Set(_ context.Context, key string, entry keyring.Entry) error {
	h[key] = entry
	return nil
}

// Delete implements keyring.Store.
func (h held) Delete(_ context.Context, key string) error {
	delete(h, key)
	return nil
}

// Keys implements keyring.Store.
func (held) Keys(context.Context) ([]string, error) { return nil, nil }
