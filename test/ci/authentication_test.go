//go:build linux

package ci_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// parts are those of a dry run: what kubectl applies, what a client reads (by setup), and what the
// API server reads.
func parts(t *testing.T, printed string) (manifests, kubeconfig, authentication string) {
	t.Helper()
	rest, authentication, found := strings.Cut(printed, "---\n# For the API server: ")
	if !found {
		t.Fatalf("there is nothing for the API server:\n%s", printed)
	}
	manifests, kubeconfig, _ = strings.Cut(rest, "---\n# For the client: ")
	return manifests, kubeconfig, "# " + authentication
}

// claims are those of an ID token that are not as usual.
type claims = map[string]any

// trusted is a system some of whose jobs may mint.
type trusted struct {
	name, minter string
	flags        []string // of invite
	dry          []string // of its dry run, beside them
	join         func(*lab.Job) (flags, variables []string)
	job          func(testing.TB) *lab.Job
	others       map[string]claims // of jobs that get nothing
}

// byVariables is how jobs join that ask for their ID tokens.
func byVariables(j *lab.Job) (flags, variables []string) { return nil, j.Variables(true) }

func trustedSystems() []trusted {
	const project = "project_path:acme/app:ref_type:branch:ref:"
	return []trusted{
		{name: "GitHub Actions", minter: mainBranch, join: byVariables,
			flags: []string{"--bootstrap", "github-actions", "--bootstrap-audience",
				audience, "--bootstrap-url", lab.Jobs.Where(lab.GitHub)},
			dry: []string{"--issuer", lab.Jobs.Of(lab.GitHub)},
			job: func(t testing.TB) *lab.Job {
				return lab.Jobs.GitHubJob(t, "acme/app", "push", lab.Branch)
			},
			others: map[string]claims{
				"a fork's pull request": {"sub": "repo:acme/app:pull_request",
					"event_name": "pull_request", "ref": "refs/pull/7/merge"},
				"a pull request that runs as the branch": {
					"event_name": "pull_request_target"},
				"another branch": {"sub": "repo:acme/app:ref:refs/heads/feature",
					"ref": "refs/heads/feature"},
				"a sub that was made up": {"repository": "evil/app"},
				"another audience":       {"aud": "sts.example.com"},
			}},
		{name: "GitLab CI", minter: "gitlab:" + project + "main",
			flags: []string{"--bootstrap", "env=KUBERNETES_TOKEN"},
			dry: []string{"--bootstrap-audience", audience, "--issuer",
				lab.Jobs.Of(lab.GitLab)},
			job: func(t testing.TB) *lab.Job {
				return lab.Jobs.GitLabJob(t, "acme/app", "main", audience)
			},
			join: func(j *lab.Job) (flags, variables []string) {
				return []string{"--bootstrap", "env=KUBERNETES_TOKEN", "--store", "none"},
					[]string{"KUBERNETES_TOKEN=" + j.Token()}
			},
			others: map[string]claims{
				"another branch":             {"sub": project + "feature", "ref": "feature"},
				"a tag of the branch's name": {"ref_type": "tag"}}},
		{name: "Azure Pipelines", minter: "azure:p://acme/app/deploy", join: byVariables,
			flags: []string{"--bootstrap", "azure-pipelines", "--bootstrap-url",
				lab.Jobs.Where(lab.Azure)},
			dry:    []string{"--issuer", lab.Jobs.Of(lab.Azure)},
			job:    func(t testing.TB) *lab.Job { return lab.Jobs.AzureJob(t, "acme/app/deploy") },
			others: map[string]claims{"another pipeline": {"sub": "p://acme/app/other"}}},
	}
}

// TestTheAPIServerTakesWhatADryRunPrints starts one with exactly that.
func TestTheAPIServerTakesWhatADryRunPrints(t *testing.T) {
	t.Cleanup(func() { lab.Jobs.Configure(t, authentication(lab.Jobs)) })
	for _, system := range trustedSystems() {
		t.Run(system.name, system.try)
	}
}

func (s trusted) try(t *testing.T) {
	m := lab.NewMachine(t, keyring.Kernel)
	words := append([]string{lab.Account, "-n", lab.Namespace(), "--cluster-role", "view",
		"--kubeconfig", m.Admin, "--minter-user", s.minter}, s.flags...)
	dry := slices.Concat(words, s.dry, []string{"--dry-run"})
	prints := func(flags []string, command ...string) string {
		return m.Plugin(slices.Concat(command, flags)...).Succeeds().Stdout
	}
	manifests, _, file := parts(t, prints(dry, "invite", "--for", "ci"))
	m.AsAdminWith(manifests, "apply", "-f", "-")
	_, kubeconfig, same := parts(t, prints(dry, "setup"))
	if same != file || kubeconfig == "" {
		t.Errorf("setup prints\n%s\nand invite\n%s", same, file)
	}
	lab.Jobs.Configure(t, file)
	flags, variables := s.join(s.job(t))
	r := joins(t, prints(words, "invite", "--for", "ci"), variables, flags...)
	r.pods().Succeeds()
	for name, changed := range s.others {
		other := s.job(t)
		other.Set(changed)
		_, variables := s.join(other)
		r.Variables = append([]string{"SSL_CERT_FILE=" + lab.Jobs.CAFile}, variables...)
		t.Log(name)
		r.Plugin("token", "--profile", r.Profile).Fails(4, "refused the bootstrap credential")
	}
}

func TestWhatADryRunSaysOfAuthentication(t *testing.T) {
	t.Parallel()
	m := lab.NewMachine(t, keyring.Kernel)
	run := func(flags ...string) lab.Result {
		return m.Plugin(append([]string{"invite", lab.Account, "-n", m.Namespace, "--for",
			"ci",
			"--kubeconfig", m.Admin}, flags...)...)
	}
	_, _, file := parts(t, run("--dry-run", "--bootstrap", "github-actions", "--minter-user",
		mainBranch).Succeeds().Stdout)
	lab.Has(t, "the configuration", file, "url: https://token.actions.githubusercontent.com",
		"- "+m.Server, `claims.repository == "acme/app"`,
		"aws eks associate-identity-provider-config")
	job := []string{"--dry-run", "--bootstrap", "azure-pipelines", "--minter-user",
		"azure:p://a/b/c"}
	r := run(job...).Succeeds()
	lab.Has(t, "the line", r.Stderr, "for the --issuer of the job's ID tokens")
	if strings.Contains(r.Stdout, "AuthenticationConfiguration") {
		t.Errorf("it prints a configuration without an issuer:\n%s", r.Stdout)
	}
	issuer := []string{"--issuer", "https://gitlab.com"}
	run(append(job[1:], issuer...)...).Fails(2, "--issuer goes with --dry-run")
	run("--dry-run", "--bootstrap", "env=TOKEN", "--minter-user", "alice", "--issuer",
		"https://gitlab.com").Fails(2, `"alice" has no prefix`)
	run("--dry-run", "--bootstrap", "env=TOKEN", "--minter-user", "gitlab:a", "--issuer",
		"http://gitlab.com").Fails(2, "must be an https URL")
}
