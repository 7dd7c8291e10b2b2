//go:build linux

package ci_test

import (
	"crypto/sha256"
	"encoding/hex"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/test/docs"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

func sha256Of(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// page is one of docs/ci, typed by an administrator and run by a runner.
type page struct {
	*lab.Machine
	blocks []docs.Block
}

// readPage has an administrator do what the page shows, with systems that are on this machine, and
// the API server take what was printed for it. The invitation is in the administrator's home.
func readPage(t *testing.T, name string, known map[string]string) *page {
	t.Helper()
	p := &page{Machine: lab.NewMachine(t, keyring.Kernel)}
	p.Write(p.Kubeconfig(), p.Read(p.Admin))
	p.blocks = docs.Blocks(p.Read(filepath.Join("..", "..", "docs", "ci", name)))
	commands := 0
	for _, block := range p.of("sh", "administrator") {
		for _, command := range block.Commands() {
			text := strings.ReplaceAll(command.Text, "-n build", "-n "+p.Namespace)
			for theirs, ours := range known {
				text = strings.ReplaceAll(text, theirs, ours)
			}
			p.Exec("bash", "-eo", "pipefail", "-c", text).Succeeds()
			commands++
		}
	}
	if commands != 2 {
		t.Errorf("the page has %d commands for an administrator", commands)
	}
	lab.Jobs.Configure(t, p.Read(p.Path("authentication.yaml")))
	t.Cleanup(func() { lab.Jobs.Configure(t, authentication(lab.Jobs)) })
	return p
}

// of are the blocks of a language, and for whom.
func (p *page) of(language, who string) []docs.Block {
	return slices.DeleteFunc(slices.Clone(p.blocks), func(b docs.Block) bool {
		return b.Language != language || who != "" && !slices.Contains(b.Words, who)
	})
}

// runner is one with the repository of the page.
func (p *page) runner(variables ...string) *runner {
	p.Helper()
	r := &runner{lab.NewMachine(p.T, keyring.Kernel)}
	r.Write(r.Path("ci.invitation"), p.Read(p.Path("ci.invitation")))
	r.Variables = append([]string{"SSL_CERT_FILE=" + lab.Jobs.CAFile}, variables...)
	return r
}

// minted fails the test unless jobs have minted since the page was read.
func (p *page) minted(times int) {
	p.Helper()
	if got := p.Minted(lab.Account); got < times {
		p.Errorf("%d tokens were minted", got)
	}
}

func decode[T any](t *testing.T, block docs.Block) (into T) {
	t.Helper()
	if err := yaml.Unmarshal([]byte(block.Text), &into); err != nil {
		t.Fatal(err)
	}
	return into
}

// These are not parallel: each has the API server be started again.

func TestThePageOfGitHubActions(t *testing.T) {
	sum := publish(t, "v1.0.0")
	p := readPage(t, "github-actions.md", map[string]string{
		"--bootstrap github-actions": "--bootstrap github-actions --bootstrap-url " +
			lab.Jobs.Where(lab.GitHub),
		"--dry-run": "--dry-run --issuer " + lab.Jobs.Of(lab.GitHub)})
	readme := docs.Blocks(p.Read(filepath.Join("..", "..", "README.md")))
	workflows := p.of("yaml", "")
	for _, block := range (&page{blocks: readme}).of("sh", "ci") {
		for _, command := range block.Commands() {
			lab.Has(t, "the workflow", workflows[0].Text, command.Text)
		}
	}
	if len(workflows) != 2 {
		t.Fatalf("there are %d workflows", len(workflows))
	}
	for _, block := range workflows {
		p.workflow(block, "")
	}
	p.minted(2)
	r := p.workflow(workflows[1], "kernel")
	lab.Has(t, "the kubeconfig", r.Read(r.Path("tmp", "kubeconfig")), `-get"`)
	testAction(t, p, sum)
}

// workflow runs a job of GitHub Actions, with a store for the action if there is one in it.
func (p *page) workflow(block docs.Block, store string) *runner {
	p.Helper()
	w := decode[struct {
		Permissions map[string]string
		Jobs        map[string]struct{ Steps []step }
	}](p.T, block)
	job := lab.Jobs.GitHubJob(p.T, "acme/app", "push", lab.Branch)
	r := p.runner(job.Variables(w.Permissions["id-token"] == "write")...)
	steps := w.Jobs["deploy"].Steps
	for i := range steps {
		if steps[i].With != nil { // there is no release yet
			steps[i].With["url"] = lab.Jobs.URL + "/releases"
			steps[i].With["store"] = store
			r.set("PATH=" + filepath.Dir(lab.Plane.Kubectl) + ":/usr/bin:/bin")
		}
	}
	r.github(steps)
	return r
}

// testAction is about programs that are not the release's.
func testAction(t *testing.T, p *page, sum string) {
	job := lab.Jobs.GitHubJob(t, "acme/app", "push", lab.Branch)
	install := decode[action](t, docs.Block{Text: p.Read("../../action.yml")}).Runs.Steps[0].Run
	run := func(r *runner, version, sum, store string) lab.Result {
		return r.runs(install, []string{"RUNNER_OS=Linux", "RUNNER_ARCH=X64",
			"RUNNER_TEMP=" + r.Path("tmp"), "GITHUB_PATH=" + r.file("path"),
			"VERSION=" + version,
			"SHA256=" + sum, "STORE=" + store, "URL=" + lab.Jobs.URL + "/releases"}, pipefail...)
	}
	publish(t, "v1.0.1")
	lab.Jobs.Publish("releases/v1.0.1/sa-exec-credential-linux-amd64", []byte("#!/bin/sh\n"))
	publish(t, "v1.0.2")
	lab.Jobs.Publish("releases/v1.0.2/SHA256SUMS", []byte("\n"))
	publish(t, "v1.0.3")
	lab.Jobs.Publish("releases/v1.0.3/sa-exec-credential-get-linux-amd64", []byte("#!/bin/sh\n"))
	for _, test := range []struct {
		name, version, sum, store, says string
		code                            int
		both                            bool
	}{
		{name: "as pinned", version: "v1.0.0", sum: sum},
		{name: "as pinned, and tokens are kept", version: "v1.0.0", sum: sum, store: "kernel"},
		{name: "as the release says, and tokens are kept", version: "v1.0.0", store: "kernel",
			both: true},
		{name: "another program for hits than the release's sums", version: "v1.0.3",
			store: "kernel", code: 1, says: "sa-exec-credential-get-linux-amd64 has the SHA-256"},
		{name: "another than pinned", version: "v1.0.1", sum: sum, code: 1,
			says: "and should have " + sum},
		{name: "another than the release's sums", version: "v1.0.1", code: 1,
			says: "and should have " + sum},
		{name: "one without a sum", version: "v1.0.2", code: 1, says: "one in SHA256SUMS"},
		{name: "none", version: "v9.9.9", code: 22, says: "curl"},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := p.runner(job.Variables(true)...)
			r.T = t
			got := run(r, test.version, test.sum, test.store)
			if got.Code != test.code || !strings.Contains(got.Stderr, test.says) {
				t.Errorf("exit code %d\n%s", got.Code, got.Stderr)
			}
			for name, want := range map[string]bool{"sa-exec-credential": test.code == 0,
				"sa-exec-credential-get": test.both} {
				path := r.Path("tmp", "sa-exec-credential", name)
				if got := r.Exec("test", "-x", path).Code == 0; got != want {
					t.Errorf("%s is installed: %v", name, got)
				}
			}
		})
	}
}

