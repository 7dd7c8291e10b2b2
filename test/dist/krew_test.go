//go:build linux

package dist_test

import (
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// TestKrew has a real krew install the archive by the manifest, and does the main job as a plugin of
// kubectl's: what setup writes into the kubeconfig, and what is printed to be typed, has to work there.
func TestKrew(t *testing.T) {
	krew := filepath.Join("..", "bin", "krew")
	if _, err := os.Stat(krew); err != nil {
		t.Fatal("there is no krew: make dist-test builds it")
	}
	krew, err := filepath.Abs(krew)
	if err != nil {
		t.Fatal(err)
	}
	m := lab.NewMachine(t, keyring.Keyring)
	bin := m.Path(".krew", "bin")
	m.Variables = []string{"KREW_ROOT=" + m.Path(".krew"), "KREW_NO_UPGRADE_CHECK=1",
		"PATH=" + bin + ":" + filepath.Dir(lab.Plane.Kubectl) + ":/usr/bin:/bin"}
	m.Exec(krew, "install", "--manifest="+filepath.Join(dist(), "krew", program+".yaml"),
		"--archive="+one(t, "Archive", ".tar.gz").file()).Succeeds()

	m.Kubectl(program, "setup", lab.Account, "-n", m.Namespace, "--cluster-role", "view",
		"--kubeconfig", m.Admin, "--use-context").Succeeds()
	plugin := filepath.Join(bin, "kubectl-sa_exec_credential")
	lab.Has(t, "the kubeconfig", m.Read(m.Kubeconfig()), "command: "+strconv.Quote(plugin)+"\n")
	lab.Has(t, "kubectl", m.Kubectl("auth", "whoami").Succeeds().Silent().Stdout, m.Username())

	r := m.Kubectl(program, "token", "--profile", "missing").OneError(3)
	lab.Has(t, "the hint", r.Stderr, ": kubectl sa-exec-credential ")
	for _, hint := range lab.Hints(r.Stderr) {
		m.Exec("/bin/sh", "-c", hint).Succeeds()
	}
	m.Kubectl(program, "revoke", "--profile", m.Profile, "--kubeconfig", m.Admin).Succeeds()
}
