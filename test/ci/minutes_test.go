//go:build linux

package ci_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/session"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// A job takes 15 minutes, the ID token of its beginning is good for five, and the shortest token of
// an API server for ten. No clock of an API server can be moved, so this is tested in two halves:
// at a clock that is moved, what the plugin hands out minute by minute; and, where somebody has the
// time (MINUTES=15), what the API server says to one client that is never started again.

// jobLasts is how long the job takes.
const jobLasts = 15 * time.Minute

// minute is what the plugin hands out at some time of the job.
type minute struct {
	At      time.Duration // since the job's beginning
	ID      string        // of the token
	Left    time.Duration // of its life, as the client is told
	Refused bool
}

// minutesMain is a job whose clock moves on by itself, with the plugin's own code. Its argument is
// the profile.
func minutesMain(args []string) int {
	h := host.System()
	began, passed := time.Now(), time.Duration(0)
	h.Now = func() time.Time { return time.Now().Add(passed) }
	for ; passed <= jobLasts; passed += 30 * time.Second {
		at, err := handOut(h, args[0])
		if err != nil {
			fmt.Fprintln(os.Stderr, time.Since(began), err)
			return 1
		}
		at.At = passed
		if err := json.NewEncoder(os.Stdout).Encode(at); err != nil {
			return 1
		}
	}
	return 0
}

func handOut(h *host.Host, profile string) (m minute, err error) {
	ctx := context.Background()
	s, err := session.Load(ctx, h, profile)
	if err != nil {
		return m, err
	}
	answer, err := s.Token(ctx, false)
	if err != nil {
		return m, err
	}
	accepted, err := s.Accepts(ctx, answer.Token)
	return minute{ID: mint.ParseClaims(answer.Token.Reveal()).ID,
		Left: answer.Expires.Sub(h.Now()), Refused: !accepted}, err
}

func TestAJobOutlivesItsFirstIDToken(t *testing.T) {
	t.Parallel()
	job := lab.Jobs.GitHubJob(t, "acme/app", "push", lab.Branch)
	r := newRunner(t, job.Variables(true), mainBranch)
	r.setup("--bootstrap", "github-actions", "--bootstrap-audience", audience, "--duration",
		"10m",
		"--bootstrap-url", lab.Jobs.Where(lab.GitHub), "--store", "kernel").Succeeds()
	asked := job.Asked()
	helper := lab.Helper(t, "minutes", r.Profile)
	helper.Env = append(r.Env(), helper.Env...)
	said := lab.Adopt(t, helper).End().Succeeds().Stdout
	seen := map[string]bool{}
	for line := range strings.Lines(said) {
		var m minute
		if err := json.Unmarshal([]byte(line), &m); err != nil {
			t.Fatal(err)
		}
		seen[m.ID] = true
		if m.Refused || m.Left <= 0 {
			t.Errorf("after %v the client has a token for %v more, refused: %v", m.At,
				m.Left,
				m.Refused)
		}
	}
	if len(seen) != 2 || job.Asked() != asked+1 {
		t.Errorf("there were %d tokens, and the job has asked %d times more: %s", len(seen),
			job.Asked()-asked, said)
	}
}

// clientMain is a client-go program that asks every second and is never started again. Its
// arguments are a kubeconfig, a namespace and for how long.
func clientMain(args []string) int {
	config, err := clientcmd.BuildConfigFromFlags("", args[0])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	client, err := rest.HTTPClientFor(config)
	lasts, problem := time.ParseDuration(args[2])
	if err != nil || problem != nil {
		fmt.Fprintln(os.Stderr, err, problem)
		return 1
	}
	codes := map[int]int{}
	for end := time.Now().Add(lasts); time.Now().Before(end); time.Sleep(time.Second) {
		response, err := client.Get(config.Host + "/api/v1/namespaces/" + args[1] + "/pods")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		_ = response.Body.Close()
		codes[response.StatusCode]++
	}
	fmt.Println(codes[http.StatusOK], codes[http.StatusUnauthorized], len(codes))
	return 0
}

func TestAClientOfALongJobNeverSeesA401(t *testing.T) {
	t.Parallel()
	lasts := 5 * time.Second
	if minutes := os.Getenv("MINUTES"); minutes != "" {
		var err error
		if lasts, err = time.ParseDuration(minutes + "m"); err != nil {
			t.Fatal(err)
		}
	}
	job := lab.Jobs.GitHubJob(t, "acme/app", "push", lab.Branch)
	r := newRunner(t, job.Variables(true), mainBranch)
	r.setup("--bootstrap", "github-actions", "--bootstrap-audience", audience, "--duration",
		"10m",
		"--bootstrap-url", lab.Jobs.Where(lab.GitHub)).Succeeds()
	asked := job.Asked()
	helper := lab.Helper(t, "client", r.kubeconfig(), r.Namespace, lasts.String())
	helper.Env = append(r.Env(), helper.Env...)
	started := lab.AdoptFor(t, helper, lasts)
	said := started.End().Succeeds().Stdout
	var fine, refused, kinds int
	if _, err := fmt.Sscan(said, &fine, &refused, &kinds); err != nil {
		t.Fatal(err)
	}
	t.Logf("in %v: %d answers, %d of them 401, %d ID tokens", lasts, fine, refused,
		job.Asked()-asked)
	if refused > 0 || kinds != 1 || fine == 0 {
		t.Errorf("the client has seen %d answers and %d times 401", fine, refused)
	}
	if want := 1 + int(lasts/(10*time.Minute)); job.Asked()-asked != want {
		t.Errorf("the job has asked %d times, want %d", job.Asked()-asked, want)
	}
}
