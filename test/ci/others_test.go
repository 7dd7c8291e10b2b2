//go:build linux

package ci_test

import (
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

func TestAJobOfAzurePipelines(t *testing.T) {
	t.Parallel()
	job := lab.Jobs.AzureJob(t, "acme/app/deploy")
	r := newRunner(t, job.Variables(true), "azure:p://acme/app/deploy")
	r.setup("--bootstrap", "azure-pipelines", "--bootstrap-url",
		lab.Jobs.Where(lab.Azure)).Succeeds()
	r.pods().Succeeds()
	r.Variables = append(r.Variables, "SYSTEM_ACCESSTOKEN=")
	r.Plugin("token", "--profile", r.Profile).Fails(4,
		"map it into the step's env: SYSTEM_ACCESSTOKEN: $(System.AccessToken)")
}

// TestAJobOfGitLab has the ID token in a variable, and in a file as others have it.
func TestAJobOfGitLab(t *testing.T) {
	t.Parallel()
	const minter = "gitlab:project_path:acme/app:ref_type:branch:ref:main"
	job := lab.Jobs.GitLabJob(t, "acme/app", "main", audience)
	r := newRunner(t, []string{"KUBERNETES_TOKEN=" + job.Token()}, minter)
	r.setup("--bootstrap", "env=KUBERNETES_TOKEN", "--store", "none").Succeeds()
	r.pods().Succeeds()
	file := r.Write(r.Path("id-token"), job.Token())
	r.setup("--bootstrap", "token-file="+file, "--store", "none").Succeeds()
	r.pods().Succeeds()
	other := lab.Jobs.GitLabJob(t, "acme/app", "feature", audience)
	r.Write(file, other.Token())
	r.Plugin("token", "--profile", r.Profile).Fails(7, "forbidden")
}
