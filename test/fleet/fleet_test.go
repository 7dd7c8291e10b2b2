//go:build linux

// Package fleet_test sets up many contexts at once.
package fleet_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

func TestMain(m *testing.M) { lab.Main(m, lab.Options{}) }

// machine is a lab's machine of somebody with many clusters.
type machine struct{ *lab.Machine }

const fleetSize = 100

// TestAHundredContextsAreSetUpAndWhatWasInterruptedIsFinished interrupts one setup of all
// contexts twice, not politely and politely, and lets a third run finish it.
func TestAHundredContextsAreSetUpAndWhatWasInterruptedIsFinished(t *testing.T) {
	t.Parallel()
	m := &machine{lab.NewMachine(t, keyring.Keyring)}
	prefix := lab.Namespace()
	before := m.writeFleet(prefix, fleetSize)
	m.interruptedFleet(syscall.SIGKILL, 30)
	m.RestartKeyring()
	r := m.interruptedFleet(syscall.SIGINT, 60)
	if r.Code == 0 || !strings.Contains(r.Stdout+r.Stderr, "interrupted") {
		t.Errorf("after an interrupt: exit code %d\n%s\n%s", r.Code, r.Stdout, r.Stderr)
	}
	m.RestartKeyring()
	m.NoTokenInFiles()
	r = m.Follow(r, "setup ci --all-contexts")
	if got := strings.Count(r.Stdout, " ready\n"); got != fleetSize {
		t.Errorf("%d contexts are ready, want %d\n%s", got, fleetSize, r.Stdout)
	}
	m.checkFleet(prefix, before)
	m.coldCrowd(prefix)
}

// coldCrowd has a client of every profile come at once, when no profile has a token. All are
// answered, and all that they were answered with is kept.
func (m *machine) coldCrowd(prefix string) {
	m.Helper()
	m.Plugin("logout", "--all").Succeeds().Silent()
	if keys := m.StoreKeys(); len(keys) != fleetSize {
		m.Errorf("after logout the store holds %d entries, want %d", len(keys), fleetSize)
	}
	var wait sync.WaitGroup
	for i := range fleetSize {
		name := fmt.Sprintf("%s-%03d", prefix, i)
		wait.Go(func() {
			r := m.Plugin("token", "--profile", "ci."+name+"@cluster-"+name)
			if r.Code != 0 || r.Stderr != "" {
				m.Errorf("%s: exit code %d: %s", name, r.Code, r.Stderr)
			}
		})
	}
	wait.Wait()
	m.checkFleetStatus()
	if keys := m.StoreKeys(); len(keys) != 2*fleetSize {
		m.Errorf("the store holds %d entries, want %d", len(keys), 2*fleetSize)
	}
}

// writeFleet makes the user's kubeconfig: clusters of many names, each with a context that has a
// namespace.
func (m *machine) writeFleet(prefix string, size int) *clientcmdapi.Config {
	m.Helper()
	config := lab.LoadKubeconfig(m.T, m.Admin)
	context := config.Contexts[config.CurrentContext]
	cluster := config.Clusters[context.Cluster]
	config.Contexts, config.Clusters = map[string]*clientcmdapi.Context{},
		map[string]*clientcmdapi.Cluster{}
	for i := range size {
		name := fmt.Sprintf("%s-%03d", prefix, i)
		config.Clusters["cluster-"+name] = cluster
		config.Contexts["context-"+name] = &clientcmdapi.Context{Cluster: "cluster-" + name,
			AuthInfo: context.AuthInfo, Namespace: name}
	}
	config.CurrentContext = "context-" + prefix + "-000"
	m.WriteKubeconfig(m.Kubeconfig(), config)
	return m.LoadKubeconfig()
}

