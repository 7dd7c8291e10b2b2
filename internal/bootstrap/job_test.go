//go:build unix

package bootstrap

import (
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

// TestMain has the system's authorities be the one of all httptest servers. They are read once.
func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "roots")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		server := httptest.NewTLSServer(nil)
		server.Close()
		file := filepath.Join(dir, "roots.pem")
		block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE",
			Bytes: server.Certificate().Raw})
		if err := os.WriteFile(file, block, 0o600); err != nil {
			panic(err)
		}
		os.Setenv("SSL_CERT_FILE", file)
		return m.Run()
	}())
}

// idToken looks like an ID token, and requestToken like what a job may ask for one with.
const idToken, requestToken = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJyZXBvOmEvYiJ9.c2lnbmF0dXJl",
	"may-ask"

// jobAt is a job's variables, and what it mints with.
func jobAt(source profile.Source, server string) (profile.Bootstrap, map[string]string) {
	b := profile.Bootstrap{Source: source, URL: server}
	if source == profile.SourceAzure {
		return b, map[string]string{"SYSTEM_OIDCREQUESTURI": server + "/acme/oidctoken",
			"SYSTEM_ACCESSTOKEN": requestToken}
	}
	b.Audience = "https://prod.example.com:6443/?a=b&c"
	return b, map[string]string{"ACTIONS_ID_TOKEN_REQUEST_TOKEN": requestToken,
		"ACTIONS_ID_TOKEN_REQUEST_URL": server + "/7//idtoken/1?api-version=2.0"}
}

func jobSystem(own map[string]string) System {
	return System{Getenv: func(string) string { return "" },
		Own: func(name string) string { return own[name] }}
}

func TestAJobAsksAsItsSystemDocumentsIt(t *testing.T) {
	for _, test := range []struct {
		name               string
		source             profile.Source
		connection         string
		method, path, auth string
		query              url.Values
		field              string
	}{
		{name: "GitHub Actions", source: profile.SourceGitHub, method: "GET",
			path: "/7//idtoken/1", auth: "bearer may-ask", field: "value",
			query: url.Values{"api-version": {"2.0"},
				"audience": {"https://prod.example.com:6443/?a=b&c"}}},
		{name: "Azure Pipelines", source: profile.SourceAzure, method: "POST",
			path: "/acme/oidctoken", auth: "Bearer may-ask", field: "oidcToken",
			query: url.Values{"api-version": {"7.1"}}},
		{name: "a service connection of Azure Pipelines", source: profile.SourceAzure,
			connection: "0b0c6f4e-1111-2222-3333-444455556666", method: "POST",
			path: "/acme/oidctoken", auth: "Bearer may-ask", field: "oidcToken",
			query: url.Values{"api-version": {"7.1"},
				"serviceConnectionId": {"0b0c6f4e-1111-2222-3333-444455556666"}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter,
				r *http.Request) {
				got := fmt.Sprint(r.Method, r.URL.Path,
					r.Header.Get("Authorization"), r.URL.Query())
				want := fmt.Sprint(test.method, test.path, test.auth, test.query)
				if got != want {
					t.Errorf("asked\n%s\nwant\n%s", got, want)
				}
				fmt.Fprintf(w, `{"count": 1, %q: %q}`, test.field, idToken)
			}))
			defer server.Close()
			b, own := jobAt(test.source, server.URL)
			b.ServiceConnection = test.connection
			got, err := Find(t.Context(), profileWith(b), jobSystem(own))
			if err != nil {
				t.Fatal(err)
			}
			checkConfig(t, got.Config, &rest.Config{Host: profileWith(b).Cluster.Server,
				BearerToken: idToken})
		})
	}
}

// without is a job that gets no ID token, and why.
type without struct {
	name   string
	source profile.Source
	answer http.HandlerFunc
	change func(own map[string]string)
	err    error
	says   string
}

// answer is a service that always says the same.
func answer(code int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(code)
		fmt.Fprint(w, body)
	}
}

