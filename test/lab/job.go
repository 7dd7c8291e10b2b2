//go:build linux

package lab

import (
	"crypto/rsa"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// Job is one of a CI system's, as the issuer knows it.
type Job struct {
	issuer *Issuer
	system string
	token  string // that it may ask with
	t      testing.TB

	mu     sync.Mutex
	claims map[string]any
	key    *rsa.PrivateKey
	age    time.Duration
	answer func(http.ResponseWriter, *http.Request) bool
	asked  int
}

// Branch is where most jobs run.
const Branch = "refs/heads/main"

// GitHubJob is a job of GitHub Actions in a repository, for what event and at what ref. Its claims
// are those of docs.github.com/actions/reference/security/oidc.
func (i *Issuer) GitHubJob(t testing.TB, repository, event, ref string) *Job {
	t.Helper()
	owner, _, _ := strings.Cut(repository, "/")
	about := "ref:" + ref
	if event == "pull_request" {
		about = event
	}
	return i.newJob(t, GitHub, map[string]any{"sub": "repo:" + repository + ":" + about,
		"repository": repository, "repository_id": "74", "repository_owner": owner,
		"repository_owner_id": "65", "repository_visibility": "private", "ref": ref,
		"ref_type": "branch", "ref_protected": "true", "head_ref": "", "base_ref": "",
		"event_name": event, "sha": "4f4f8c3a", "actor": "octocat", "actor_id": "12",
		"run_id": "1001", "run_number": "10", "run_attempt": "2", "workflow": "deploy",
		"workflow_ref":     repository + "/.github/workflows/deploy.yml@" + ref,
		"workflow_sha":     "4f4f8c3a",
		"job_workflow_ref": repository + "/.github/workflows/deploy.yml@" + ref,
		"job_workflow_sha": "4f4f8c3a", "runner_environment": "github-hosted"})
}

// GitLabJob is a job of GitLab CI in a project, on a branch. Its claims are those of
// docs.gitlab.com/ci/secrets/id_token_authentication.
func (i *Issuer) GitLabJob(t testing.TB, project, branch, audience string) *Job {
	t.Helper()
	namespace, _, _ := strings.Cut(project, "/")
	return i.newJob(t, GitLab, map[string]any{"aud": audience,
		"sub":          "project_path:" + project + ":ref_type:branch:ref:" + branch,
		"namespace_id": "72", "namespace_path": namespace, "project_id": "20",
		"project_path": project, "project_visibility": "private", "user_id": "1",
		"user_login": "sample-user", "user_email": "sample-user@example.com",
		"user_access_level": "developer", "pipeline_id": "574", "pipeline_source": "push",
		"job_id": "302", "ref": branch, "ref_type": "branch",
		"ref_path": "refs/heads/" + branch, "ref_protected": "true", "runner_id": 1,
		"runner_environment": "gitlab-hosted", "sha": "714a629c",
		"ci_config_ref_uri": "gitlab.com/" + project + "//.gitlab-ci.yml@refs/heads/" +
			branch,
		"ci_config_sha": "714a629c"})
}

// AzureJob is a job of Azure Pipelines with the identity of its pipeline,
// ORGANIZATION/PROJECT/NAME.
func (i *Issuer) AzureJob(t testing.TB, pipeline string) *Job {
	t.Helper()
	return i.newJob(t, Azure, map[string]any{"aud": "api://AzureADTokenExchange",
		"sub": "p://" + pipeline})
}

// Job is one of any other system, or a workload, with what its ID tokens say.
func (i *Issuer) Job(t testing.TB, system, sub, audience string) *Job {
	t.Helper()
	return i.newJob(t, system, map[string]any{"sub": sub, "aud": audience})
}

// newJob has what the job may ask with in its variables, where it is not searched for.
func (i *Issuer) newJob(t testing.TB, system string, claims map[string]any) *Job {
	t.Helper()
	j := &Job{issuer: i, system: system, t: t, claims: claims, key: i.key}
	j.token = i.Sign(t, system, time.Now(), map[string]any{"sub": "runner", "aud": "vstoken",
		"exp": time.Now().Add(24 * time.Hour).Unix()})
	Permit(j.token)
	i.mu.Lock()
	defer i.mu.Unlock()
	i.jobs[j.token] = j
	return j
}

// Where is the prefix of the URLs that jobs of the system ask at.
func (i *Issuer) Where(system string) string { return i.URL + "/" + system + "/jobs" }

// Variables are those that the system starts the job with. allowed says that it may have an ID
// token: that its permissions say so, or that the step has the token of the job.
func (j *Job) Variables(allowed bool) []string {
	where := j.issuer.Where(j.system)
	switch {
	case j.system == GitHub && allowed:
		return []string{"ACTIONS_ID_TOKEN_REQUEST_URL=" + where +
			"/7//idtoken/1001/2?api-version=2.0",
			"ACTIONS_ID_TOKEN_REQUEST_TOKEN=" + j.token}
	case j.system == Azure:
		list := []string{"SYSTEM_OIDCREQUESTURI=" + where + "/acme/51b4a1d2/_apis/" +
			"distributedtask/hubs/build/plans/1/jobs/2/oidctoken"}
		if allowed {
			list = append(list, "SYSTEM_ACCESSTOKEN="+j.token)
		}
		return list
	}
	return nil
}

// Set changes claims of the ID tokens that the job gets from then on.
func (j *Job) Set(claims map[string]any) {
	j.mu.Lock()
	defer j.mu.Unlock()
	maps.Copy(j.claims, claims)
}

// Age has the ID tokens be issued earlier than they are asked for.
func (j *Job) Age(age time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.age = age
}

// Forge has them be signed with a key that is not the issuer's.
func (j *Job) Forge() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.key = j.issuer.other
}

