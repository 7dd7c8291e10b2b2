//go:build linux

package ci_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// mainBranch is what the cluster calls the job that may mint.
const mainBranch = "github:repo:acme/app:ref:refs/heads/main"

// readyGitHub is a runner with a job of GitHub Actions that is set up.
func readyGitHub(t *testing.T) (*runner, *lab.Job) {
	t.Helper()
	job := lab.Jobs.GitHubJob(t, "acme/app", "push", lab.Branch)
	r := newRunner(t, job.Variables(true), mainBranch)
	r.setup("--bootstrap", "github-actions", "--bootstrap-audience", audience,
		"--bootstrap-url", lab.Jobs.Where(lab.GitHub)).Succeeds()
	return r, job
}

func TestAJobOfGitHubActions(t *testing.T) {
	t.Parallel()
	r, job := readyGitHub(t)
	asked, minted := job.Asked(), r.Minted(lab.Account)
	r.pods().Succeeds()
	r.pods().Succeeds()
	// nothing is left for other jobs of the machine, so each client asks and mints anew
	if job.Asked() != asked+2 || r.Minted(lab.Account) != minted+2 {
		t.Errorf("two clients have had the job ask %d times", job.Asked()-asked)
	}
}

// TestAnIDTokenThatTheClusterDoesNotTake has the job's tokens be other ones than before.
func TestAnIDTokenThatTheClusterDoesNotTake(t *testing.T) {
	t.Parallel()
	const refused, forbidden = "the job's ID token", "forbidden"
	for _, test := range []struct {
		name   string
		change func(*lab.Job)
		code   int
		says   string
	}{
		{"expired", func(j *lab.Job) { j.Age(lab.Limit * 2) }, 4, refused},
		{"of another audience", func(j *lab.Job) { j.Set(map[string]any{"aud": "sts.example.com"}) },
			4, refused},
		{"of another branch", func(j *lab.Job) {
			j.Set(map[string]any{"sub": "repo:acme/app:ref:refs/heads/feature",
				"ref": "refs/heads/feature"})
		}, 7, forbidden},
		{"of another repository", func(j *lab.Job) {
			j.Set(map[string]any{"sub": "repo:evil/app:ref:refs/heads/main",
				"repository": "evil/app"})
		}, 7, forbidden},
		{"of a pull request", func(j *lab.Job) {
			j.Set(map[string]any{"sub": "repo:acme/app:pull_request",
				"event_name": "pull_request"})
		}, 7, forbidden},
		{"of another issuer", func(j *lab.Job) {
			j.Set(map[string]any{"iss": lab.Jobs.Of("other")})
		}, 4, refused},
		{"with another key", (*lab.Job).Forge, 4, refused},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r, job := readyGitHub(t)
			test.change(job)
			before := r.Minted(lab.Account)
			r.Plugin("token", "--profile", r.Profile).Fails(test.code, test.says)
			r.pods().Fails(1, test.says)
			if r.Minted(lab.Account) != before {
				t.Error("a token was minted")
			}
		})
	}
}

// TestAServiceForIDTokensThatHasTrouble is about where the job asks.
func TestAServiceForIDTokensThatHasTrouble(t *testing.T) {
	t.Parallel()
	always := func(code int, after string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Retry-After", after)
			w.WriteHeader(code)
			return true
		}
	}
	once := func(code int) func(http.ResponseWriter, *http.Request) bool {
		count := 0
		return func(w http.ResponseWriter, r *http.Request) bool {
			count++
			return count == 1 && always(code, "0")(w, r)
		}
	}
	for _, test := range []struct {
		name   string
		answer func(http.ResponseWriter, *http.Request) bool
		code   int
		says   string // empty: it works
	}{
		{"busy for a moment", once(http.StatusTooManyRequests), 0, ""},
		{"failing for a moment", once(http.StatusBadGateway), 0, ""},
		{"busy", always(http.StatusTooManyRequests, "0"), 5, "it is throttling (429)"},
		{"busy for an hour", always(http.StatusTooManyRequests, "3600"), 5,
			"it is throttling (429)"},
		{"failing", always(http.StatusInternalServerError, "0"), 5, "it answers with 500"},
		{"slow", func(_ http.ResponseWriter, r *http.Request) bool {
			<-r.Context().Done()
			return true
		}, 5, "did not answer in time"},
		{"down", func(http.ResponseWriter,
			*http.Request) bool {
			panic(http.ErrAbortHandler)
		}, 5,
			"it is unreachable"},
		{"that the job may not ask any more", always(http.StatusUnauthorized, ""), 4,
			"with its job"},
		{"that answers with a page", func(w http.ResponseWriter, _ *http.Request) bool {
			fmt.Fprint(w, "<html>")
			return true
		}, 5, "makes no sense"},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r, job := readyGitHub(t)
			job.Answer(test.answer)
			if test.says == "" {
				r.pods().Succeeds()
				return
			}
			r.Plugin("token", "--profile", r.Profile).Fails(test.code, test.says)
		})
	}
}

// TestAJobWithoutPermission is one whose workflow does not say that it may have ID tokens, as those
// of pull requests from forks never may.
func TestAJobWithoutPermission(t *testing.T) {
	t.Parallel()
	r, job := readyGitHub(t)
	asked := job.Asked()
	r.Variables = r.Variables[:2]
	r.Follow(r.Plugin("token", "--profile", r.Profile).Fails(4,
		"is `id-token: write` in the job's permissions?"), "invite --help")
	r.setup("--bootstrap", "github-actions").Fails(4,
		"is `id-token: write` in the job's permissions?")
	r.pods().Fails(1, "ACTIONS_ID_TOKEN_REQUEST_URL is not set")
	if job.Asked() != asked {
		t.Error("it has asked all the same")
	}
}

func TestWhereAJobMayAsk(t *testing.T) {
	t.Parallel()
	job := lab.Jobs.GitHubJob(t, "acme/app", "push", lab.Branch)
	r := newRunner(t, job.Variables(true), mainBranch)
	r.setup("--bootstrap", "github-actions").Fails(4, "which is not at "+
		"https://*.actions.githubusercontent.com/")
	r.setup("--bootstrap", "github-actions", "--bootstrap-url", "http://localhost").Fails(2,
		"is not an https URL")
	r.setup("--bootstrap-audience", audience).Fails(2, "--bootstrap-audience goes with")
	r.setup("--bootstrap", "azure-pipelines", "--bootstrap-audience", audience).Fails(2,
		"--bootstrap-audience goes with")
	r.setup("--bootstrap", "azure-pipelines=mine").Fails(2,
		"not the id of a service connection")
	r.setup("--bootstrap", "azure-pipelines", "--timer").Fails(2, "nothing to renew for pods")
	if job.Asked() != 0 {
		t.Error("it has asked all the same")
	}
	// without an audience the ID token is for this cluster alone, which takes others
	r.setup("--bootstrap", "github-actions", "--bootstrap-url",
		lab.Jobs.Where(lab.GitHub)).Fails(4, "refuses what the source gives")
}