// withoutVariables never ask.
var withoutVariables = []without{
	{name: "no permission", source: profile.SourceGitHub, err: ErrNoJob,
		says:   "is `id-token: write` in the job's permissions?",
		change: func(own map[string]string) { clear(own) }},
	{name: "an empty variable", source: profile.SourceGitHub, err: ErrNoJob,
		says:   "ACTIONS_ID_TOKEN_REQUEST_TOKEN is not set",
		change: func(own map[string]string) { own["ACTIONS_ID_TOKEN_REQUEST_TOKEN"] = " " }},
	{name: "a variable that is not mapped", source: profile.SourceAzure, err: ErrNoJob,
		says:   "$(System.AccessToken)",
		change: func(own map[string]string) { delete(own, "SYSTEM_ACCESSTOKEN") }},
	{name: "a token with a line's end", source: profile.SourceGitHub, err: ErrSource,
		says: "holds no token",
		change: func(own map[string]string) {
			own["ACTIONS_ID_TOKEN_REQUEST_TOKEN"] = requestToken + "\r\nX: y"
		}},
	{name: "another place", source: profile.SourceGitHub, err: ErrElsewhere,
		says: `leads to "https://example.com"`,
		change: func(own map[string]string) {
			own["ACTIONS_ID_TOKEN_REQUEST_URL"] = "https://example.com/?" +
				requestToken
		}},
	{name: "the token in the place of the URL", source: profile.SourceGitHub,
		err: ErrElsewhere,
		change: func(own map[string]string) {
			own["ACTIONS_ID_TOKEN_REQUEST_URL"] = requestToken
		}},
	{name: "a query that is none", source: profile.SourceGitHub, err: ErrSource,
		says:   "holds no URL",
		change: func(own map[string]string) { own["ACTIONS_ID_TOKEN_REQUEST_URL"] += "&%zz" }},
}

const secretBody = `{"message": "` + idToken + `"}`

// withoutAnswer ask in vain.
var withoutAnswer = []without{
	{name: "a job that is over", source: profile.SourceGitHub, answer: answer(401,
		secretBody),
		err: ErrJobOver, says: "(401)"},
	{name: "a job that may not ask", source: profile.SourceAzure, answer: answer(403,
		secretBody),
		err: ErrJobOver, says: "(403)"},
	{name: "a redirect", source: profile.SourceGitHub, answer: answer(302, "",
		"Location", "/"),
		err: ErrIssuer, says: "no redirect is followed"},
	{name: "a job that nobody knows", source: profile.SourceGitHub, answer: answer(404,
		secretBody),
		err: ErrIssuer, says: "(404)"},
	{name: "no JSON", source: profile.SourceGitHub, answer: answer(200,
		"<html>"+idToken),
		err: ErrIssuer, says: "makes no sense"},
	{name: "another service's answer", source: profile.SourceAzure,
		answer: answer(200, `{"value": "`+idToken+`"}`), err: ErrIssuer,
		says: "makes no sense"},
	{name: "no JWT", source: profile.SourceGitHub, answer: answer(200,
		`{"value": "`+requestToken+`"}`),
		err: ErrIssuer, says: "no ID token"},
	{name: "a number", source: profile.SourceGitHub, answer: answer(200,
		`{"value": 7}`),
		err: ErrIssuer, says: "makes no sense"},
	{name: "an answer without end", source: profile.SourceGitHub,
		answer: answer(200, `{"value": "`+strings.Repeat(idToken, 1<<14)+`"}`),
		err:    ErrIssuer, says: "more than"},
}

func TestAJobThatCannotHaveAnIDTokenSaysWhy(t *testing.T) {
	for _, test := range slices.Concat(withoutVariables, withoutAnswer) {
		t.Run(test.name, func(t *testing.T) {
			asked := false
			server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter,
				r *http.Request) {
				asked = true
				if test.answer != nil {
					test.answer(w, r)
				}
			}))
			defer server.Close()
			b, own := jobAt(test.source, server.URL)
			if test.change != nil {
				test.change(own)
			}
			_, err := Find(t.Context(), profileWith(b), jobSystem(own))
			if !errors.Is(err, test.err) || !strings.Contains(fmt.Sprint(err),
				test.says) {
				t.Fatalf("got %v, want %v and %q", err, test.err, test.says)
			}
			for _, secret := range []string{idToken, requestToken, "eyJ"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("it shows %s: %v", secret, err)
				}
			}
			if asked != (test.answer != nil) {
				t.Errorf("the service was asked: %v", asked)
			}
		})
	}
}

