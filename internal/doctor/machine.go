package doctor

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/prepare"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/timer"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// slowStore is when a store is worth a warning: every client waits for it.
const slowStore = time.Second

// examineMachine is what does not depend on a profile.
func (d *doctor) examineMachine(ctx context.Context, loaded []loadedProfile) []Finding {
	kinds := kindsOf(loaded)
	items := []Finding{d.locks()}
	if item, applies := d.bus(kinds, loaded); applies {
		items = append(items, item)
	}
	d.stores = map[storeOf]error{}
	for _, kind := range kinds {
		item, err := d.store(ctx, kind, loaded)
		d.stores[kind] = err
		items = append(items, item)
	}
	return slices.Concat(items, d.timer(ctx), d.preferences())
}

// storeOf is a profile's store: the sealed one of another TPM is another.
type storeOf struct {
	kind keyring.Kind
	tpm  string
}

// kindsOf lists the stores in use; without a profile, the one that setup would choose.
func kindsOf(loaded []loadedProfile) []storeOf {
	var kinds []storeOf
	for _, p := range loaded {
		kind := storeOf{p.Store, p.TPM}
		if p.err == nil && !slices.Contains(kinds, kind) {
			kinds = append(kinds, kind)
		}
	}
	if len(loaded) == 0 {
		kinds = []storeOf{{keyring.Auto, keyring.FindTPM}}
	}
	slices.SortFunc(kinds, func(a, b storeOf) int {
		return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.tpm, b.tpm))
	})
	return kinds
}

// usersOf are the profiles that use a store.
func usersOf(kind storeOf, loaded []loadedProfile) []loadedProfile {
	return slices.DeleteFunc(slices.Clone(loaded), func(p loadedProfile) bool {
		return p.err != nil || (storeOf{p.Store, p.TPM}) != kind
	})
}

// userOf is the name of one of them, empty where there is none.
func userOf(kind storeOf, loaded []loadedProfile) string {
	if users := usersOf(kind, loaded); len(users) > 0 {
		return users[0].Name
	}
	return ""
}

// locks is about the directory that keeps two processes from minting at once. Without it
// everything works, only twice.
func (d *doctor) locks() Finding {
	const check = "locks"
	dir := d.host.RuntimeDir()
	if dir == "" {
		return warn(check, "set XDG_RUNTIME_DIR to a directory of your own with mode 0700",
			"no directory for locks: processes that need a token at the same time "+
				"each request one")
	}
	file, err := os.CreateTemp(dir, "doctor-*.lock")
	if err != nil {
		return warn(check, "chmod 700 "+ui.CommandLine(dir),
			"no file can be made in %q, so nothing is locked",
			dir).with(modes(privateDir, dir))
	}
	_ = file.Close()
	_ = os.Remove(file.Name())
	return ok(check, "in %s", dir)
}

// bus tells which session bus the environment leads to; only those who use it need one.
func (d *doctor) bus(kinds []storeOf,
	loaded []loadedProfile) (item Finding, applies bool) {
	const check = "bus"
	address, err := d.host.BusAddress()
	switch needed := slices.Contains(kinds, storeOf{kind: keyring.Keyring}); {
	case err == nil:
		return ok(check, "%s", address), address != ""
	case needed:
		return d.failOf(userOf(storeOf{kind: keyring.Keyring}, loaded), check, err, ""), true
	}
	return ok(check, "none, and no profile needs one"), true
}

// passedFor is why the store was chosen and no other, as setup has found out: of the profiles that
// use it the first that knows.
func passedFor(kind storeOf, loaded []loadedProfile) []string {
	for _, p := range usersOf(kind, loaded) {
		if len(p.Setup.PassedStores) > 0 {
			return p.Setup.PassedStores
		}
	}
	return nil
}

