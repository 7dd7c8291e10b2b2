//go:build linux

package journeys_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

const fleetSize = 200

// TestTwoHundredContextsAreSetUpAndWhatWasInterruptedIsFinished interrupts one setup of all contexts twice, politely and
// not, and lets a third run finish it.
func TestTwoHundredContextsAreSetUpAndWhatWasInterruptedIsFinished(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	prefix := newNamespace()
	before := m.writeFleet(prefix)
	out, code := m.interruptedFleet(syscall.SIGINT, 60)
	if code == 0 || !strings.Contains(out, "interrupted") {
		t.Errorf("after an interrupt: exit code %d\n%s", code, out)
	}
	m.restartKeyring()
	m.interruptedFleet(syscall.SIGKILL, 120)
	m.restartKeyring()
	m.noSecretInFiles()
	r := m.run("setup", "ci", "--all-contexts").succeeds()
	if got := strings.Count(r.stdout, " ready\n"); got != fleetSize {
		t.Errorf("%d contexts are ready, want %d\n%s", got, fleetSize, r.stdout)
	}
	m.checkFleet(prefix, before)
}

// writeFleet makes the user's kubeconfig: clusters of many names, each with a context that has a namespace.
func (m *machine) writeFleet(prefix string) *clientcmdapi.Config {
	m.Helper()
	config, err := clientcmd.LoadFromFile(m.admin)
	if err != nil {
		m.Fatal(err)
	}
	context := config.Contexts[config.CurrentContext]
	cluster := config.Clusters[context.Cluster]
	config.Contexts, config.Clusters = map[string]*clientcmdapi.Context{}, map[string]*clientcmdapi.Cluster{}
	for i := range fleetSize {
		name := fmt.Sprintf("%s-%03d", prefix, i)
		config.Clusters["cluster-"+name] = cluster
		config.Contexts["context-"+name] = &clientcmdapi.Context{Cluster: "cluster-" + name, AuthInfo: context.AuthInfo, Namespace: name}
	}
	config.CurrentContext = "context-" + prefix + "-000"
	data, err := clientcmd.Write(*config)
	if err != nil {
		m.Fatal(err)
	}
	m.write(m.kubeconfig(), string(data))
	return m.loadKubeconfig()
}

func (m *machine) loadKubeconfig() *clientcmdapi.Config {
	m.Helper()
	config, err := clientcmd.Load([]byte(m.read(m.kubeconfig())))
	if err != nil {
		m.Fatal(err)
	}
	return config
}

// interruptedFleet sends a signal once so many contexts are done.
func (m *machine) interruptedFleet(signal os.Signal, done int) (output string, code int) {
	m.Helper()
	cmd := m.command(shared.plugin, "setup", "ci", "--all-contexts")
	stop := &signaller{cmd: cmd, signal: signal, after: fmt.Sprintf(" %d/%d ", done, fleetSize)}
	cmd.Stdout, cmd.Stderr = stop, stop
	timer := time.AfterFunc(hangs, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	cmd.WaitDelay = 10 * time.Second // a plugin of a killed setup may still hold the pipe
	_ = cmd.Run()
	if !stop.sent {
		m.Fatalf("setup never said %q:\n%s", stop.after, stop.out.String())
	}
	return stop.out.String(), cmd.ProcessState.ExitCode()
}

// signaller collects what a program prints and sends it a signal at a certain point.
type signaller struct {
	cmd    *exec.Cmd
	signal os.Signal
	after  string
	out    bytes.Buffer
	sent   bool
}

func (s *signaller) Write(data []byte) (int, error) {
	s.out.Write(data)
	if !s.sent && strings.Contains(s.out.String(), s.after) {
		s.sent = true
		_ = s.cmd.Process.Signal(s.signal)
	}
	return len(data), nil
}

func (m *machine) checkFleet(prefix string, before *clientcmdapi.Config) {
	m.Helper()
	after := m.loadKubeconfig()
	if len(after.Contexts) != 2*fleetSize {
		m.Errorf("the kubeconfig has %d contexts, want %d", len(after.Contexts), 2*fleetSize)
	}
	for name, context := range before.Contexts {
		if !reflect.DeepEqual(after.Contexts[name], context) || !reflect.DeepEqual(after.Clusters[context.Cluster], before.Clusters[context.Cluster]) {
			m.Errorf("context %q is not what it was", name)
		}
	}
	if after.CurrentContext != before.CurrentContext {
		m.Errorf("the current context is %q", after.CurrentContext)
	}
	for _, i := range []int{0, 59, 60, 119, fleetSize - 1} {
		name := fmt.Sprintf("%s-%03d", prefix, i)
		r := m.kubectl("ci."+name+"@cluster-"+name, "auth", "whoami").succeeds()
		has(m.T, "whoami", r.stdout, "system:serviceaccount:"+name+":ci")
	}
	m.checkFleetStatus()
	if keys := m.storeKeys(); len(keys) != 2*fleetSize {
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
	if err := json.Unmarshal([]byte(m.run("status", "-o", "json").succeeds().stdout), &list); err != nil {
		m.Fatal(err)
	}
	if len(list.Items) != fleetSize {
		m.Errorf("status lists %d profiles, want %d", len(list.Items), fleetSize)
	}
	for _, item := range list.Items {
		if item.Token == nil || item.Token.State != "fresh" || item.Bootstrap == nil || item.Bootstrap.State != "fresh" || item.Error != "" {
			m.Errorf("status says of %q: %+v", item.Profile, item)
		}
	}
}

func TestOneContextThatFailsDoesNotStopTheOthers(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	prefix := newNamespace()
	config := m.writeFleet(prefix)
	chosen := []string{"context-" + prefix + "-001", "context-" + prefix + "-002", "context-" + prefix + "-003"}
	config.Clusters["cluster-"+prefix+"-002"].Server = "https://127.0.0.1:1"
	data, err := clientcmd.Write(*config)
	if err != nil {
		t.Fatal(err)
	}
	m.write(m.kubeconfig(), string(data))
	r := m.run("setup", "ci", "--context", "context-"+prefix+"-00[1-3]", "--parallel", "2")
	if r.code != 5 {
		t.Errorf("exit code %d, want that of the one that failed, 5", r.code)
	}
	has(t, "the end", r.stderr, "1 of 3 contexts were not prepared", chosen[1])
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	if len(lines) != 4 || !strings.HasPrefix(lines[2], chosen[1]) || !strings.Contains(lines[2], "error: ") ||
		slices.ContainsFunc([]int{1, 3}, func(i int) bool { return !strings.HasSuffix(lines[i], "ready") }) {
		t.Errorf("the table is\n%s", r.stdout)
	}
}
