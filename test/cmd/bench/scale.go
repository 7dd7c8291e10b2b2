package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// Goals of work that grows.
const (
	setupGoal  = 100 // ms of a processor for a context
	logoutGoal = 2   // s for 500 profiles
)

// contextsVariable replaces the numbers of contexts that are set up at once, such as "10 200 1000".
const contextsVariable = "BENCH_CONTEXTS"

// fleetSizes are how many contexts are set up at once.
func fleetSizes() (sizes []int, err error) {
	for text := range strings.FieldsSeq(cmp.Or(os.Getenv(contextsVariable), "10 50 200")) {
		count, err := strconv.Atoi(text)
		if err != nil || count < 1 {
			return nil, fmt.Errorf("invalid %s %q", contextsVariable, text)
		}
		sizes = append(sizes, count)
	}
	slices.Sort(sizes)
	return slices.Compact(sizes), nil
}

// fleet is a machine of somebody with many clusters, and what it costs him.
type fleet struct {
	*bench
	size int

	wall, processor        time.Duration // of setup, for a context
	status, doctor, logout time.Duration
	hit                    time.Duration // of the client that names its profile
	crowds                 []crowdOutcome
}

// crowdOutcome is what has come of processes that begin at once, each with another profile and none
// with a token.
type crowdOutcome struct {
	processes       int
	last            time.Duration // how long the slowest takes
	failed, notKept int
}

// scale measures what grows with contexts, profiles and processes, and publishes it after each
// size: a large one takes long, and may fail.
func (b *bench) scale(load string) error {
	sizes, err := fleetSizes()
	if err != nil {
		return err
	}
	var fleets []*fleet
	for _, size := range sizes {
		f := &fleet{bench: b, size: size}
		if err := b.apart(f.measure); err != nil {
			return fmt.Errorf("%d contexts: %w", size, err)
		}
		fleets = append(fleets, f)
		if err := publish(fleets, load); err != nil {
			return err
		}
	}
	return nil
}

// apart runs something while there are no other profiles. The directory stays the same: where it is,
// the plugin takes from what its client was started with, and not from what it is given itself.
func (b *bench) apart(run func() error) error {
	own := filepath.Join(b.dir, program)
	aside := own + ".others"
	if err := os.Rename(own, aside); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	err := errors.Join(run(), os.RemoveAll(own))
	if back := os.Rename(aside, own); !errors.Is(back, os.ErrNotExist) {
		err = errors.Join(err, back)
	}
	return err
}

func (f *fleet) measure() error {
	say("setting up %d contexts", f.size)
	if err := f.writeKubeconfig(); err != nil {
		return err
	}
	took, state, err := f.timed("setup", "ci", "--all-contexts", "--store", "keyring",
		"--cluster-role", "view")
	if err != nil {
		return err
	}
	count := time.Duration(f.size)
	f.wall = took / count
	f.processor = (state.UserTime() + state.SystemTime()) / count
	for _, command := range []struct {
		args []string
		took *time.Duration
	}{{[]string{"status"}, &f.status}, {[]string{"doctor"}, &f.doctor},
		{[]string{"logout", "--all"}, &f.logout}} {
		if *command.took, _, err = f.timed(command.args...); err != nil {
			return err
		}
	}
	if err := f.measureHit(); err != nil {
		return err
	}
	for _, processes := range []int{1, 10, 100, 200} {
		if processes > f.size {
			break
		}
		outcome, err := f.cold(processes)
		if err != nil {
			return err
		}
		f.crowds = append(f.crowds, outcome)
	}
	// What is left would be taken for that of profiles that are gone, by the logout of the next size.
	_, _, err = f.timed("logout", "--all", "--bootstrap")
	return err
}

// writeKubeconfig makes contexts of many clusters, which are the same API server, each with a
// namespace of its own.
func (f *fleet) writeKubeconfig() error {
	config, err := clientcmd.LoadFromFile(f.plane.AdminKubeconfig)
	if err != nil {
		return err
	}
	context := config.Contexts[config.CurrentContext]
	cluster := config.Clusters[context.Cluster]
	config.Contexts, config.Clusters = map[string]*clientcmdapi.Context{},
		map[string]*clientcmdapi.Cluster{}
	for i := range f.size {
		name := f.name(i)
		config.Clusters["cluster-"+name] = cluster
		config.Contexts["context-"+name] = &clientcmdapi.Context{Cluster: "cluster-" + name,
			AuthInfo: context.AuthInfo, Namespace: name}
	}
	path := filepath.Join(f.dir, ".kube", "config")
	return errors.Join(os.MkdirAll(filepath.Dir(path), 0o700),
		clientcmd.WriteToFile(*config, path))
}

func (f *fleet) name(i int) string { return fmt.Sprintf("of-%d-%d", f.size, i) }

func (f *fleet) profile(i int) string {
	return profile.DefaultName("ci", f.name(i), "cluster-"+f.name(i))
}

func (f *fleet) timed(args ...string) (time.Duration, *os.ProcessState, error) {
	command := f.plugin(args...)
	began := time.Now()
	output, err := command.CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", args[0], err, tail(output))
	}
	return time.Since(began), command.ProcessState, err
}

// tail is the end of what a command has said.
func tail(output []byte) string {
	lines := strings.Split(strings.TrimSpace(string(output)), "\n")
	return strings.Join(lines[max(0, len(lines)-5):], "\n")
}

// get runs a client of a profile.
func (f *fleet) get(i int) *exec.Cmd {
	return f.call("get", "--profile", f.profile(i))
}

// hits is how often a hit is measured.
const hits = 50

func (f *fleet) measureHit() error {
	s := &subject{name: "hit", command: func() *exec.Cmd { return f.get(0) }}
	for range hits + 1 {
		if err := s.run(); err != nil {
			return err
		}
	}
	s.took = s.took[1:] // the first mints
	f.hit = s.median()
	return nil
}

// cold starts clients of different profiles that have no token.
func (f *fleet) cold(processes int) (outcome crowdOutcome, err error) {
	outcome.processes = processes
	if _, _, err := f.timed("logout", "--all"); err != nil {
		return outcome, err
	}
	took, failed := make([]time.Duration, processes), make([]bool, processes)
	complaints := make([]bytes.Buffer, processes)
	var wait sync.WaitGroup
	start := make(chan struct{})
	for i := range processes {
		command := f.get(i)
		command.Stderr = &complaints[i]
		wait.Go(func() {
			<-start
			began := time.Now()
			output, err := command.Output()
			took[i] = time.Since(began)
			failed[i] = err != nil || len(output) == 0
		})
	}
	close(start)
	wait.Wait()
	outcome.last = slices.Max(took)
	for i, has := range failed {
		if has {
			outcome.failed++
			say("a client failed: %s", tail(complaints[i].Bytes()))
		}
	}
	kept, err := f.kept()
	outcome.notKept = processes - outcome.failed - kept
	return outcome, err
}

// kept counts the profiles that have a token.
func (f *fleet) kept() (count int, err error) {
	output, err := f.plugin("status", "-o", "json").Output()
	if err != nil {
		return 0, err
	}
	var list struct {
		Items []struct{ Token *struct{ State string } }
	}
	if err := json.Unmarshal(output, &list); err != nil {
		return 0, err
	}
	for _, item := range list.Items {
		if item.Token != nil {
			count++
		}
	}
	return count, nil
}