func TestABusyServiceIsAskedOnceMore(t *testing.T) {
	for _, test := range []struct {
		name  string
		code  int
		after string
		fails int32 // so many times
		asked int32
	}{
		{name: "throttling", code: 429, after: "0", fails: 1, asked: 2},
		{name: "throttling, until a time", code: 429,
			after: "Mon, 02 Jan 2006 15:04:05 GMT", fails: 1, asked: 2},
		{name: "a failure", code: 503, fails: 1, asked: 2},
		{name: "two failures", code: 500, after: "0", fails: 2, asked: 2},
		{name: "throttling for longer than anybody waits", code: 429, after: "60", fails: 1,
			asked: 1},
		{name: "throttling for ages", code: 429, after: "99999999999", fails: 1, asked: 1},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			var asked atomic.Int32
			server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter,
				_ *http.Request) {
				if asked.Add(1) <= test.fails {
					w.Header().Set("Retry-After", test.after)
					w.WriteHeader(test.code)
				}
				fmt.Fprintf(w, `{"value": %q}`, idToken)
			}))
			defer server.Close()
			b, own := jobAt(profile.SourceGitHub, server.URL)
			_, err := Find(t.Context(), profileWith(b), jobSystem(own))
			if works := test.asked > test.fails; works != (err == nil) ||
				!works && !errors.Is(err, ErrIssuer) {
				t.Errorf("got %v", err)
			}
			if asked.Load() != test.asked {
				t.Errorf("asked %d times, want %d", asked.Load(), test.asked)
			}
		})
	}
}

func TestAServiceThatIsNotThereIsSaidToBe(t *testing.T) {
	hanging := httptest.NewTLSServer(http.HandlerFunc(func(_ http.ResponseWriter,
		r *http.Request) {
		<-r.Context().Done()
	}))
	defer hanging.Close()
	gone := httptest.NewTLSServer(nil)
	gone.Close()
	plain := httptest.NewServer(nil)
	defer plain.Close()
	for name, test := range map[string]struct{ url, says string }{
		"slow": {hanging.URL, "did not answer in time"},
		"gone": {gone.URL, "unreachable: connection refused"},
		"without TLS": {"https" + strings.TrimPrefix(plain.URL, "http"),
			"does not speak TLS"},
		"another": {strings.Replace(hanging.URL, "127.0.0.1", "localhost", 1),
			"certificate is not trusted"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			if name == "slow" {
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, 300*time.Millisecond)
				defer cancel()
			}
			b, own := jobAt(profile.SourceAzure, test.url)
			_, err := Find(ctx, profileWith(b), jobSystem(own))
			if !errors.Is(err, ErrIssuer) || !strings.Contains(err.Error(), test.says) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// FuzzAnswer looks for an answer that is taken and holds no token, or that an error shows.
func FuzzAnswer(f *testing.F) {
	for _, body := range []string{`{"value": "` + idToken + `"}`, `{"value": 7}`, `{}`, "",
		`{"value": "a\nb.c.d"}`, `[`, `{"value": null}`, `{"VALUE": "a.b.c"}`} {
		f.Add(body)
	}
	s := services[profile.SourceGitHub]
	f.Fuzz(func(t *testing.T, body string) {
		token, err := s.tokenIn([]byte(body))
		if err == nil && !secret.IsToken(token.Reveal()) {
			t.Errorf("%q was taken", body)
		}
		if err != nil && !errors.Is(err, ErrIssuer) {
			t.Errorf("%q: %v", body, err)
		}
	})
}
