package bootstrap

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

// service is a CI system in which a job can ask for an ID token that says which job it is. Where
// it asks, and with what, the system puts into the job's variables.
type service struct {
	name       string
	url, token string // the variables
	field      string // of the answer's JSON that has the ID token
	missing    string // what it means when there is no variable
	ask        func(profile.Bootstrap, *url.URL) *http.Request
}

var services = map[profile.Source]service{
	profile.SourceGitHub: {name: "GitHub Actions", url: "ACTIONS_ID_TOKEN_REQUEST_URL",
		token: "ACTIONS_ID_TOKEN_REQUEST_TOKEN", field: "value", ask: askGitHub,
		missing: "is `id-token: write` in the job's permissions? (a pull request from a " +
			"fork never has it)"},
	profile.SourceAzure: {name: "Azure Pipelines", url: "SYSTEM_OIDCREQUESTURI",
		token: "SYSTEM_ACCESSTOKEN", field: "oidcToken", ask: askAzure,
		missing: "map it into the step's env: SYSTEM_ACCESSTOKEN: $(System.AccessToken)"},
}

// askGitHub is a request for an ID token for an audience
// (docs.github.com/actions/reference/security/oidc).
func askGitHub(b profile.Bootstrap, u *url.URL) *http.Request {
	return asking(http.MethodGet, u, "bearer", map[string]string{"audience": b.Audience})
}

// askAzure is a request for the ID token of the pipeline, or of one of its service connections
// (learn.microsoft.com/rest/api/azure/devops/distributedtask/oidctoken/create).
func askAzure(b profile.Bootstrap, u *url.URL) *http.Request {
	query := map[string]string{"api-version": "7.1"}
	if b.ServiceConnection != "" {
		query["serviceConnectionId"] = b.ServiceConnection
	}
	request := asking(http.MethodPost, u, "Bearer", query)
	request.Header.Set("Content-Type", "application/json")
	// an answer instead of a redirect to a page for people to log in
	request.Header.Set("X-TFS-FedAuthRedirect", "Suppress")
	return request
}

// asking is a request for u with further parameters. Its credential is still missing.
func asking(method string, u *url.URL, scheme string, query map[string]string) *http.Request {
	values := u.Query()
	for name, value := range query {
		values.Set(name, value)
	}
	asked := *u
	asked.RawQuery = values.Encode()
	return &http.Request{Method: method, URL: &asked, Host: asked.Host,
		Header: http.Header{"Authorization": {scheme}, "Accept": {"application/json"},
			"User-Agent": {"sa-exec-credential"}}}
}

// JobLimit bounds the request for a job's ID token, with the one that is repeated.
const JobLimit = 10 * time.Second

// fromJob asks the CI system for the ID token of the job that this is. The variables count only as
// the client was started with them: what a kubeconfig sets is not the job's. getenv gives those.
func fromJob(ctx context.Context, b profile.Bootstrap,
	getenv func(string) string) (secret.String, error) {
	s := services[b.Source]
	request, err := s.request(b, getenv)
	if err != nil {
		return secret.String{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, JobLimit)
	defer cancel()
	body, err := exchange(ctx, request)
	if err != nil {
		return secret.String{}, fmt.Errorf("asking %s for an ID token at %q: %w", s.name,
			request.URL.Host, err)
	}
	return s.tokenIn(body)
}

// request is what the job's variables say, if they lead to where the profile lets them.
func (s service) request(b profile.Bootstrap, getenv func(string) string) (*http.Request, error) {
	for _, name := range []string{s.url, s.token} {
		if strings.TrimSpace(getenv(name)) == "" {
			return nil, fmt.Errorf("%w: %s is not set: %s", ErrNoJob, name, s.missing)
		}
	}
	token, err := clean(getenv(s.token), fmt.Sprintf("environment variable %q", s.token))
	if err != nil {
		return nil, err
	}
	// what it holds instead of a URL can be the token itself
	asked, err := url.Parse(strings.TrimSpace(getenv(s.url)))
	if err != nil {
		return nil, fmt.Errorf("%w: %s holds no URL", ErrSource, s.url)
	}
	if _, err := url.ParseQuery(asked.RawQuery); err != nil {
		return nil, fmt.Errorf("%w: %s holds no URL", ErrSource, s.url)
	}
	prefixes := b.Prefixes()
	if !isCovered(asked, prefixes) {
		return nil, fmt.Errorf("%w: %s leads to %q, which is not at %s", ErrElsewhere,
			s.url, asked.Scheme+"://"+asked.Host, strings.Join(prefixes, " or "))
	}
	request := s.ask(b, asked)
	scheme := request.Header.Get("Authorization")
	request.Header.Set("Authorization", scheme+" "+token.Reveal())
	return request, nil
}

func isCovered(u *url.URL, prefixes []string) bool {
	for _, text := range prefixes {
		if prefix, err := profile.ParsePrefix(text); err == nil && prefix.Covers(u) {
			return true
		}
	}
	return false
}

// tokenIn is the ID token in an answer. Errors hold nothing of that.
func (s service) tokenIn(body []byte) (secret.String, error) {
	var answer map[string]json.RawMessage
	var token string
	if json.Unmarshal(body, &answer) != nil || json.Unmarshal(answer[s.field], &token) != nil {
		return secret.String{}, fmt.Errorf("%w: the answer of %s makes no sense", ErrIssuer,
			s.name)
	}
	if !secret.IsToken(token) || strings.Count(token, ".") != 2 {
		return secret.String{}, fmt.Errorf("%w: the answer of %s holds no ID token",
			ErrIssuer, s.name)
	}
	return secret.New(token), nil
}
