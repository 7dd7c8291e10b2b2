package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sa-exec-credential/sa-exec-credential/internal/call"
	"github.com/sa-exec-credential/sa-exec-credential/internal/device"
	"github.com/sa-exec-credential/sa-exec-credential/internal/files"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/prepare"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/session"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// ErrLeft says that some of what was to be removed is still there.
var ErrLeft = errors.New("not everything could be removed")

// leftError is an ErrLeft for reasons that have been told already.
type leftError struct {
	text    string
	reasons []error
}

// Error implements error.
func (e *leftError) Error() string { return e.text }

// Unwrap gives the reasons.
func (e *leftError) Unwrap() []error { return e.reasons }

// Forgetting is what there is of a profile on this machine, found out before any of it is removed.
// No cluster is asked.
type Forgetting struct {
	host       *host.Host
	report     ui.Report
	name       string
	profile    *profile.Profile // nil: there is none, or it cannot be read
	isMissing  bool
	recordName string         // of its device; empty: it has none, or that is not known
	record     *device.Record // nil: there is none, or it cannot be read
	others     []profile.Profile
	keeps      string // why the record stays; empty: it does not
	paths      []string
	contexts   []kubeconfig.Forgotten
	isEnded    bool // its devices are gone in the cluster
	goesLater  bool // the record goes with a profile that is forgotten after this one
	left       []error
}

// PlanForget looks for what there is of a profile, with its contexts in a kubeconfig, by default in
// those that kubectl would read, and in those that the profile was set up with.
func PlanForget(h *host.Host, name, file string, report ui.Report) (*Forgetting, error) {
	f := &Forgetting{host: h, report: report, name: name}
	profiles, err := h.Profiles()
	if err != nil {
		return nil, err
	}
	if f.paths, err = h.KubeconfigPaths(file); err != nil {
		return nil, err
	}
	p, problem := profiles.Load(name)
	switch {
	case errors.Is(problem, profile.ErrName):
		return nil, problem
	case problem != nil:
		f.isMissing = errors.Is(problem, profile.ErrMissing)
		f.recordName = profiles.DeviceOf(name)
	default:
		f.profile, f.recordName = &p, p.Device
		f.addPaths(p)
	}
	f.contexts = kubeconfig.CanForget(f.paths, name)
	isNamed := func(found kubeconfig.Forgotten) bool { return found.Err == nil }
	if f.isMissing && !slices.ContainsFunc(f.contexts, isNamed) {
		return nil, problem
	}
	if problem != nil && !f.isMissing {
		report(ui.Warning, problem.Error())
	}
	return f, f.readRecord()
}

// addPaths adds the files that the profile was set up with.
func (f *Forgetting) addPaths(p profile.Profile) {
	files := []string{}
	if p.Origin != nil {
		files = append(files, p.Origin.Kubeconfig...)
	}
	if p.Setup.Output != "" {
		files = append(files, p.Setup.Output)
	}
	for _, path := range files {
		if !slices.Contains(f.paths, path) {
			f.paths = append(f.paths, path)
		}
	}
}

// readRecord finds out what the record has, and whether it goes with the profile.
func (f *Forgetting) readRecord() error {
	f.record, f.others, f.keeps = nil, nil, ""
	if f.recordName == "" {
		return nil
	}
	dir, err := call.Devices(f.host)
	if err != nil {
		return err
	}
	if record, err := dir.Load(f.recordName); err == nil {
		f.record = &record
	}
	sharing, err := session.Sharing(f.host, f.recordName)
	if err != nil {
		f.keeps = fmt.Sprintf("%v, and may name it, too", err)
	}
	for _, p := range sharing {
		if p.Name != f.name {
			f.others = append(f.others, p)
			f.keeps = fmt.Sprintf("profile %q names it, too", p.Name)
		}
	}
	return nil
}

func (f *Forgetting) step(format string, args ...any) {
	f.report(ui.Step, fmt.Sprintf(format, args...))
}

