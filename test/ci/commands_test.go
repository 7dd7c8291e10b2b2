//go:build linux

package ci_test

import (
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// TestTheOtherCommandsInAJob are those that a person types to see what is wrong.
func TestTheOtherCommandsInAJob(t *testing.T) {
	t.Parallel()
	job := lab.Jobs.GitHubJob(t, "acme/app", "push", lab.Branch)
	block := invites(t, lab.Namespace(), mainBranch, "--bootstrap", "github-actions",
		"--bootstrap-audience", audience, "--bootstrap-url", lab.Jobs.Where(lab.GitHub))
	r := joins(t, block, job.Variables(true))
	lab.Has(t, "status", r.Plugin("status").Succeeds().Stdout, "github-actions")
	lab.Has(t, "doctor", r.Plugin("doctor").Succeeds().Stdout,
		"accepted as "+mainBranch+", from github-actions", "Nothing is wrong")
	job.Set(map[string]any{"iss": lab.Jobs.Of("other")})
	doctor := func(says string) {
		t.Helper()
		found := r.Plugin("doctor")
		if found.Code != 4 {
			t.Errorf("exit code %d", found.Code)
		}
		lab.Has(t, "doctor", found.Stdout, "failed   bootstrap", says)
	}
	doctor("fix: the cluster's authentication configuration has to take the issuer")
	again := func(says string) {
		t.Helper()
		r.Plugin("join", "ci.invitation", "-o", r.Path("other"), "--profile",
			"other").Fails(4, says)
		if r.Exec("test", "-e", r.Path("other")).Code == 0 {
			t.Error("a join that failed has left a kubeconfig")
		}
	}
	again("has to take the issuer")
	r.Variables = r.Variables[:1]
	doctor("fix: this profile mints in jobs of that CI system and nowhere else")
	again("this profile mints in jobs of that CI system and nowhere else")
	r.Plugin("forget", "--profile", r.Profile, "--kubeconfig", r.kubeconfig()).Succeeds()
}
