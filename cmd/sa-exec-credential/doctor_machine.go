package main

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

// slowStore is when a store is worth a warning: every client waits for it.
const slowStore = time.Second

// examineMachine is what does not depend on a profile.
func (d *doctor) examineMachine(ctx context.Context, loaded []loadedProfile) []finding {
	kinds := kindsOf(loaded)
	items := []finding{d.locks()}
	if item, applies := d.bus(kinds); applies {
		items = append(items, item)
	}
	d.stores = map[keyring.Kind]error{}
	for _, kind := range kinds {
		item, err := d.store(ctx, kind)
		d.stores[kind] = err
		items = append(items, item)
	}
	return append(items, d.preferences()...)
}

// kindsOf lists the stores in use; without a profile, the one that setup would choose.
func kindsOf(loaded []loadedProfile) []keyring.Kind {
	var kinds []keyring.Kind
	for _, p := range loaded {
		if p.err == nil && !slices.Contains(kinds, p.Store) {
			kinds = append(kinds, p.Store)
		}
	}
	if len(loaded) == 0 {
		kinds = []keyring.Kind{keyring.Auto}
	}
	slices.Sort(kinds)
	return kinds
}

// locks is about the folder that keeps two processes from minting at once. Without it everything works, only twice.
func (d *doctor) locks() finding {
	const check = "locks"
	folder := d.env.runtimeFolder()
	if folder == "" {
		return doubt(check, "set XDG_RUNTIME_DIR to a folder of your own with mode 0700",
			"no folder for locks: processes that need a token at the same time each request one")
	}
	file, err := os.CreateTemp(folder, "doctor-*.lock")
	if err != nil {
		return doubt(check, "chmod 700 "+quoted(folder), "no file can be made in %q, so nothing is locked", folder)
	}
	_ = file.Close()
	_ = os.Remove(file.Name())
	return found(check, "in %s", folder)
}

// bus tells which session bus the environment leads to; only those who use it need one.
func (d *doctor) bus(kinds []keyring.Kind) (item finding, applies bool) {
	const check = "bus"
	address, err := keyring.BusAddress(d.env.getenv)
	switch needed := slices.Contains(kinds, keyring.Keyring); {
	case err == nil:
		return found(check, "%s", address), address != ""
	case needed:
		return failure(check, err, "export DBUS_SESSION_BUS_ADDRESS=unix:path=/run/user/$(id -u)/bus"), true
	}
	return found(check, "none, and no profile needs one"), true
}

// store writes, reads and deletes an entry of its own.
func (d *doctor) store(ctx context.Context, kind keyring.Kind) (finding, error) {
	const check = "store"
	store, err := d.env.store(ctx, kind)
	if err != nil {
		return failure(check, fmt.Errorf("store %q: %w", kind, err), ""), err
	}
	if store.Kind() == keyring.None {
		return found(check, "none: nothing is kept, every call of a client requests a token"), nil
	}
	began := time.Now()
	if err := roundTrip(ctx, store, d.env.now()); err != nil {
		return failure(check, fmt.Errorf("%s: %w", store.Description(), err), ""), err
	}
	took := time.Since(began)
	if took > slowStore {
		return doubt(check, "sa-exec-credential setup with --store kernel keeps credentials where nothing has to be asked",
			"%s: an entry took %v to write, read and delete, and every call of a client waits for it", store.Description(), roughly(took)), nil
	}
	return found(check, "%s: an entry written, read and deleted in %v", store.Description(), roughly(took)), nil
}

// errNotKept is a store that takes an entry and does not give it back.
var errNotKept = errors.New("it does not give back what was put in")

// roundTrip uses a key that is no profile's and that two doctors do not share. Its error is the first one: a store that
// takes nothing does not delete either, mostly for the same reason.
func roundTrip(ctx context.Context, store keyring.Store, now time.Time) (err error) {
	key := "token:doctor-" + rand.Text()
	defer func() { err = cmp.Or(err, store.Delete(context.WithoutCancel(ctx), key)) }()
	probe := keyring.Entry{Token: secret.New(rand.Text()), IssuedAt: now, ExpiresAt: now.Add(time.Minute)}
	if err := store.Set(ctx, key, probe); err != nil {
		return err
	}
	kept, err := store.Get(ctx, key)
	if err != nil {
		return err
	}
	if kept.Token != probe.Token {
		return fmt.Errorf("%w: %w", keyring.ErrUnavailable, errNotKept)
	}
	return nil
}

// preferences is about the files of kubectl that could not be read at all.
func (d *doctor) preferences() []finding {
	var items []finding
	if d.usesErr != nil {
		items = append(items, failure("kubeconfig", d.usesErr, "kubectl config view"))
	} else {
		items = append(items, found("kubeconfig", "%s", strings.Join(d.paths, ", ")))
	}
	if d.policyErr != nil {
		items = append(items, failure("policy", d.policyErr, "kubectl kuberc view"))
	}
	return items
}

// examineStrayContexts finds contexts that lead to no profile.
func (d *doctor) examineStrayContexts() []finding {
	if d.only {
		return nil
	}
	var items []finding
	for _, use := range d.uses {
		if slices.Contains(d.names, use.Profile) {
			continue
		}
		err := fmt.Errorf("context %q of %q: %w: %q", use.Context, use.File, profile.ErrMissing, use.Profile)
		item := failure("context", err, strayMend(use))
		item.Profile = printable(use.Profile)
		items = append(items, item)
	}
	return items
}

func strayMend(use kubeconfig.PluginContext) string {
	return commandLine("kubectl", "config", "--kubeconfig", use.File, "delete-context", use.Context) + ", or setup again"
}
