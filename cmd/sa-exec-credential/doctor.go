package main

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/bootstrap"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kuberc"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

const (
	// doctorWorkers is how many profiles are examined side by side.
	doctorWorkers = 8
	// doctorLimit bounds the examination of one profile: a bootstrap command, and a server that answers nothing.
	doctorLimit = bootstrap.CommandLimit + 3*mint.Deadline
)

// reportVersion names the shape of doctor -o json. It changes when a field changes its meaning or goes.
const reportVersion = "sa-exec-credential/v1"

type doctorCommand struct {
	Profile    string `placeholder:"NAME" help:"Check only this profile (default: all)."`
	Output     string `short:"o" enum:"table,json" default:"table" help:"table or json."`
	Kubeconfig string `placeholder:"FILE" help:"The kubeconfig whose contexts are checked (default: as kubectl)."`
}

// report is what -o json prints.
type report struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"` // Report
	Items      []finding `json:"items"`
}

// Run examines everything that can be wrong. What is broken makes the exit code that of the first failure; warnings do
// not.
func (c *doctorCommand) Run(ctx context.Context, env *environment) error {
	d, err := newDoctor(env, c.Kubeconfig, c.Profile)
	if err != nil {
		return err
	}
	// A profile's bootstrap context may replace the environment, so what is read of it is read now.
	page := pageFor(env)
	items := d.examineAll(ctx)
	if err := ctx.Err(); err != nil {
		return errInterrupted
	}
	result := page.render(items, d.names)
	if c.Output == "json" {
		encoded, err := json.MarshalIndent(report{APIVersion: reportVersion, Kind: "Report", Items: items}, "", "  ")
		if err != nil {
			return err
		}
		result = append(encoded, '\n')
	}
	if err := env.write(result); err != nil {
		return err
	}
	return firstFailure(items)
}

func firstFailure(items []finding) error {
	for _, item := range items {
		if item.Result == failed {
			return silentExit(item.code)
		}
	}
	return nil
}

// doctor is what all checks of one run share. Its fields are set before the first profile is examined.
type doctor struct {
	env       *environment
	folder    profile.Folder
	names     []string // profiles to examine
	only      bool     // one profile was named
	paths     []string // kubeconfig files
	self      string   // the path that setup would write into kubeconfigs; empty when unknown
	kuberc    string   // path of kubectl's preferences; empty when they are turned off
	policy    kuberc.Policy
	policyErr error
	uses      []kubeconfig.PluginContext
	usesErr   error
	stores    map[keyring.Kind]error // outcome of the round trip
	servers   map[string]func() greeting
}

func newDoctor(env *environment, file, name string) (*doctor, error) {
	folder, err := env.profiles()
	if err != nil {
		return nil, err
	}
	home, err := env.homeFolder()
	if err != nil {
		return nil, err
	}
	d := &doctor{env: env, folder: folder, names: []string{name}, only: name != ""}
	if d.only {
		err = profile.CheckName(name)
	} else {
		d.names, err = folder.Names()
	}
	if err != nil {
		return nil, err
	}
	if d.paths, err = env.kubeconfigPaths(file); err != nil {
		return nil, err
	}
	d.self, _ = pluginPath()
	d.uses, d.usesErr = kubeconfig.FindPluginContexts(d.paths)
	d.kuberc = kuberc.Path(env.getenv("KUBERC"), home)
	d.policy, d.policyErr = kuberc.ReadPolicy(d.kuberc)
	return d, nil
}

// examineAll returns what was found about the machine, then about each profile in turn.
func (d *doctor) examineAll(ctx context.Context) []finding {
	loaded := make([]loadedProfile, len(d.names))
	for i, name := range d.names {
		loaded[i].Profile, loaded[i].err = d.folder.Load(name)
	}
	items := d.examineMachine(ctx, loaded)
	d.servers = d.env.serversOf(ctx, loaded)
	for _, list := range d.examineProfiles(ctx, loaded) {
		items = append(items, list...)
	}
	return append(items, d.examineStrayContexts()...)
}

// loadedProfile is a profile, or why there is none.
type loadedProfile struct {
	profile.Profile
	err error
}

// examineProfiles examines side by side, except that profiles with a bootstrap context come last and one after the
// other: getting such a credential takes the environment of the whole process.
func (d *doctor) examineProfiles(ctx context.Context, loaded []loadedProfile) [][]finding {
	results := make([][]finding, len(loaded))
	progress := newProgress(d.env, max(len(loaded), 1))
	examine := func(i int) {
		progress.advance(d.names[i], func() { results[i] = d.examine(ctx, d.names[i], loaded[i]) })
	}
	sideBySide(len(loaded), doctorWorkers, func(i int) {
		if !loaded[i].takesEnvironment() {
			examine(i)
		}
	})
	for i := range loaded {
		if loaded[i].takesEnvironment() {
			restore := keepEnvironment()
			examine(i)
			restore()
		}
	}
	progress.finish()
	return results
}

func (l loadedProfile) takesEnvironment() bool { return l.Bootstrap.Source == profile.SourceContext }

// advance does work with the bar moving, where there is a bar.
func (p *progress) advance(name string, work func()) {
	if !p.bar {
		work()
		return
	}
	p.begin(name)
	work()
	p.end(outcome{context: name})
}

// result is the outcome of a check.
type result string

const (
	fine   result = "ok"
	warned result = "warning" // it works, but not as well as it could
	failed result = "failed"
)

// finding is the outcome of one check. A check that another's failure makes impossible is not listed.
type finding struct {
	Profile string `json:"profile"` // empty: about this machine
	Check   string `json:"check"`
	Result  result `json:"result"`
	Detail  string `json:"detail"`
	Mend    string `json:"mend,omitempty"` // what to do about it, a command wherever there is one
	code    int    // exit code of a failure
}

// found, doubt and failure make findings. Parts of what they say come from files and servers.
func found(check, format string, args ...any) finding {
	return finding{Check: check, Result: fine, Detail: printable(fmt.Sprintf(format, args...))}
}

func doubt(check, mend, format string, args ...any) finding {
	return finding{Check: check, Result: warned, Detail: printable(fmt.Sprintf(format, args...)), Mend: printable(mend)}
}

// failure takes the hint that the error would get elsewhere when there is no better mend.
func failure(check string, err error, mend string) finding {
	if mend == "" {
		mend = hintFor(err)
	}
	return finding{Check: check, Result: failed, Detail: printable(err.Error()), Mend: printable(mend), code: exitCode(err)}
}

// clockMend is what sets this machine's clock.
func clockMend() string {
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
