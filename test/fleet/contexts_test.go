//go:build linux

package fleet_test

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// contexts is a kubeconfig of administrators that log in through plugins.
type contexts struct {
	*lab.Machine
	config *clientcmdapi.Config
	path   string
	answer string // a file with the ExecCredential of an administrator
}

func newContexts(t *testing.T) *contexts {
	t.Helper()
	m := lab.NewMachine(t, keyring.Kernel)
	admin := lab.LoadKubeconfig(t, m.Admin)
	user := admin.AuthInfos[admin.Contexts[admin.CurrentContext].AuthInfo]
	status := map[string]string{"clientCertificateData": string(user.ClientCertificateData),
		"clientKeyData": string(user.ClientKeyData)}
	answer, err := json.Marshal(map[string]any{"apiVersion": "client.authentication.k8s.io/v1",
		"kind": "ExecCredential", "status": status})
	if err != nil {
		t.Fatal(err)
	}
	c := &contexts{Machine: m, config: clientcmdapi.NewConfig(), path: filepath.Join(m.Home,
		"admins"),
		answer: filepath.Join(m.Home, "answer")}
	m.Write(c.answer, string(answer))
	return c
}

// add makes a context whose plugin is an administrator when the script has ended well.
func (c *contexts) add(name, namespace, script string) {
	c.Helper()
	c.config.Clusters[name] = &clientcmdapi.Cluster{Server: c.Server,
		CertificateAuthorityData: lab.Plane.CAPEM}
	c.config.AuthInfos[name] = &clientcmdapi.AuthInfo{Exec: &clientcmdapi.ExecConfig{
		APIVersion:      "client.authentication.k8s.io/v1",
		InteractiveMode: clientcmdapi.IfAvailableExecInteractiveMode,
		Command:         "/bin/sh", Args: []string{"-ec", script + "\ncat " + c.answer}}}
	c.config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name,
		Namespace: namespace}
	c.WriteKubeconfig(c.path, c.config)
}

// The plugin of the bootstrap context gets an environment of its own, and those of the others keep
// the one of the command, whichever of them run at the same time.
func TestContextsWhosePluginsNeedDifferentVariables(t *testing.T) {
	t.Parallel()
	c := newContexts(t)
	const count, runs = 6, 20
	for i := range count {
		name := fmt.Sprintf("context-%d", i)
		variable := fmt.Sprintf("LOGIN_%d", i)
		c.add(name, fmt.Sprintf("%s-%d", c.Namespace, i), `test "$`+variable+`" = yes`)
		c.AsAdmin("create", "namespace", c.config.Contexts[name].Namespace)
		c.Variables = append(c.Variables, variable+"=yes")
	}
	for run := range runs {
		r := c.Plugin("setup", lab.Account, "--all-contexts", "--kubeconfig", c.path,
			"--store", string(c.Kind()), "--cluster-role", "view", "-o",
			filepath.Join(c.Home, "out"),
			"--bootstrap", "context=context-0", "--bootstrap-env", "LOGIN_0",
			// fewer at once log in while others mint already
			"--parallel", strconv.Itoa(1+run%count))
		if r.Code != 0 || strings.Count(r.Stdout, " ready") != count {
			t.Fatalf("run %d: exit code %d\n%s\n%s", run+1, r.Code, r.Stdout, r.Stderr)
		}
	}
}

func TestALoginTakesLongerThanACall(t *testing.T) {
	t.Parallel()
	c := newContexts(t)
	c.add("slow", c.Namespace, "sleep 15")
	r := c.Plugin("devices", lab.Account, "--context", "slow", "--kubeconfig",
		c.path).Succeeds()
	const want = `sa-exec-credential: login: waiting for the login of context "slow"`
	if strings.TrimSpace(r.Stderr) != want {
		t.Errorf("said %q, want %q", r.Stderr, want)
	}
}

func TestALoginAsksOnTheTerminal(t *testing.T) {
	t.Parallel()
	c := newContexts(t)
	c.add("asking", c.Namespace, `printf 'Code: ' >&2; read -r code; test "$code" = 123456`)
	args := []string{"devices", lab.Account, "--context", "asking", "--kubeconfig", c.path}
	answered := func(answer string) lab.Result {
		terminal := c.InTerminal(80, args...)
		terminal.See("Code: ")
		terminal.Type(answer)
		return terminal.End()
	}
	answered("123456\n").Succeeds()
	if r := answered("654321\n"); r.Code != 4 || !strings.Contains(r.Stdout, `context "asking"`) {
		t.Errorf("with a wrong answer: exit code %d\n%s", r.Code, r.Stdout)
	}
	// The question goes unanswered where nobody sits at a terminal.
	if r := c.Plugin(args...); r.Code != 4 || r.Stdout != "" {
		t.Errorf("without a terminal: exit code %d\n%s", r.Code, r.Stderr)
	}
}
