package prepare

import (
	"context"
	"errors"
	"runtime"
	"slices"
	"sync"

	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// StoreTrial finds out whether stores keep what a command is about to put into them, before
// anything is created elsewhere. Each store is tried once, for all clusters that are prepared.
type StoreTrial struct {
	mutex sync.Mutex
	tried map[keyring.Kind]error
	rooms map[keyring.Kind]keyring.Room
	modes sync.Once // about the kubeconfig's file system is warned once
}

// Check writes, reads and deletes an entry, and takes the room of further ones off the store's
// quota, where it has one: whoever comes next finds less.
func (t *StoreTrial) Check(ctx context.Context, h *host.Host, store keyring.Store,
	entries int) error {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	kind := store.Kind()
	if t.tried == nil {
		t.tried, t.rooms = map[keyring.Kind]error{}, map[keyring.Kind]keyring.Room{}
	}
	if _, done := t.tried[kind]; !done {
		room, limited := keyring.RoomIn(store)
		if limited {
			t.rooms[kind] = room
		}
		// where there is no room, what is there would have to go for a probe
		if room.Less(1).Check() == nil || !limited {
			t.tried[kind] = keyring.Probe(ctx, store, h.Now())
		}
	}
	if err := t.tried[kind]; err != nil {
		return err
	}
	room, limited := t.rooms[kind]
	if !limited {
		return nil
	}
	room = room.Less(entries)
	if err := room.Check(); err != nil {
		return withUsers(h, kind, err)
	}
	t.rooms[kind] = room
	return nil
}

// withUsers names the profiles that have used a quota up.
func withUsers(h *host.Host, kind keyring.Kind, err error) error {
	var quota *keyring.QuotaError
	profiles, problem := h.Profiles()
	if !errors.As(err, &quota) || problem != nil {
		return err
	}
	names, problem := profiles.Names()
	h.Log.Debug("looked for the profiles that use the store", "error", problem)
	for _, name := range names {
		if p, err := profiles.Load(name); err == nil && p.Store == kind {
			quota.Users = append(quota.Users, name)
		}
	}
	return quota
}

// chooseStore turns auto into the store that works here.
func (p *Preparation) chooseStore(ctx context.Context) error {
	needed := p.profile.Bootstrap.Source == profile.SourceKeyring
	if p.profile.Store == keyring.None && needed {
		return ui.Usagef("--store none needs another --bootstrap than keyring")
	}
	if err := p.checkSealing(); err != nil {
		return err
	}
	store, err := p.host.Store(ctx, p.profile.Store, p.profile.TPM)
	if errors.Is(err, keyring.ErrUnavailable) && p.profile.Store == keyring.Auto && !needed {
		store, err = p.host.Store(ctx, keyring.None, "")
	}
	if err != nil {
		return err
	}
	if p.trial == nil {
		p.trial = &StoreTrial{}
	}
	if err := p.trial.Check(ctx, p.host, store, p.entriesFor(ctx, store)); err != nil {
		return err
	}
	p.reportStore(ctx, store)
	p.profile.Store, p.profile.TPM = store.Kind(), keyring.TPMOf(store)
	if file, isPlain := p.host.PlainKeyring(store.Kind()); isPlain {
		p.warn("the login keyring has no password: %q holds all that is in it as plain "+
			"text; "+
			"set one in the desktop's password manager, or keep credentials with "+
			"--store kernel", file)
	}
	return nil
}

// checkSealing is about --store sealed and --tpm.
func (p *Preparation) checkSealing() error {
	isSealed, isAuto := p.profile.Store == keyring.Sealed, p.profile.Store == keyring.Auto
	switch {
	case isSealed && runtime.GOOS != "linux":
		return ui.Usagef("--store sealed is only on Linux")
	case p.profile.TPM == "" || p.profile.TPM == keyring.FindTPM:
		return nil
	case runtime.GOOS != "linux":
		return ui.Usagef("--tpm is only on Linux")
	case !isSealed && !isAuto:
		return ui.Usagef("--tpm goes with --store sealed, and this profile's is %s",
			p.profile.Store)
	}
	if err := keyring.CheckTPM(p.profile.TPM); err != nil {
		return ui.Usagef("invalid --tpm: %w", err)
	}
	return nil
}

// reportStore says what was chosen, why, and for how long it keeps things.
func (p *Preparation) reportStore(ctx context.Context, store keyring.Store) {
	p.step("store: %s", keyring.Describe(ctx, store))
	p.passed = keyring.Passed(store)
	if len(p.passed) > 0 || p.profile.Store == keyring.Auto {
		p.profile.Setup.PassedStores = nil
	}
	for _, reason := range p.passed {
		p.step("store: passed over another: %v", reason)
		p.profile.Setup.PassedStores = append(p.profile.Setup.PassedStores,
			ui.Printable(reason.Error()))
	}
	if stray := p.host.StraySealed(); stray != "" && store.Kind() == keyring.Sealed {
		p.warn("%s", stray)
	}
	needed := p.profile.Bootstrap.Source == profile.SourceKeyring && p.profile.Recovery == nil
	if store.Kind() == keyring.Kernel && p.profile.Store == keyring.Auto && needed {
		p.warn("%s", untilRestart(p.passed))
	}
}

// untilRestart says what a machine loses that has nothing but the kernel keyring, and what helps.
func untilRestart(passed []error) string {
	text := "the bootstrap credential is in memory, and a restart of this machine ends it: " +
		"with --recover, setup lets a new one be requested then"
	if slices.ContainsFunc(passed, func(reason error) bool {
		return errors.Is(reason, keyring.ErrNotAllowed)
	}) {
		text += "; whoever is in the group tss can have it sealed by the TPM, with " +
			"--store sealed"
	}
	return text
}

// entriesFor is how many entries more the store will have to hold: those that an earlier setup has
// put there take no further room.
func (p *Preparation) entriesFor(ctx context.Context, store keyring.Store) int {
	token, bootstrap := 1, 0
	if p.profile.Bootstrap.Source != profile.SourceKeyring {
		return token
	}
	bootstrap = 1
	old, _, _ := p.before()
	current := p.recordOf(old).Current
	if p.record != nil && p.record.Current != nil {
		current = p.record.Current
	}
	if current == nil {
		return token + bootstrap
	}
	if _, err := store.Get(ctx, p.profile.BootstrapKey(current)); err == nil {
		return token
	}
	return token + bootstrap
}
