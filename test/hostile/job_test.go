//go:build linux

package hostile_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// What is said of a job. The API server does not know these: that its ID token is refused shows
// that it was asked for where the job itself is told to.
const (
	refusedJob = "the job's ID token"
	noJob      = "ACTIONS_ID_TOKEN_REQUEST_URL is not set"
	elsewhere  = "the ID token would be asked for elsewhere"
)

// newJobsMachine makes one that is there for a job of GitHub Actions, with a profile of its own.
func newJobsMachine(t *testing.T, i *lab.Issuer, variables []string) *machine {
	t.Helper()
	m := newMachine(t, keyring.Kernel, nil)
	m.Prepare()
	m.Variables = append([]string{"SSL_CERT_FILE=" + i.CAFile}, variables...)
	p, err := m.Profiles().Load(m.Profile)
	if err != nil {
		t.Fatal(err)
	}
	p.Bootstrap = profile.Bootstrap{Source: profile.SourceGitHub, Audience: "k8s",
		URL: i.Where(lab.GitHub)}
	p.Store = keyring.None
	if err := m.Profiles().Save(p); err != nil {
		t.Fatal(err)
	}
	return m
}

// TestAHostileEnvironmentLearnsNothingOfAJob has somebody's kubeconfig used in a job that may ask
// for ID tokens.
func TestAHostileEnvironmentLearnsNothingOfAJob(t *testing.T) {
	t.Parallel()
	issuer, a := lab.NewIssuer(t), newAttacker(t)
	job := issuer.GitHubJob(t, "acme/app", "push", lab.Branch)
	m := newJobsMachine(t, issuer, job.Variables(true))
	theirs := strings.TrimPrefix(a.server.URL, "https://")
	file := writeFile(t, filepath.Join(a.folder, "theirs.pem"), string(a.authority.PEM))
	asksAt := func(url string) settings {
		return settings{"ACTIONS_ID_TOKEN_REQUEST_URL": url, "SSL_CERT_FILE": file}
	}
	with := func(s settings, name, value string) settings {
		s[name] = value
		return s
	}
	all := []hostile{
		{name: "nothing", says: refusedJob},
		{name: "the attacker's server", env: asksAt(a.server.URL +
			"/github/jobs?api-version=2.0"),
			says: refusedJob},
		{name: "the attacker's server without TLS", env: asksAt(a.plain.URL),
			says: refusedJob},
		{name: "the service's address as a user", says: refusedJob,
			env: asksAt("https://" + strings.TrimPrefix(issuer.URL, "https://") + "@" +
				theirs)},
		{name: "a proxy", says: refusedJob, env: with(asksAt("https://run-1.actions."+
			"githubusercontent.com/"), "HTTPS_PROXY", a.plain.URL)},
		{name: "another job's token", says: refusedJob, env: with(asksAt(a.server.URL),
			"ACTIONS_ID_TOKEN_REQUEST_TOKEN", "theirs")},
		{name: "no token", says: refusedJob,
			env: settings{"ACTIONS_ID_TOKEN_REQUEST_TOKEN": ""}},
	}
	for i := range all {
		all[i].lost = &outcome{says: notTheUsers}
	}
	m.uses(a, all...)
	for i := range all {
		all[i].name += ", behind a wrapper"
		all[i].exec, all[i].lost = fields{"command": m.Wrapper(2)}, nil
	}
	before := job.Asked()
	m.uses(a, all...)
	if job.Asked() == before {
		t.Error("the job has asked for no ID token: this tests nothing")
	}
	// one whose variables a kubeconfig alone has is no job
	m.Variables = m.Variables[:1]
	m.uses(a, hostile{name: "a job of the attacker's", says: noJob,
		env: with(asksAt(a.server.URL), "ACTIONS_ID_TOKEN_REQUEST_TOKEN", "theirs")})
	// and what a step has set for the whole job counts, but leads nowhere else
	m.Variables = append(m.Variables, "ACTIONS_ID_TOKEN_REQUEST_TOKEN=mine",
		"ACTIONS_ID_TOKEN_REQUEST_URL="+a.server.URL)
	m.uses(a, hostile{name: "a variable of the job's own", says: elsewhere})
}