// interruptedFleet sends a signal once so many contexts are done.
func (m *machine) interruptedFleet(signal syscall.Signal, done int) lab.Result {
	m.Helper()
	setup := m.Command(lab.Plugin, "setup", "ci", "--all-contexts")
	after := fmt.Sprintf(" %d/%d ", done, fleetSize)
	var once sync.Once
	setup.Heard = func(setup *lab.Started) {
		if strings.Contains(setup.Stderr.String(), after) {
			once.Do(func() { setup.Signal(signal) })
		}
	}
	r := setup.Run(m.T)
	if !strings.Contains(r.Stderr, after) {
		m.Fatalf("setup never said %q:\n%s", after, r.Stderr)
	}
	return r
}

func (m *machine) checkFleet(prefix string, before *clientcmdapi.Config) {
	m.Helper()
	after := m.LoadKubeconfig()
	if len(after.Contexts) != 2*fleetSize {
		m.Errorf("the kubeconfig has %d contexts, want %d", len(after.Contexts),
			2*fleetSize)
	}
	for name, context := range before.Contexts {
		if !reflect.DeepEqual(after.Contexts[name], context) ||
			!reflect.DeepEqual(after.Clusters[context.Cluster],
				before.Clusters[context.Cluster]) {
			m.Errorf("context %q is not what it was", name)
		}
	}
	if after.CurrentContext != before.CurrentContext {
		m.Errorf("the current context is %q", after.CurrentContext)
	}
	for _, i := range []int{0, 29, 30, 59, fleetSize - 1} {
		name := fmt.Sprintf("%s-%03d", prefix, i)
		r := m.Kubectl("--context", "ci."+name+"@cluster-"+name, "auth",
			"whoami").Succeeds()
		lab.Has(m.T, "whoami", r.Stdout, "system:serviceaccount:"+name+":ci")
	}
	m.checkFleetStatus()
	if keys := m.StoreKeys(); len(keys) != 2*fleetSize {
		m.Errorf("the store holds %d entries, want %d", len(keys), 2*fleetSize)
	}
}

func (m *machine) checkFleetStatus() {
	m.Helper()
	var list struct {
		Items []struct {
			Profile          string
			Token, Bootstrap *struct{ State string }
			Error            string
		}
	}
	m.Decode(m.Plugin("status", "-o", "json"), &list)
	if len(list.Items) != fleetSize {
		m.Errorf("status lists %d profiles, want %d", len(list.Items), fleetSize)
	}
	for _, item := range list.Items {
		if item.Token == nil || item.Token.State != "fresh" || item.Bootstrap == nil ||
			item.Bootstrap.State != "fresh" || item.Error != "" {
			m.Errorf("status says of %q: %+v", item.Profile, item)
		}
	}
}

func TestOneContextThatFailsDoesNotStopTheOthers(t *testing.T) {
	t.Parallel()
	m := &machine{lab.NewMachine(t, keyring.Keyring)}
	prefix := lab.Namespace()
	config := m.writeFleet(prefix, fleetSize)
	chosen := []string{"context-" + prefix + "-001", "context-" + prefix + "-002", "context-" +
		prefix + "-003"}
	config.Clusters["cluster-"+prefix+"-002"].Server = "https://127.0.0.1:1"
	m.WriteKubeconfig(m.Kubeconfig(), config)
	r := m.Plugin("setup", "ci", "--context", "context-"+prefix+"-00[1-3]", "--parallel", "2")
	if r.Code != 5 {
		t.Errorf("exit code %d, want that of the one that failed, 5", r.Code)
	}
	lab.Has(t, "the end", r.Stderr, "1 of 3 contexts were not prepared", chosen[1])
	lines := strings.Split(strings.TrimSpace(r.Stdout), "\n")
	if len(lines) != 4 || !strings.HasPrefix(lines[2], chosen[1]) || !strings.Contains(lines[2],
		"error: ") ||
		slices.ContainsFunc([]int{1, 3}, func(i int) bool { return !strings.HasSuffix(lines[i], "ready") }) {
		t.Errorf("the table is\n%s", r.Stdout)
	}
}