func TestThePageOfGitLabCI(t *testing.T) {
	p := readPage(t, "gitlab-ci.md",
		map[string]string{"https://gitlab.com": lab.Jobs.Of(lab.GitLab)})
	pipeline := decode[map[string]struct {
		IDTokens map[string]struct{ Aud string } `json:"id_tokens"`
		Script   []string
	}](t, p.of("yaml", "")[0])
	deploy := pipeline["deploy"]
	r := p.runner("CI=true", "GITLAB_CI=true", "CI_PROJECT_DIR="+p.Home)
	for name, token := range deploy.IDTokens {
		job := lab.Jobs.GitLabJob(t, "acme/app", "main", token.Aud)
		r.set(name + "=" + job.Token())
	}
	r.runs(strings.Join(deploy.Script, "\n"), nil, pipefail...).Succeeds()
	p.minted(1)
}

func TestThePageOfAzurePipelines(t *testing.T) {
	p := readPage(t, "azure-pipelines.md", map[string]string{
		"https://vstoken.dev.azure.com/6f3f1a3c-0000-4000-8000-51b4a1d28d0b": lab.Jobs.Of(lab.Azure),
		"--bootstrap azure-pipelines": "--bootstrap azure-pipelines --bootstrap-url " +
			lab.Jobs.Where(lab.Azure)})
	pipeline := decode[struct{ Steps []step }](t, p.of("yaml", "")[0])
	p.runner().azure(pipeline.Steps, lab.Jobs.AzureJob(t, "acme/app/deploy"))
	p.minted(1)
}

// sh is a step of a Jenkinsfile.
var sh = regexp.MustCompile(`(?s)\bsh '''(.*?)'''`)

func TestThePageOfJenkins(t *testing.T) {
	const system, sub = "jenkins", "https://jenkins.example.com/job/app/job/main/"
	p := readPage(t, "jenkins.md", map[string]string{
		"https://jenkins.example.com/oidc": lab.Jobs.Of(system)})
	file := p.of("groovy", "")[0].Text
	r := p.runner("JENKINS_URL=https://jenkins.example.com/")
	r.set("WORKSPACE_TMP=" + r.Path("tmp"))
	lab.Has(t, "the Jenkinsfile", file,
		"file(credentialsId: 'kubernetes', variable: 'ID_TOKEN_FILE')")
	r.set("ID_TOKEN_FILE=" + r.Write(r.Path("secret"), lab.Jobs.Job(t, system, sub,
		audience).Token()))
	for _, part := range sh.FindAllStringSubmatch(file, -1) {
		r.runs(part[1], nil, "-ex").Succeeds()
	}
	p.minted(1)
}

func TestThePageOfOtherRunners(t *testing.T) {
	const system = "spiffe"
	p := readPage(t, "generic.md", map[string]string{"https://spiffe.example.com": lab.Jobs.Of(system)})
	job := lab.Jobs.Job(t, system, "spiffe://example.com/ci/app", audience)
	r := p.runner("ID_TOKEN=" + job.Token())
	file := r.Write(r.Path("id-token"), job.Token())
	for _, block := range p.of("sh", "job") {
		for _, command := range block.Commands() {
			r.runs(strings.ReplaceAll(command.Text, "/run/ci/id-token", file), nil,
				"-e").Succeeds()
		}
	}
	p.minted(2)
}
