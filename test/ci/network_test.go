//go:build linux

package ci_test

import (
	"strings"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// TestAJobBehindAProxy has a name for the service that only the proxy can lead to.
func TestAJobBehindAProxy(t *testing.T) {
	t.Parallel()
	tunnel := lab.NewTunnel(t, strings.TrimPrefix(lab.Jobs.URL, "https://"))
	byName := func(text string) string {
		return strings.ReplaceAll(text, lab.Jobs.URL, "https://"+lab.IssuerHost)
	}
	job := lab.Jobs.GitHubJob(t, "acme/app", "push", lab.Branch)
	r := newRunner(t, nil, mainBranch)
	for _, setting := range job.Variables(true) {
		r.set(byName(setting))
	}
	flags := []string{"--bootstrap", "github-actions", "--bootstrap-audience", audience,
		"--bootstrap-url", byName(lab.Jobs.Where(lab.GitHub))}
	r.setup(flags...).Fails(5, "it is unreachable: its name cannot be resolved")
	r.set("HTTPS_PROXY=" + tunnel.URL)
	r.setup(flags...).Succeeds()
	r.pods().Succeeds()
	tunnel.LeadTo("127.0.0.1:1")
	r.Plugin("token", "--profile", r.Profile).Fails(5, "service for ID tokens fails")
}

// TestAnIssuerThatIsDown is about the keys that the API server asks it for. It is not parallel:
// nobody else's tokens are good meanwhile.
func TestAnIssuerThatIsDown(t *testing.T) {
	const minter = "gitlab:project_path:acme/app:ref_type:branch:ref:main"
	job := lab.Jobs.GitLabJob(t, "acme/app", "main", audience)
	r := newRunner(t, []string{"KUBERNETES_TOKEN=" + job.Token()}, minter)
	r.setup("--bootstrap", "env=KUBERNETES_TOKEN", "--store", "none").Succeeds()
	t.Cleanup(func() { lab.Jobs.SetDown(false) })
	lab.Jobs.SetDown(true)
	r.pods().Succeeds() // the API server has the keys
	lab.Jobs.Configure(t, authentication(lab.Jobs))
	r.Plugin("token", "--profile", r.Profile).Fails(4, "refused the bootstrap credential")
	lab.Jobs.SetDown(false)
	lab.Eventually(t, "the API server takes ID tokens again",
		func() bool { return r.pods().Code == 0 })
}
