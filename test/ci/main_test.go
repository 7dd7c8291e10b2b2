//go:build linux

// Package ci_test is about jobs of CI systems, which mint with the ID token that says who they
// are: real ones but for who signs it.
package ci_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

func TestMain(m *testing.M) {
	lab.Main(m, lab.Options{OwnPlane: true, Authentication: authentication,
		Helpers: map[string]func([]string) int{"minutes": minutesMain,
			"client": clientMain}})
}

// audience is whom the ID tokens are for that the cluster takes.
const audience = "k8s"

// authentication is what the API server starts with: everybody is whom their system says.
func authentication(i *lab.Issuer) string {
	text := "apiVersion: apiserver.config.k8s.io/v1\nkind: AuthenticationConfiguration\njwt:\n"
	for system, audience := range map[string]string{lab.GitHub: audience, lab.GitLab: audience,
		lab.Azure: "api://AzureADTokenExchange"} {
		text += "- issuer: {url: '" + i.Of(system) + "', audiences: ['" + audience +
			"']}\n" +
			"  claimMappings: {username: {claim: sub, prefix: '" + system + ":'}}\n"
	}
	return text
}

// runner is a machine that is there for one job, with nothing but the address of the cluster.
type runner struct{ *lab.Machine }

// newRunner makes one for a job of an account's. The account is there, with a right to read pods,
// and so is what the cluster calls the job, with the right to mint for it.
func newRunner(t *testing.T, variables []string, minter string) *runner {
	t.Helper()
	r := &runner{lab.NewMachine(t, keyring.Kernel)}
	n := r.Namespace
	r.AsAdmin("create", "namespace", n)
	r.AsAdmin("create", "serviceaccount", lab.Account, "-n", n)
	r.AsAdmin("create", "rolebinding", "view", "-n", n, "--clusterrole=view",
		"--serviceaccount="+n+":"+lab.Account)
	r.AsAdmin("create", "role", "minter", "-n", n, "--verb=create",
		"--resource=serviceaccounts/token", "--resource-name="+lab.Account)
	r.AsAdmin("create", "rolebinding", "minter", "-n", n, "--role=minter", "--user="+minter)
	r.Write(r.Kubeconfig(), strings.Join([]string{"apiVersion: v1", "kind: Config",
		"current-context: prod",
		"clusters: [{name: prod, cluster: {server: '" + r.Server +
			"', certificate-authority: '" +
			lab.Plane.CAFile + "'}}]",
		"contexts: [{name: prod, context: {cluster: prod}}]", ""}, "\n"))
	r.Variables = append([]string{"RUNNER_TEMP=" + r.Path("tmp"),
		"SSL_CERT_FILE=" + lab.Jobs.CAFile}, variables...)
	return r
}

// kubeconfig is what the job's commands have.
func (r *runner) kubeconfig() string { return filepath.Join(r.Path("tmp"), "kubeconfig") }

// setup is the job's own step.
func (r *runner) setup(flags ...string) lab.Result {
	r.Helper()
	return r.Plugin(append([]string{"setup", lab.Account, "-n", r.Namespace, "--no-rbac",
		"--profile", r.Profile, "--use-context", "-o", r.kubeconfig()}, flags...)...)
}

// pods is the job's other step.
func (r *runner) pods() lab.Result {
	r.Helper()
	return r.Kubectl("--kubeconfig", r.kubeconfig(), "--context", r.Profile, "get", "pods")
}