// Answer has the job's requests be answered otherwise: unless that returns true, they get an ID
// token.
func (j *Job) Answer(answer func(http.ResponseWriter, *http.Request) bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.answer = answer
}

// Asked counts the job's requests.
func (j *Job) Asked() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.asked
}

// Token is an ID token of the job, as systems put it into a variable or a file. It is not searched
// for.
func (j *Job) Token() string {
	j.t.Helper()
	token, err := j.sign("")
	if err != nil {
		j.t.Fatal(err)
	}
	Permit(token)
	return token
}

func (j *Job) sign(audience string) (string, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	claims := maps.Clone(j.claims)
	if claims["aud"] == nil {
		claims["aud"] = audience
	}
	return j.issuer.sign(j.key, j.system, time.Now().Add(-j.age), claims)
}

// serveJob answers a job that asks for an ID token as its system does.
func (i *Issuer) serveJob(w http.ResponseWriter, r *http.Request, system string) {
	_, _ = io.Copy(io.Discard, r.Body)
	_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	i.mu.Lock()
	j := i.jobs[token]
	i.mu.Unlock()
	if j == nil || j.system != system {
		http.Error(w, `{"message": "who is that?"}`, http.StatusUnauthorized)
		return
	}
	j.mu.Lock()
	j.asked++
	instead := j.answer
	j.mu.Unlock()
	if instead != nil && instead(w, r) {
		return
	}
	if problem := j.wrong(r); problem != "" {
		http.Error(w, problem, http.StatusBadRequest)
		return
	}
	audience, field := r.URL.Query().Get("audience"), "value"
	if system == Azure {
		audience, field = "", "oidcToken"
	}
	signed, err := j.sign(audience)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	answer(w, map[string]any{"count": 1, field: signed})
}

// wrong is what the job's system would not take; empty: nothing.
func (j *Job) wrong(r *http.Request) string {
	method, version, scheme := http.MethodGet, "2.0", "bearer "
	if j.system == Azure {
		method, version, scheme = http.MethodPost, "7.1", "Bearer "
	}
	asked, _ := json.Marshal(r.URL.Query()["api-version"])
	if r.Method != method || string(asked) != fmt.Sprintf("[%q]", version) ||
		!strings.HasPrefix(r.Header.Get("Authorization"), scheme) {
		return fmt.Sprintf("%s with version %s", r.Method, asked)
	}
	return ""
}
