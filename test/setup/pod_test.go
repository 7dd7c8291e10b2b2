//go:build linux

package setup_test

import (
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// pod is a pod whose account is allowed to view its namespace.
type pod struct{ *lab.Pod }

func newPod(t *testing.T, namespace string) *pod {
	t.Helper()
	p := &pod{lab.NewPod(newMachine(t).Machine, namespace, "worker")}
	p.AsAdmin("create", "rolebinding", "worker", "-n", namespace, "--clusterrole=view",
		"--serviceaccount="+namespace+":worker")
	return p
}

func TestAPodGetsAKubeconfigInOneCommand(t *testing.T) {
	t.Parallel()
	namespace := lab.Namespace()
	p := newPod(t, namespace)
	if r := p.Inside(nil, "/usr/bin/touch", "/etc/x"); r.Code == 0 {
		t.Fatal("the pod can write to its root")
	}
	home := "HOME=" + p.Writable
	r := p.Inside([]string{home}, lab.Plugin, "setup", "--bootstrap", "in-cluster").Succeeds()
	lab.Has(t, "the proof", r.Stdout, "It works.", mint.Username(namespace, "worker"),
		"the pod's mounted token")
	p.Inside([]string{home}, lab.Plane.Kubectl, "get", "pods").Succeeds()
	p.Inside([]string{home}, lab.Plane.Kubectl, "get", "secrets").Fails(1, "forbidden")
	if data := p.Read(filepath.Join(p.Writable, ".kube",
		"config")); lab.TokenIn(data) != "" {
		t.Error("the token is in the kubeconfig")
	}
}

func TestAPodUsesTheTokenThatKubeletHasReplaced(t *testing.T) {
	t.Parallel()
	namespace := lab.Namespace()
	p := newPod(t, namespace)
	home := "HOME=" + p.Writable
	p.Inside([]string{home}, lab.Plugin, "setup", "--bootstrap", "in-cluster", "--store",
		"none").Succeeds()
	first := p.credentialID(home)
	p.Mount(namespace)
	if second := p.credentialID(home); second == first || second == "" {
		t.Errorf("after the token was replaced its id is %q, was %q", second, first)
	}
}

// credentialID is which token kubectl has sent, in the API server's own words.
func (p *pod) credentialID(home string) string {
	p.Helper()
	var review struct {
		Status struct {
			UserInfo struct{ Extra map[string][]string }
		}
	}
	r := p.Inside([]string{home}, lab.Plane.Kubectl, "auth", "whoami", "-o", "json").Succeeds()
	if err := json.Unmarshal([]byte(r.Stdout), &review); err != nil {
		p.Fatal(err)
	}
	return strings.Join(review.Status.UserInfo.Extra["authentication.kubernetes.io/credential-id"], " ")
}

func TestAPodWithoutAnyPlaceToWriteToIsToldSo(t *testing.T) {
	t.Parallel()
	p := newPod(t, lab.Namespace())
	for _, home := range [][]string{nil, {"HOME=/"}, {"HOME=/nonexistent"}} {
		r := p.Inside(home, lab.Plugin, "setup", "--bootstrap", "in-cluster", "--store",
			"none")
		if r.Code == 0 || !strings.Contains(r.Stderr, "error: ") ||
			!strings.Contains(r.Stderr, "hint: ") {
			t.Errorf("%q: exit code %d\n%s", home, r.Code, r.Stderr)
		}
	}
}

func TestOutsideAPodInClusterSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.Variables = []string{"KUBERNETES_SERVICE_HOST=127.0.0.1"}
	m.Plugin("setup", "--bootstrap", "in-cluster").Fails(4, "is this a pod?",
		"automountServiceAccountToken")
}
