//go:build linux

package ci_test

import (
	"strings"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// The administrator's machine and the job's have nothing in common but a file that is no secret.

// invites prints an invitation for jobs that the cluster calls so, and returns the file.
func invites(t *testing.T, namespace, minter string, flags ...string) (block string) {
	t.Helper()
	m := lab.NewMachine(t, keyring.Kernel)
	r := m.Plugin(append([]string{"invite", lab.Account, "-n", namespace, "--cluster-role",
		"view",
		"--for", "ci", "--kubeconfig", m.Admin, "--minter-user", minter},
		flags...)...).Succeeds()
	return r.Stdout
}

// joins is a runner whose job has joined with an invitation that is in its repository.
func joins(t *testing.T, block string, variables []string, flags ...string) *runner {
	t.Helper()
	r := &runner{lab.NewMachine(t, keyring.Kernel)}
	r.Variables = append([]string{"SSL_CERT_FILE=" + lab.Jobs.CAFile}, variables...)
	r.Write(r.Path("ci.invitation"), block)
	joined := r.Plugin(append([]string{"join", "ci.invitation", "-o", r.kubeconfig()},
		flags...)...)
	joined.Succeeds()
	for line := range strings.Lines(joined.Stdout) {
		if name, found := strings.CutPrefix(strings.TrimSpace(line), "profile "); found {
			r.Profile = strings.TrimSpace(name)
		}
	}
	return r
}

func TestJobsJoinWithAnInvitationThatIsCommitted(t *testing.T) {
	t.Parallel()
	gitlab := lab.Jobs.GitLabJob(t, "acme/app", "main", audience)
	for _, test := range []struct {
		name, minter string
		job          *lab.Job
		invite, join []string
		variables    []string
	}{
		{name: "GitHub Actions", minter: mainBranch,
			job: lab.Jobs.GitHubJob(t, "acme/app", "push", lab.Branch),
			invite: []string{"--bootstrap", "github-actions", "--bootstrap-audience",
				audience,
				"--bootstrap-url", lab.Jobs.Where(lab.GitHub)}},
		{name: "Azure Pipelines", minter: "azure:p://acme/app/deploy",
			job: lab.Jobs.AzureJob(t, "acme/app/deploy"),
			invite: []string{"--bootstrap", "azure-pipelines", "--bootstrap-url",
				lab.Jobs.Where(lab.Azure)}},
		{name: "GitLab CI", minter: "gitlab:project_path:acme/app:ref_type:branch:ref:main",
			job: gitlab, invite: []string{"--bootstrap", "env=KUBERNETES_TOKEN"},
			join:      []string{"--bootstrap", "env=KUBERNETES_TOKEN"},
			variables: []string{"KUBERNETES_TOKEN=" + gitlab.Token()}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			namespace := lab.Namespace()
			block := invites(t, namespace, test.minter, test.invite...)
			r := joins(t, block, append(test.job.Variables(true), test.variables...),
				test.join...)
			r.pods().Succeeds()
			// again, as the next job does
			joins(t, block, append(test.job.Variables(true), test.variables...),
				test.join...).pods().Succeeds()
			// the device ends what all of them have
			lab.NewMachine(t, keyring.Kernel).Plugin("revoke", "--device", "ci",
				"--serviceaccount", lab.Account, "-n", namespace, "--kubeconfig",
				r.Admin).Succeeds()
			r.pods().Fails(1)
		})
	}
}
