//go:build linux

package setup_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

func TestJenkinsGetsItsKubeconfigInOneCommand(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	file := m.Path("jenkins.kubeconfig")
	r := m.Setup("jenkins", "-n", "automation", "--verb", "get,list,watch,create,update,delete",
		"--resource", "pods,services,configmaps,secrets", "-o", file).Succeeds()
	lab.Has(t, "the proof", r.Stdout, "It works.", "system:serviceaccount:automation:jenkins",
		"get, list, watch, create, update, delete")
	m.Exec(lab.Plane.Kubectl, "--kubeconfig", file, "get", "pods").Succeeds()
	m.Exec(lab.Plane.Kubectl, "--kubeconfig", file, "create", "configmap", "one").Succeeds()
	m.Exec(lab.Plane.Kubectl, "--kubeconfig", file, "delete", "configmap", "one").Succeeds()
	m.Exec(lab.Plane.Kubectl, "--kubeconfig", file, "get", "pods", "-n", "default").Fails(1,
		"forbidden")
	m.Exec(lab.Plane.Kubectl, "--kubeconfig", file, "patch", "configmap", "kube-root-ca.crt",
		"-p", "{}").Fails(1, "forbidden")
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the kubeconfig is not for its owner alone: %v %v", info.Mode(), err)
	}
	if _, err := os.Stat(m.Kubeconfig()); err == nil {
		t.Error("the user's own kubeconfig was written, too")
	}
}

// apiServiceResources are what the manual lists, group by group.
const apiServiceResources = "componentstatuses,configmaps,daemonsets.apps,deployments.apps,events,endpoints," +
	"horizontalpodautoscalers.autoscaling,ingresses.networking.k8s.io,jobs.batch,limitranges,namespaces,nodes,pods," +
	"persistentvolumes,persistentvolumeclaims,resourcequotas,replicasets.apps,replicationcontrollers,serviceaccounts," +
	"services,cronjobs.batch,statefulsets.apps,poddisruptionbudgets.policy"

func TestAnAPIServiceAccountReadsAndWritesInAllNamespaces(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.Setup("api-service-account", "-n", "devops-tools", "--cluster-wide", "--profile", "api",
		"--verb", "get,list,watch,create,update,patch,delete", "--resource",
		apiServiceResources).Succeeds()
	for question, answer := range map[string]string{
		"list namespaces": "yes", "create deployments.apps -n default": "yes",
		"delete pods -n kube-system":         "yes",
		"create cronjobs.batch -n default":   "yes",
		"get poddisruptionbudgets.policy -A": "yes",
		"list secrets -n default":            "no", "create clusterrolebindings": "no",
		"impersonate users": "no",
	} {
		r := m.Kubectl(append([]string{"--context", "api", "auth", "can-i"},
			strings.Fields(question)...)...)
		if got := strings.TrimSpace(r.Stdout); got != answer {
			t.Errorf("can-i %s: %q, want %q\n%s", question, got, answer, r.Stderr)
		}
	}
	header := m.Plugin("token", "--profile", "api", "--header").Succeeds().Stdout
	var list struct {
		Items []struct{ Metadata struct{ Name string } }
	}
	if err := json.Unmarshal([]byte(m.curl(header, "/api/v1/namespaces").Stdout),
		&list); err != nil || len(list.Items) < 4 {
		t.Errorf("curl listed %v (%v)", list, err)
	}
}

// curl asks with the header as the manual does. The header is in a file here, so that no other
// process sees it.
func (m *machine) curl(header, path string) lab.Result {
	m.Helper()
	file := m.Write(filepath.Join(m.TempDir(), "header"), header)
	return m.Exec("curl", "-sSf", "--cacert", lab.Plane.CAFile, "-H", "@"+file,
		lab.Plane.Server+path).Succeeds()
}
