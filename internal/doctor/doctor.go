// Package doctor checks everything that can be wrong with this machine and its profiles, and names
// what fixes it.
//
// It prints nothing and knows no exit codes: it returns findings. What an error's hint is, it is
// told.
package doctor

import (
	"context"
	"fmt"
	"runtime"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/bootstrap"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kuberc"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/parallel"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/session"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

const (
	// workers is how many profiles are examined at once.
	workers = 8
	// profileLimit bounds the examination of one profile: a bootstrap command, and a server
	// that answers nothing.
	profileLimit = bootstrap.CommandLimit + 3*mint.Deadline
	// staleLock is the age at which a kubeconfig's lock has no holder any more: a change takes
	// milliseconds.
	staleLock = time.Minute
)

// Options say what is examined, and how what it finds is told.
type Options struct {
	Profile    string // only this one; empty: all
	Kubeconfig string // a file that was named; empty: as kubectl
	// Hint is what an error is answered with elsewhere. It is asked where a check knows
	// nothing better.
	Hint func(profile string, err error) string

	Fix    bool      // what can be fixed on this machine alone, and look again
	Yes    bool      // do not ask before
	Report ui.Report // what is fixed
}

func (o Options) check(h *host.Host) error {
	switch {
	case o.Yes && !o.Fix:
		return ui.Usagef("--yes goes with --fix")
	case o.Fix && !o.Yes && !h.IsInteractive():
		return ui.Usagef("--fix asks first, and there is no terminal to answer at; to go on " +
			"without that: --yes")
	}
	return nil
}

// Result is the outcome of a check.
type Result string

// The outcomes of a check.
const (
	OK      Result = "ok"
	Warning Result = "warning" // it works, but not as well as it could
	Failed  Result = "failed"
)

// Finding is the outcome of one check. A check that another's failure makes impossible is not
// listed.
type Finding struct {
	Profile string `json:"profile"` // empty: about this machine
	Check   string `json:"check"`
	Result  Result `json:"result"`
	Detail  string `json:"detail"`
	// what to do about it, a command wherever there is one
	Fix string `json:"fix,omitempty"`
	// Local says that doctor --fix fixes it: nothing but this machine is touched.
	Local bool  `json:"local,omitempty"`
	Err   error `json:"-"` // of a failure

	repair *repair // where Local
}

// Run examines everything that can be wrong, first about the machine, then about each profile in
// turn, and once more where something was fixed. names are the profiles that were examined.
func Run(ctx context.Context, h *host.Host, o Options) (findings []Finding, names []string,
	err error) {
	if err := o.check(h); err != nil {
		return nil, nil, err
	}
	findings, names, err = examine(ctx, h, o)
	if err != nil || !o.Fix || ctx.Err() != nil {
		return findings, names, err
	}
	fixing := Fixing{Report: o.Report}
	if !o.Yes {
		fixing.Ask = func(question string) (bool, error) { return h.Ask(ctx, question) }
	}
	if done, err := fixing.Fix(ctx, findings); err != nil || done == 0 {
		return findings, names, err
	}
	return examine(ctx, h, o)
}

func examine(ctx context.Context, h *host.Host, o Options) (findings []Finding, names []string,
	err error) {
	d, err := newDoctor(h, o)
	if err != nil {
		return nil, nil, err
	}
	return d.examineAll(ctx), d.names, nil
}

// doctor is what all checks of one run share. Its fields are set before the first profile is
// examined.
type doctor struct {
	host      *host.Host
	options   Options
	profiles  profile.Dir
	names     []string // profiles to examine
	paths     []string // kubeconfig files
	kuberc    string   // path of kubectl's preferences; empty when they are turned off
	policy    kuberc.Policy
	policyErr error
	contexts  []kubeconfig.PluginContext
	contErr   error             // why contexts could not be listed
	stores    map[storeOf]error // outcome of the round trip
	servers   map[string]func() serverStatus
	outputs   map[string]func() []kubeconfig.PluginContext // of files that setup was told to write
}

func newDoctor(h *host.Host, o Options) (*doctor, error) {
	profiles, err := h.Profiles()
	if err != nil {
		return nil, err
	}
	d := &doctor{host: h, options: o, profiles: profiles, names: []string{o.Profile}}
	if o.Profile != "" {
		err = profile.CheckName(o.Profile)
	} else {
		d.names, err = profiles.Names()
	}
	if err != nil {
		return nil, err
	}
	if d.paths, err = h.SourcePaths(o.Kubeconfig); err != nil {
		return nil, err
	}
	if d.kuberc, err = h.KubercPath(); err != nil {
		return nil, err
	}
	d.contexts, d.contErr = kubeconfig.FindPluginContexts(d.paths)
	for i, use := range d.contexts {
		// one that leads to no profile is of none
		d.contexts[i].Profile, _ = session.ProfileOf(h, use)
	}
	d.policy, d.policyErr = kuberc.ReadPolicy(d.kuberc)
	return d, nil
}

func (d *doctor) examineAll(ctx context.Context) []Finding {
	loaded := make([]loadedProfile, len(d.names))
	parallel.ForEach(len(loaded), workers, func(i int) {
		loaded[i].Profile, loaded[i].err = d.profiles.Load(d.names[i])
	})
	items := d.examineMachine(ctx, loaded)
	d.servers = serversOf(ctx, d.host, loaded)
	d.outputs = outputsOf(loaded, d.paths)
	results := make([][]Finding, len(loaded))
	parallel.ForEach(len(loaded), workers, func(i int) {
		results[i] = d.examine(ctx, d.names[i], loaded[i])
	})
	for _, list := range results {
		items = append(items, list...)
	}
	return append(items, d.examineStrayContexts()...)
}

// loadedProfile is a profile, or why there is none.
type loadedProfile struct {
	profile.Profile
	err error
}

// ok, warn and fail create findings. Parts of what they say come from files and servers.
func ok(check, format string, args ...any) Finding {
	return Finding{Check: check, Result: OK, Detail: ui.Printable(fmt.Sprintf(format, args...))}
}

func warn(check, fix, format string, args ...any) Finding {
	return Finding{Check: check, Result: Warning, Detail: ui.Printable(fmt.Sprintf(format,
		args...)), Fix: ui.Printable(fix)}
}

// fail takes the hint that the error gets elsewhere when there is no better fix.
func (d *doctor) fail(check string, err error, fix string) Finding {
	return d.failOf("", check, err, fix)
}

// failOf is fail for a profile, which the hint may be about.
func (d *doctor) failOf(profile, check string, err error, fix string) Finding {
	if fix == "" {
		fix = d.options.Hint(profile, err)
	}
	err = d.host.Located(err)
	return Finding{Check: check, Result: Failed, Detail: ui.Printable(err.Error()),
		Fix: ui.Printable(fix), Err: err}
}

// clockFix is what sets this machine's clock.
func clockFix() string {
	switch runtime.GOOS {
	case "darwin":
		return "sudo sntp -sS time.apple.com"
	case "windows":
		return "w32tm /resync"
	}
	return "sudo timedatectl set-ntp true"
}

// roughly is a duration without the part that nobody reads.
func roughly(d time.Duration) time.Duration {
	switch {
	case d < time.Second:
		return d.Round(100 * time.Microsecond)
	case d < time.Minute:
		return d.Round(10 * time.Millisecond)
	}
	return d.Round(time.Second)
}
