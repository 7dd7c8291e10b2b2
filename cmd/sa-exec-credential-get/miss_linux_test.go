package main

import (
	"cmp"
	"context"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

const (
	bootstrapToken = "e30.the-bootstrap-credential.sig"
	newToken       = "e30.the-token-that-is-new.sig"
)

// apiServer gives out one token, or answers with a code, and counts.
type apiServer struct {
	*httptest.Server
	code  int
	asked int
}

func newServer(t *testing.T) *apiServer {
	s := &apiServer{code: http.StatusCreated}
	s.Server = httptest.NewUnstartedServer(s)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// ServeHTTP implements http.Handler.
func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.asked++
	w.Header().Set("Content-Type", "application/json")
	if r.Header.Get("Authorization") != "Bearer "+bootstrapToken ||
		r.URL.Path != "/api/v1/namespaces/build/serviceaccounts/ci/token" {
		s.code = http.StatusUnauthorized
	}
	w.WriteHeader(s.code)
	_ = json.NewEncoder(w).Encode(map[string]any{"kind": "TokenRequest",
		"apiVersion": "authentication.k8s.io/v1", "status": map[string]any{"token": newToken,
			"expirationTimestamp": time.Now().Add(time.Hour).UTC().Format(time.RFC3339)}})
}

// machineOf has a bootstrap credential for the server that was issued so long ago of the hour that
// it lives, and no token.
func (s *apiServer) machineOf(t *testing.T, age time.Duration) *machine {
	m := newMachineOf(t, profile.Cluster{Server: s.URL, CertificateAuthorityData: pem.EncodeToMemory(
		&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})}, keyring.Kernel, 2*time.Hour)
	issued := time.Now().Add(-age)
	m.must(m.call.Store.Set(t.Context(), m.call.BootstrapKey(), keyring.Entry{
		Token: secret.New(bootstrapToken), IssuedAt: issued, ExpiresAt: issued.Add(time.Hour)}))
	t.Cleanup(func() { _ = m.call.Store.Delete(context.Background(), m.call.BootstrapKey()) })
	return m
}

// TestAPlainMissIsAnswered with one request, and what it gets is kept.
func TestAPlainMissIsAnswered(t *testing.T) {
	s := newServer(t)
	m := s.machineOf(t, time.Minute)
	for range 2 {
		output, err := m.client(nil, "get", "--profile", "p").Output()
		if err != nil || !strings.Contains(string(output), newToken) {
			t.Errorf("%v: %s", err, output)
		}
	}
	if s.asked != 1 {
		t.Errorf("%d requests", s.asked)
	}
}

// TestAMissThatIsNotPlainIsForTheWholeProgram, at most after a request that has failed.
func TestAMissThatIsNotPlainIsForTheWholeProgram(t *testing.T) {
	for name, test := range map[string]struct {
		age     time.Duration
		code    int
		setting string
		edit    func(*profile.Profile)
		asked   int
	}{
		"the credential is to be renewed": {age: 31 * time.Minute},
		"there is none":                   {age: 2 * time.Hour},
		"a proxy":                         {setting: "HTTPS_PROXY=http://127.0.0.1:1"},
		"a source that leads back":        {setting: profile.WithinVariable + "=q"},
		"a log":                           {edit: func(p *profile.Profile) { p.Log = "syslog" }},
		"another source": {edit: func(p *profile.Profile) {
			p.Bootstrap = profile.Bootstrap{Source: profile.SourceEnv, Variable: "TOKEN"}
		}},
		"a proxy of the profile's": {edit: func(p *profile.Profile) {
			p.Cluster.ProxyURL = "http://127.0.0.1:1"
		}},
		"a server that refuses":    {code: http.StatusUnauthorized, asked: 1},
		"a server that is ill":     {code: http.StatusServiceUnavailable, asked: 1},
		"a server that sends away": {code: http.StatusTemporaryRedirect, asked: 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			if test.code != 0 {
				s.code = test.code
			}
			m := s.machineOf(t, test.age)
			if test.edit != nil {
				p := m.call.Profile
				test.edit(&p)
				profiles, err := m.call.Host.Profiles()
				m.must(err)
				m.must(profiles.Save(p))
			}
			output, err := m.client([]string{"env", cmp.Or(test.setting, "OTHER=1")},
				"get", "--profile", "p").Output()
			if err != nil || !strings.HasPrefix(string(output), "whole: ") || s.asked != test.asked {
				t.Errorf("%v: %q after %d requests", err, output, s.asked)
			}
		})
	}
}