// Lines say what Run would remove, and what it would keep.
func (f *Forgetting) Lines() (lines []string) {
	for _, found := range f.contexts {
		if found.Err != nil {
			lines = append(lines, fmt.Sprintf("cannot be looked through: %v",
				found.Err))
			continue
		}
		lines = append(lines, "remove: "+partsOf(found))
	}
	switch {
	case f.isMissing:
		return lines
	case f.profile == nil:
		lines = append(lines, "remove: what the stores hold and no other profile leads to")
	default:
		lines = append(lines, fmt.Sprintf("remove: what the store %q holds for profile %q",
			f.profile.Store, f.name))
	}
	switch {
	case f.recordName == "" || f.goesLater:
	case f.keeps != "":
		lines = append(lines, fmt.Sprintf("kept: device record %q: %s", f.recordName,
			f.keeps))
	default:
		lines = append(lines, fmt.Sprintf("remove: device record %q", f.recordName))
	}
	if machine, err := prepare.Timer(f.host); err == nil && machine.IsInstalled() &&
		isLast(f.host, f.name) {
		lines = append(lines, "remove: the timer, which has nothing left to renew")
	}
	return append(lines, fmt.Sprintf("remove: profile %q", f.name))
}

// partsOf names what a kubeconfig has.
func partsOf(found kubeconfig.Forgotten) string {
	var parts []string
	for _, list := range []struct {
		kind  string
		names []string
	}{{"context", found.Contexts}, {"user", found.Users}, {"cluster", found.Clusters}} {
		for _, name := range list.names {
			parts = append(parts, fmt.Sprintf("%s %q", list.kind, name))
		}
	}
	current := ""
	if found.Current {
		current = ", which has no current context then"
	}
	return fmt.Sprintf("%s in %q%s", strings.Join(parts, ", "), found.File, current)
}

// Run removes all of it: contexts, what is in the store, the device's record, the profile. What
// cannot be removed does not keep it from the rest. The profile is the last one, so that a run that
// was interrupted is finished by another.
func (f *Forgetting) Run(ctx context.Context) error {
	release, err := f.lock(ctx)
	if err != nil {
		return err
	}
	defer release()
	f.removeContexts()
	if !f.isMissing {
		f.removeEntries(ctx)
		if ctx.Err() != nil {
			return prepare.ErrInterrupted
		}
		f.removeRecord()
		f.removeProfile(ctx)
		f.nameUnnamed()
		removeTimer(ctx, f.host, f.report)
	}
	if len(f.left) == 0 {
		return nil
	}
	return &leftError{fmt.Sprintf("not all of profile %q could be removed", f.name),
		append([]error{ErrLeft}, f.left...)}
}

// lock keeps other commands from changing the device, and reads again what they may have changed. A
// record that cannot be read has nothing that could be changed.
func (f *Forgetting) lock(ctx context.Context) (release func(), err error) {
	none := func() {}
	if f.profile == nil || f.recordName == "" {
		return none, nil
	}
	dir, err := call.Devices(f.host)
	if err != nil {
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, busyLimit)
	defer cancel()
	locked, err := dir.Lock(limited, *f.profile)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, prepare.ErrInterrupted
	case errors.Is(err, files.ErrBusy):
		return nil, err
	default:
		f.host.Log.Debug("locking the device record", "error", err)
		return none, nil
	}
	if err := f.readRecord(); err != nil {
		locked.Release()
		return nil, err
	}
	return locked.Release, nil
}

// remains remembers that something could not be removed, and says what.
func (f *Forgetting) remains(err error, format string, args ...any) {
	f.left = append(f.left, err)
	f.report(ui.Warning, fmt.Sprintf(format, args...)+": "+err.Error())
}

func (f *Forgetting) removeContexts() {
	for _, done := range kubeconfig.Forget(f.paths, f.name) {
		if done.Err == nil {
			f.step("%s: removed", partsOf(done))
			continue
		}
		f.remains(done.Err, "%q may still have contexts of profile %q", done.File, f.name)
		for _, line := range kubectlLines(done) {
			f.report(ui.Hint, "to remove it: "+line)
		}
		if len(done.Contexts)+len(done.Users)+len(done.Clusters) == 0 {
			f.report(ui.Hint, "once it can be read: "+
				ui.CommandLine(ui.Program, "forget", "--profile", f.name,
					"--kubeconfig", done.File))
		}
	}
}

