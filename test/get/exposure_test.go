//go:build linux

package get_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// TestNothingThatIsSaidOrPassedOnHoldsAToken only runs what the other tests do not. What is
// looked for, and where, is in the lab, which looks at the runs of all tests when they are over.
func TestNothingThatIsSaidOrPassedOnHoldsAToken(t *testing.T) {
	bothStores(t, func(t *testing.T, kind keyring.Kind) {
		m := newMachine(t, kind, nil)
		m.Prepare("-v")
		for _, args := range [][]string{{"status", "-o", "json"}, {"status", "-o", "yaml"},
			{"version"}, {"doctor"}, {"doctor", "-o", "json"},
			{"kubeconfig", "--profile", m.Profile}, {"completion", "bash"},
			{"--help"}} {
			m.Plugin(append([]string{"-v"}, args...)...).Succeeds()
		}
		for range 2 { // a hit, and after the logout a mint
			m.asClient("KUBERNETES_EXEC_INFO="+m.ExecInfo(), "-v", "get", "--profile",
				m.Profile).Token()
			isToken(m.Plugin("token", "-v", "--profile", m.Profile), "")
			isToken(m.Plugin("token", "-v", "--profile", m.Profile, "--header"),
				"Authorization: Bearer ")
			m.Kubectl("get", "pods", "-v=10").Succeeds()
			m.Plugin("logout", "-v", "--profile", m.Profile).Succeeds()
		}
		m.Plugin("logout", "-v", "--profile", m.Profile, "--bootstrap").Succeeds()
		m.asClient("KUBERNETES_EXEC_INFO="+m.ExecInfo(), "-v", "get", "--profile",
			m.Profile)
	})
}

// isToken fails the test unless the standard output is one token after what is expected before it.
func isToken(r lab.Result, before string) {
	r.T.Helper()
	rest, found := strings.CutPrefix(r.Succeeds().Stdout, before)
	if token := lab.TokenIn(rest); !found || token == "" || rest != token+"\n" {
		r.T.Errorf("%s: standard output is not %q and a token", r, before)
	}
}

// spy is put in the place of the plugin. It keeps its arguments and environment in a file, where
// the search in the end will look, and becomes the plugin. The watcher sees only some of the
// calls, this sees all.
const spy = `#!/bin/sh
tr '\0' '\n' </proc/$$/cmdline >>%[1]q
tr '\0' '\n' </proc/$$/environ >>%[1]q
exec %[2]q "$@"
`

func TestWhatKubectlHandsToThePluginHoldsNoToken(t *testing.T) {
	m := newMachine(t, keyring.Kernel, nil)
	m.Prepare()
	m.Forget()
	kubeconfig, kept := m.withSpy()
	m.Variables = []string{"KUBECONFIG=" + kubeconfig}
	for range 3 {
		m.Kubectl("get", "pods").Succeeds()
	}
	handed := m.Read(kept)
	for what, count := range map[string]int{"\n--profile\n": 3, "\nKUBERNETES_EXEC_INFO=": 3} {
		if found := strings.Count(handed, what); found != count {
			t.Errorf("%q is there %d times, not %d", what, found, count)
		}
	}
	if found := lab.Leak(handed); found != "" {
		t.Errorf("the arguments or the environment hold %s", found)
	}
}

// withSpy copies the kubeconfig, with the spy as the plugin.
func (m *machine) withSpy() (kubeconfig, kept string) {
	m.Helper()
	script := m.Path("spy")
	kept = script + ".kept"
	lab.WriteFile(m.T, script, fmt.Sprintf(spy, kept, lab.Client), 0o700)
	return m.withPlugin(script), kept
}

// withPlugin copies the kubeconfig, with another program as the plugin.
func (m *machine) withPlugin(program string) (kubeconfig string) {
	m.Helper()
	kubeconfig = m.Write(program+".kubeconfig", m.Read(m.Kubeconfig()))
	m.Replace(kubeconfig, lab.Client, program)
	return kubeconfig
}