// store writes, reads and deletes an entry of its own.
func (d *doctor) store(ctx context.Context, kind storeOf,
	loaded []loadedProfile) (Finding, error) {
	const check = "store"
	user := userOf(kind, loaded)
	store, err := d.host.Store(ctx, kind.kind, kind.tpm)
	if err != nil {
		return d.failOf(user, check, fmt.Errorf("store %q: %w", kind.kind, err), ""), err
	}
	if store.Kind() == keyring.None {
		return ok(check, "none: nothing is kept, every call of a client requests a token"),
			nil
	}
	began := time.Now()
	if err := keyring.Probe(ctx, store, d.host.Now()); err != nil {
		return d.failOf(user, check, fmt.Errorf("%s: %w", store.Description(), err),
			""), err
	}
	took := time.Since(began)
	if file, isPlain := d.host.PlainKeyring(store.Kind()); isPlain {
		return warn(check, "set a password for the login keyring in the desktop's "+
			"password manager, or set up with --store kernel",
			"%s: it has no password, and %q holds all that is in it as plain text",
			store.Description(), file), nil
	}
	if isSlow(store, took) {
		waits := "call of a client"
		if keyring.Behind(store) != store {
			waits = "new token"
		}
		return warn(check, "set up with --store kernel, which keeps credentials "+
			"where nothing has to be asked",
			"%s: an entry took %v to write, read and delete, and every %s waits for it",
			store.Description(), roughly(took), waits), nil
	}
	text := fmt.Sprintf("%s: an entry written, read and deleted in %v",
		keyring.Describe(ctx, store), roughly(took))
	reasons := passedFor(kind, loaded)
	for _, reason := range keyring.Passed(store) { // where there is no profile yet
		reasons = append(reasons, reason.Error())
	}
	for _, reason := range reasons {
		text += "; passed over another: " + reason
	}
	return ok(check, "%s", text), nil
}

// isSlow reports whether a store is worth a warning. A TPM takes its time.
func isSlow(store keyring.Store, took time.Duration) bool {
	if store.Kind() == keyring.Sealed {
		return took > keyring.SealedLimit/2
	}
	return took > slowStore
}

// timer is about the timer that has this machine renew what is due, where there is one: whether there
// should be is nowhere noted. A line of cron's is the user's own.
func (d *doctor) timer(ctx context.Context) []Finding {
	const check = "timer"
	machine, err := prepare.Timer(d.host)
	if err != nil || !machine.IsInstalled() {
		return nil
	}
	again := func(ctx context.Context) error {
		kind, err := machine.Install(ctx)
		if err == nil && kind != timer.Systemd {
			err = errors.New("no systemd of yours answers")
		}
		return err
	}
	switch err := machine.Examine(ctx); {
	case errors.Is(err, timer.ErrStopped):
		return []Finding{warn(check, ui.CommandLine("systemctl", "--user", "enable", "--now",
			timer.Unit+".timer"), "%v", err).with(again)}
	case err != nil:
		return []Finding{warn(check, ui.CommandLine(ui.Program, "doctor", "--fix"), "%v",
			err).mended(repair{what: "installing the timer again", do: again})}
	}
	return []Finding{ok(check, "systemd renews what is due, every %s", timer.Every)}
}

// preferences is about the files of kubectl that could not be read at all.
func (d *doctor) preferences() []Finding {
	var items []Finding
	if d.contErr != nil {
		items = append(items, d.fail("kubeconfig", d.contErr, "kubectl config view"))
	} else {
		items = append(items, ok("kubeconfig", "%s", strings.Join(d.paths, ", ")))
	}
	items = append(items, d.kubeconfigLocks()...)
	if d.policyErr != nil {
		items = append(items, d.fail("policy", d.policyErr, "kubectl kuberc view"))
	}
	return items
}

// examineStrayContexts finds contexts that lead to no profile.
func (d *doctor) examineStrayContexts() []Finding {
	if d.options.Profile != "" {
		return nil
	}
	var items []Finding
	for _, use := range d.contexts {
		if slices.Contains(d.names, use.Profile) {
			continue
		}
		err := fmt.Errorf("context %q of %q: %w: %q", use.Context, use.File,
			profile.ErrMissing, use.Profile)
		item := d.fail("context", err, strayFix(use))
		item.Profile = ui.Printable(use.Profile)
		items = append(items, item)
	}
	return items
}

func strayFix(use kubeconfig.PluginContext) string {
	return "set its account up again, or remove the context: " + ui.CommandLine("kubectl",
		"config", "--kubeconfig", use.File, "delete-context", use.Context)
}
