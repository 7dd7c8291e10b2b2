//go:build linux

package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
)

// contexts is a kubeconfig of administrators that log in through plugins.
type contexts struct {
	*machine
	config *clientcmdapi.Config
	path   string
	answer string // a file with the ExecCredential of an administrator
}

func newContexts(t *testing.T) *contexts {
	t.Helper()
	m := newMachine(t, keyring.Kernel, nil)
	admin, err := clientcmd.LoadFromFile(shared.plane.AdminKubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	user := admin.AuthInfos[admin.Contexts[admin.CurrentContext].AuthInfo]
	status := map[string]string{"clientCertificateData": string(user.ClientCertificateData),
		"clientKeyData": string(user.ClientKeyData)}
	answer, err := json.Marshal(map[string]any{"apiVersion": "client.authentication.k8s.io/v1",
		"kind": "ExecCredential", "status": status})
	if err != nil {
		t.Fatal(err)
	}
	c := &contexts{machine: m, config: clientcmdapi.NewConfig(), path: filepath.Join(m.home, "admins"),
		answer: filepath.Join(m.home, "answer")}
	if err := os.WriteFile(c.answer, answer, 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

// add makes a context whose plugin is an administrator when the script has ended well.
func (c *contexts) add(name, namespace, script string) {
	c.Helper()
	c.config.Clusters[name] = &clientcmdapi.Cluster{Server: c.server,
		CertificateAuthorityData: shared.plane.CAPEM}
	c.config.AuthInfos[name] = &clientcmdapi.AuthInfo{Exec: &clientcmdapi.ExecConfig{
		APIVersion:      "client.authentication.k8s.io/v1",
		InteractiveMode: clientcmdapi.IfAvailableExecInteractiveMode,
		Command:         "/bin/sh", Args: []string{"-ec", script + "\ncat " + c.answer}}}
	c.config.Contexts[name] = &clientcmdapi.Context{Cluster: name, AuthInfo: name,
		Namespace: namespace}
	if err := clientcmd.WriteToFile(*c.config, c.path); err != nil {
		c.Fatal(err)
	}
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
		c.add(name, fmt.Sprintf("%s-%d", c.namespace, i), `test "$`+variable+`" = yes`)
		c.asAdmin("create", "namespace", c.config.Contexts[name].Namespace)
		c.variables = append(c.variables, variable+"=yes")
	}
	for run := range runs {
		r := c.plugin("setup", account, "--all-contexts", "--kubeconfig", c.path,
			"--store", string(c.kind()), "--cluster-role", "view", "-o", filepath.Join(c.home, "out"),
			"--bootstrap", "context=context-0", "--bootstrap-env", "LOGIN_0",
			"--parallel", strconv.Itoa(1+run%count)) // fewer at once log in while others mint already
		if r.code != 0 || strings.Count(r.stdout, " ready") != count {
			t.Fatalf("run %d: exit code %d\n%s\n%s", run+1, r.code, r.stdout, r.stderr)
		}
	}
}

func TestALoginTakesLongerThanACall(t *testing.T) {
	t.Parallel()
	c := newContexts(t)
	c.add("slow", c.namespace, "sleep 15")
	r := c.plugin("devices", account, "--context", "slow", "--kubeconfig", c.path).succeeded(t)
	const want = `sa-exec-credential: login: waiting for the login of context "slow"`
	if strings.TrimSpace(r.stderr) != want {
		t.Errorf("said %q, want %q", r.stderr, want)
	}
}

func TestALoginAsksOnTheTerminal(t *testing.T) {
	t.Parallel()
	c := newContexts(t)
	c.add("asking", c.namespace, `printf 'Code: ' >&2; read -r code; test "$code" = 123456`)
	args := []string{"devices", account, "--context", "asking", "--kubeconfig", c.path}
	if code, shown := c.atTerminal("Code: ", "123456\n", args...); code != 0 {
		t.Errorf("exit code %d\n%s", code, shown)
	}
	code, shown := c.atTerminal("Code: ", "654321\n", args...)
	if code != 4 || !strings.Contains(shown, `context "asking"`) {
		t.Errorf("with a wrong answer: exit code %d\n%s", code, shown)
	}
	// The question goes unanswered where nobody sits at a terminal.
	if r := c.plugin(args...); r.code != 4 || r.stdout != "" {
		t.Errorf("without a terminal: exit code %d\n%s", r.code, r.stderr)
	}
}

// atTerminal runs the program under test at a terminal of its own, where a person answers a
// question.
func (m *machine) atTerminal(question, answer string, args ...string) (code int, shown string) {
	m.Helper()
	cmd := exec.Command(shared.plugin, args...)
	cmd.Env = m.env()
	terminal, err := pty.Start(cmd)
	if err != nil {
		m.Fatal(err)
	}
	defer terminal.Close()
	limit := time.AfterFunc(killAfter, func() { _ = cmd.Process.Kill() })
	defer limit.Stop()
	var screen bytes.Buffer
	for answered := false; err == nil; {
		if !answered && strings.HasSuffix(screen.String(), question) {
			answered = true
			if _, err := io.WriteString(terminal, answer); err != nil {
				m.Fatal(err)
			}
		}
		_, err = io.CopyN(&screen, terminal, 1) // fails when nobody has the terminal open any longer
	}
	_ = cmd.Wait() // how it ended is in its state
	code = cmd.ProcessState.ExitCode()
	ran := command{args: cmd.Args, env: cmd.Env}
	shared.seen.add(result{command: ran, stdout: screen.String(), code: code})
	return code, screen.String()
}