// kubectlLines are the commands that do what could not be done here.
func kubectlLines(found kubeconfig.Forgotten) (lines []string) {
	add := func(verb string, names []string) {
		for _, name := range names {
			lines = append(lines, ui.CommandLine("kubectl", "config", verb, name,
				"--kubeconfig", found.File))
		}
	}
	add("delete-context", found.Contexts)
	add("delete-user", found.Users)
	add("delete-cluster", found.Clusters)
	return lines
}

// removeEntries forgets what is in the store. Profiles of one device share its bootstrap
// credential.
func (f *Forgetting) removeEntries(ctx context.Context) {
	if f.profile == nil || f.profile.Device != "" && f.record == nil {
		if err := session.ForgetGone(ctx, f.host, f.name); err != nil {
			f.remains(err, "what was kept for profile %q is not known", f.name)
		}
		return
	}
	devices := []*profile.Device{nil}
	if f.record != nil {
		devices = []*profile.Device{f.record.Current}
		for i := range f.record.Retired {
			devices = append(devices, &f.record.Retired[i])
		}
	}
	isUsed := f.keeps != "" && len(f.others) == 0 || // by whom is not known
		slices.ContainsFunc(f.others, func(p profile.Profile) bool {
			return p.Store == f.profile.Store
		})
	for _, d := range devices {
		s, err := session.With(ctx, f.host, *f.profile, d)
		if err == nil {
			err = s.Forget(ctx, !isUsed)
		}
		if err != nil {
			f.remains(err, "the store %q may still hold the token and the bootstrap "+
				"credential "+
				"of profile %q", f.profile.Store, f.name)
			return // the others fail alike
		}
	}
	f.step("store %q: holds nothing of profile %q any more", f.profile.Store, f.name)
}

func (f *Forgetting) removeRecord() {
	switch {
	case f.recordName == "":
		return
	case f.goesLater:
		return
	case f.keeps != "":
		f.step("device record %q: kept: %s", f.recordName, f.keeps)
		return
	}
	dir, err := call.Devices(f.host)
	if err == nil {
		f.nameDevices(f.record)
		err = dir.Remove(f.recordName)
	}
	if err != nil {
		f.remains(err, "device record %q is still there", f.recordName)
		return
	}
	f.step("device record %q: removed", f.recordName)
}

// nameDevices says how the devices of a record are ended in their cluster.
func (f *Forgetting) nameDevices(record *device.Record) {
	if record == nil || record.Revoked || f.isEnded {
		return
	}
	names := []string{record.Next}
	for _, d := range record.Retired {
		names = append(names, d.Name)
	}
	if record.Current != nil {
		names = append(names, record.Current.Name)
	}
	var flags []string
	if f.profile != nil {
		flags = f.profile.Origin.Flags()
	}
	for _, name := range names {
		if name == "" {
			continue
		}
		line := append([]string{ui.Program, "revoke", "--device", name,
			"--serviceaccount", record.ServiceAccount, "-n", record.Namespace},
			flags...)
		f.report(ui.Hint, fmt.Sprintf("the device %q, if it is still in the cluster %s, "+
			"can mint until it is ended: %s",
			record.Namespace+"/"+name, record.Cluster.Server, ui.CommandLine(line...)))
	}
}

// nameUnnamed names the records that may have been those of a profile that could not be read.
func (f *Forgetting) nameUnnamed() {
	dir, err := call.Devices(f.host)
	if err != nil || f.profile != nil || f.recordName != "" {
		return
	}
	for _, name := range dir.Names() {
		sharing, err := session.Sharing(f.host, name)
		if err == nil && len(sharing) > 0 {
			continue
		}
		f.report(ui.Warning, fmt.Sprintf("no profile that can be read names the device "+
			"record "+
			"%q; if it was this one's, remove it: %s", name, ui.CommandLine("rm",
			dir.Path(name))))
		if record, err := dir.Load(name); err == nil {
			f.nameDevices(&record)
		}
	}
}

func (f *Forgetting) removeProfile(ctx context.Context) {
	profiles, err := f.host.Profiles()
	if err == nil {
		err = removeProfile(ctx, profiles, f.name)
	}
	if err != nil {
		f.remains(err, "profile %q is still there", f.name)
		return
	}
	f.report(ui.Done, fmt.Sprintf("profile %q: removed", f.name))
}
