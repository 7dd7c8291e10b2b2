package mint

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"reflect"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/connect"
)

var request = Request{Namespace: "build", ServiceAccount: "ci", Audiences: []string{"a", "b"},
	Duration: time.Hour,
	Bound:    &Secret{Name: "device", UID: "uid-1"}}

func minterFor(t *testing.T, config *rest.Config, now func() time.Time) *Client {
	t.Helper()
	client, err := connect.To(config)
	if err != nil {
		t.Fatal(err)
	}
	return New(client, now)
}

func TestMintSends(t *testing.T) {
	tests := []struct {
		name    string
		request Request
		spec    string
	}{
		{"audiences, lifetime and device", request,
			`{"audiences":["a","b"],"boundObjectRef":{"apiVersion":"v1","kind":"Secret","name":"device","uid":"uid-1"},"expirationSeconds":3600}`},
		{"no more than it has to",
			Request{Namespace: "build", ServiceAccount: "ci",
				Duration: 10 * time.Minute},
			`{"audiences":null,"boundObjectRef":null,"expirationSeconds":600}`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got struct{ Spec any }
			var path, authorization, agent, protocol string
			_, config := serve(t, func(w http.ResponseWriter, r *http.Request) {
				path, authorization, agent, protocol = r.Method+" "+r.URL.String(),
					r.Header.Get("Authorization"), r.UserAgent(), r.Proto
				_ = json.NewDecoder(r.Body).Decode(&got)
				respond(201, "application/json", answerWith("t",
					time.Now().Add(time.Hour)))(w, r)
			})
			if _, err := minterFor(t, config, time.Now).Mint(t.Context(),
				tt.request); err != nil {
				t.Fatal(err)
			}
			var want any
			if err := json.Unmarshal([]byte(tt.spec), &want); err != nil {
				t.Fatal(err)
			}
			if !reflect.DeepEqual(got.Spec, want) {
				t.Errorf("spec %v, want %v", got.Spec, want)
			}
			if path != "POST /api/v1/namespaces/build/serviceaccounts/ci/token" ||
				authorization != "Bearer "+credential ||
				agent != "sa-exec-credential" || protocol != "HTTP/1.1" {
				t.Errorf("request %q, %q, %q, %q", path, authorization, agent,
					protocol)
			}
		})
	}
}

// TestTimes keeps a clock of this machine's own; the server's differs from it by an offset.
func TestTimes(t *testing.T) {
	base := time.Now().Truncate(time.Second)
	noDate := func(h http.Header) { h["Date"] = nil }
	dateAt := func(offset time.Duration) func(http.Header) {
		return func(h http.Header) {
			h.Set("Date",
				base.Add(offset).UTC().Format(http.TimeFormat))
		}
	}
	iatAt := func(offset time.Duration) string {
		return tokenOf(fmt.Sprintf(`{"iat":%d}`, base.Add(offset).Unix()))
	}
	tests := []struct {
		name    string
		header  func(http.Header)
		token   string
		granted time.Duration // expirationTimestamp, by this machine's clock at the request
		want    time.Duration // expiry that is taken
		skew    time.Duration
		way     time.Duration // from the request to the answer
		err     error
	}{
		{name: "a server that agrees is believed", header: dateAt(0), granted: time.Hour,
			want: time.Hour},
		{name: "a shorter grant is used as granted", header: dateAt(0),
			granted: 11 * time.Minute,
			want:    11 * time.Minute},
		{name: "two seconds are the way's, not the clock's",
			header:  dateAt(2 * time.Second),
			granted: 30 * time.Minute, want: 30 * time.Minute},
		{name: "three seconds are the clock's", header: dateAt(3 * time.Second),
			granted: 30 * time.Minute,
			want:    30*time.Minute - 3*time.Second, skew: -3 * time.Second},
		{name: "a server an hour ahead is corrected", header: dateAt(time.Hour),
			granted: 90 * time.Minute, want: 30 * time.Minute, skew: -time.Hour},
		{name: "a server an hour behind is corrected", header: dateAt(-time.Hour),
			granted: -30 * time.Minute, want: 30 * time.Minute, skew: time.Hour},
		{name: "without a Date the token's iat tells", header: noDate,
			token:   iatAt(time.Hour),
			granted: 90 * time.Minute, want: 30 * time.Minute, skew: -time.Hour},
		{name: "a Date that is none is as good as absent",
			header: func(h http.Header) { h.Set("Date", "yesterday") },
			token:  iatAt(-time.Hour), granted: -30 * time.Minute,
			want: 30 * time.Minute, skew: time.Hour},
		{name: "a Date that cannot be the issuer's is passed over",
			header: dateAt(70 * 365 * 24 * time.Hour), token: iatAt(0),
			granted: time.Hour, want: time.Hour},
		{name: "a Date within a minute of the token's iat is the issuer's",
			header: dateAt(55 * time.Second), token: iatAt(0),
			granted: 30 * time.Minute, want: 30*time.Minute - 55*time.Second,
			skew: -55 * time.Second},
		{name: "a Date more than a minute from the token's iat is a proxy's",
			header: dateAt(65 * time.Second), token: iatAt(0),
			granted: 30 * time.Minute, want: 30 * time.Minute},
		{name: "without either the answer is believed", header: noDate,
			granted: 30 * time.Minute,
			want:    30 * time.Minute},
		{name: "ten years are no more than was asked for", header: dateAt(0),
			granted: 10 * 365 * 24 * time.Hour, want: time.Hour},
		{name: "a second that begins on the way is not the token's", header: dateAt(time.Second),
			granted: time.Hour + time.Second, way: 2 * time.Second, want: time.Hour},
		{name: "an expiry in the past makes no sense", header: dateAt(0),
			granted: -time.Minute,
			err:     api.ErrAnswer},
		{name: "an expiry of now makes no sense", header: dateAt(0), granted: 0,
			err: api.ErrAnswer},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, config := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				tt.header(w.Header())
				w.Header().Set("Content-Type", "application/json")
				token := tt.token
				if token == "" {
					token = "opaque"
				}
				_, _ = io.WriteString(w, answerWith(token, base.Add(tt.granted)))
			})
			now := base
			minter := minterFor(t, config, func() time.Time {
				defer func() { now = base.Add(tt.way) }()
				return now
			})
			grant, err := minter.Mint(t.Context(), request)
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v", err)
			}
			if err == nil &&
				(!grant.ExpiresAt.Equal(base.Add(tt.want)) ||
					grant.Skew != tt.skew ||
					!grant.IssuedAt.Equal(base)) {
				t.Errorf("expires in %v with skew %v, want %v, %v",
					grant.ExpiresAt.Sub(base),
					grant.Skew, tt.want, tt.skew)
			}
		})
	}
}

func TestAnswersThatAreErrors(t *testing.T) {
	packed() // takes a while, of which no request shall be kept waiting
	secrets := map[string]any{"kind": "secrets"}
	status := func(code int, message string) http.HandlerFunc {
		return respond(code, "application/json", failure(code, message+" "+credential,
			secrets))
	}
	tests := []struct {
		name      string
		answer    http.HandlerFunc
		err       error
		admission bool
	}{
		{name: "400", answer: status(400, "bad"), err: api.ErrInvalid},
		{name: "401", answer: status(401, "Unauthorized"), err: api.ErrUnauthorized},
		{name: "403 of RBAC",
			answer: status(403,
				`serviceaccounts "ci" is forbidden: User "x" cannot create resource`), err: api.ErrForbidden},
		{name: "403 of a webhook",
			answer: status(403,
				`admission webhook "x" denied the request: no`),
			err: api.ErrForbidden, admission: true},
		{name: "422 of a policy",
			answer: status(422,
				`ValidatingAdmissionPolicy 'x' with binding 'y' denied request: no`), err: api.ErrInvalid, admission: true},
		{name: "404", answer: status(404, "not found"), err: api.ErrNotFound},
		{name: "407 of a server", answer: status(407, "proxy"), err: api.ErrInvalid},
		{name: "409", answer: status(409, "the UID in the bound object reference does "+
			"not match"),
			err: api.ErrConflict},
		{name: "410", answer: status(410, "gone"), err: api.ErrInvalid},
		{name: "422", answer: status(422, "may not specify a duration less than 10 "+
			"minutes"),
			err: api.ErrInvalid},
		{name: "429", answer: status(429, "too many requests"), err: api.ErrThrottled},
		{name: "500", answer: status(500, "etcd"), err: api.ErrServer},
		{name: "503", answer: status(503, "starting"), err: api.ErrServer},
		{name: "500 that speaks of a denial",
			answer: status(500, `admission webhook "x" denied the request`),
			err:    api.ErrServer},
		{name: "a page instead of a Status", answer: respond(502, "text/html",
			"<html>"+credential),
			err: api.ErrServer},
		{name: "a page instead of a TokenRequest",
			answer: respond(200, "text/html", "<html>"+credential), err: api.ErrAnswer},
		{name: "an answer of an unknown type",
			answer: respond(200, "application/cbor",
				answerWith("t", time.Now().Add(time.Hour))), err: api.ErrAnswer},
		{name: "an answer that is not JSON", answer: respond(201, "application/json", "{"),
			err: api.ErrAnswer},
		{name: "an empty answer", answer: respond(201, "application/json", ""),
			err: api.ErrAnswer},
		{name: "no content", answer: respond(204, "application/json", ""),
			err: api.ErrAnswer},
		{name: "JSON that is no object", answer: respond(201, "application/json", "[1]"),
			err: api.ErrAnswer},
		{name: "JSON of another kind",
			answer: respond(201, "application/json",
				`{"apiVersion":"v1","kind":"Pod"}`), err: api.ErrAnswer},
		{name: "JSON of a kind that it knows", err: api.ErrAnswer,
			answer: respond(201, "application/json",
				`{"apiVersion":"authentication.k8s.io/v1","kind":"TokenReview"}`)},
		{name: "a TokenRequest of the wrong shape", err: api.ErrAnswer,
			answer: respond(201, "application/json",
				`{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","status":7}`)},
		{name: "a success that is no TokenRequest", err: api.ErrAnswer,
			answer: respond(200, "application/json",
				`{"apiVersion":"v1","kind":"Status","status":"Success"}`)},
		{name: "a failure that calls itself 200",
			answer: respond(200, "application/json",
				failure(500, credential, nil)), err: api.ErrAnswer},
		{name: "an empty token",
			answer: respond(201, "application/json",
				answerWith("", time.Now().Add(time.Hour))), err: api.ErrAnswer},
		{name: "a token that would be two header lines", err: api.ErrAnswer,
			answer: respond(201, "application/json",
				answerWith("t\r\nX-Evil: 1", time.Now().Add(time.Hour)))},
		{name: "a token that a terminal obeys", err: api.ErrAnswer,
			answer: respond(201, "application/json",
				answerWith("t\x1b[31m", time.Now().Add(time.Hour)))},
		{name: "a token of no size for a header", err: api.ErrAnswer,
			answer: respond(201, "application/json",
				answerWith(strings.Repeat("t", 3<<20), time.Now().Add(time.Hour)))},
		{name: "a token without an expiry", err: api.ErrAnswer,
			answer: respond(201, "application/json",
				`{"apiVersion":"authentication.k8s.io/v1","kind":"TokenRequest","status":{"token":"t"}}`)},
		{name: "a body without end", answer: endless, err: api.ErrAnswer},
		{name: "a small body that unpacks without end", answer: bomb, err: api.ErrAnswer},
		{name: "a failure without end", err: api.ErrAnswer,
			answer: func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(500)
				endless(w, r)
			}},
		{name: "a connection reset after the headers", answer: resetAfterHeaders,
			err: api.ErrUnreachable},
		{name: "a connection closed before the headers", err: api.ErrUnreachable,
			answer: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, config := serve(t, tt.answer)
			stderr := captureStderr(t)
			_, err := minterFor(t, config, time.Now).Mint(t.Context(), request)
			if !errors.Is(err, tt.err) || api.Kind(err) != tt.err {
				t.Errorf("error %v of kind %v, want %v", err, api.Kind(err), tt.err)
			}
			if errors.Is(err, api.ErrAdmission) != tt.admission {
				t.Errorf("admission: %v", err)
			}
			noCredential(t, err)
			if said := stderr(); said != "" {
				t.Errorf("on standard error: %q", said)
			}
		})
	}
}

func TestDetailsOfAFailure(t *testing.T) {
	tests := []struct {
		name     string
		answer   http.HandlerFunc
		resource string
	}{
		{"a Status tells",
			respond(429, "application/json",
				failure(429, credential, map[string]any{"kind": "secrets"})),
			"secrets"},
		{"a page tells nothing", respond(429, "text/html", credential), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, config := serve(t, func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("Retry-After", "7")
				tt.answer(w, r)
			})
			_, err := minterFor(t, config, time.Now).Mint(t.Context(), request)
			var status *api.StatusError
			if !errors.As(err, &status) {
				t.Fatal(err)
			}
			want := api.StatusError{Kind: api.ErrThrottled, Code: 429,
				Resource: tt.resource}
			if !reflect.DeepEqual(*status, want) {
				t.Errorf("got %#v, want %#v", *status, want)
			}
		})
	}
}

// TestRedirectsAreNotFollowed makes sure that a server cannot send the credential, or the request,
// to another one.
func TestRedirectsAreNotFollowed(t *testing.T) {
	for _, code := range []int{301, 302, 303, 307, 308} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			var reached atomic.Int32
			other, _ := serve(t, func(http.ResponseWriter,
				*http.Request) {
				reached.Add(1)
			})
			server, config := serve(t, func(w http.ResponseWriter, r *http.Request) {
				http.Redirect(w, r, other.URL, code)
			})
			config.CAData = append(caOf(server), caOf(other)...)
			_, err := minterFor(t, config, time.Now).Mint(t.Context(), request)
			if !errors.Is(err, api.ErrAnswer) || reached.Load() != 0 {
				t.Errorf("error %v, %d requests", err, reached.Load())
			}
		})
	}
}

func TestWarningsAreNotShown(t *testing.T) {
	_, config := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Warning", `299 - "requested expiration of 3600 seconds shortened"`)
		respond(201, "application/json", answerWith("t", time.Now().Add(time.Hour)))(w, r)
	})
	stderr := captureStderr(t)
	_, err := minterFor(t, config, time.Now).Mint(t.Context(), request)
	if said := stderr(); err != nil || said != "" {
		t.Errorf("error %v, on standard error: %q", err, said)
	}
}

// TestServersThatHang has deadlines that are short, and no upper bound: the test's own time limit
// is one.
func TestServersThatHang(t *testing.T) {
	released := make(chan struct{})
	hang := func(w http.ResponseWriter, _ *http.Request) { <-released }
	halfway := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "{")
		w.(http.Flusher).Flush()
		<-released
	}
	_, before := serve(t, hang)
	_, after := serve(t, halfway)
	t.Cleanup(func() { close(released) })
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = silent.Close() })
	tests := []struct {
		name   string
		config *rest.Config
	}{
		{"a server that never answers", before},
		{"a server that stops after the headers", after},
		{"a TLS handshake that nobody answers",
			&rest.Config{Host: "https://" + silent.Addr().String(),
				BearerToken: credential}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			_, err := minterFor(t, tt.config, time.Now).Mint(ctx, request)
			if !errors.Is(err, api.ErrTimeout) {
				t.Errorf("error %v", err)
			}
			noCredential(t, err)
		})
	}
}

// TestAnswersThatAreNotHTTP all hold the credential where net/http would quote it.
func TestAnswersThatAreNotHTTP(t *testing.T) {
	const rest = "Content-Length: 0\r\n\r\n"
	tests := map[string]string{
		"a status line":   credential + "\r\n\r\n",
		"a status code":   "HTTP/1.1 " + credential + "\r\n" + rest,
		"a version":       "HTTP/" + credential + " 200 OK\r\n" + rest,
		"a header line":   "HTTP/1.1 200 OK\r\n" + credential + "\r\n" + rest,
		"a header's name": "HTTP/1.1 200 OK\r\n" + credential + " : x\r\n" + rest,
		"a length":        "HTTP/1.1 200 OK\r\nContent-Length: " + credential + "\r\n\r\n",
		"an encoding": "HTTP/1.1 200 OK\r\nTransfer-Encoding: " + credential +
			"\r\n\r\n",
		"a location": "HTTP/1.1 307 x\r\nLocation: http://[" + credential + "\r\n" +
			rest,
		"a chunk's length": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" +
			credential +
			"\r\n",
		"a status text": "HTTP/1.1 500 " + credential + "\r\n" + rest,
		"a switch of words": "HTTP/1.1 101 " + credential + "\r\nUpgrade: " + credential +
			"\r\n\r\n",
	}
	for name, answer := range tests {
		t.Run(name, func(t *testing.T) {
			server, config := serve(t, func(w http.ResponseWriter, _ *http.Request) {
				connection, _, err := http.NewResponseController(w).Hijack()
				if err != nil {
					panic(err)
				}
				defer connection.Close()
				_, _ = io.WriteString(connection, answer)
			})
			defer server.Close()
			stderr := captureStderr(t)
			_, err := minterFor(t, config, time.Now).Mint(t.Context(), request)
			if err == nil || api.Kind(err) == nil {
				t.Errorf("error %v", err)
			}
			noCredential(t, err)
			if said := stderr(); said != "" {
				t.Errorf("on standard error: %q", said)
			}
		})
	}
}

func TestServersThatAreNotThere(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = closed.Close()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		connection, _, err := http.NewResponseController(w).Hijack()
		if err != nil {
			panic(err)
		}
		defer connection.Close()
		_, _ = io.WriteString(connection, "HTTP/1.1 407 "+credential+"\r\n\r\n")
	}))
	t.Cleanup(proxy.Close)
	proxyURL, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	plain := httptest.NewServer(respond(200, "text/plain", "no TLS here"))
	t.Cleanup(plain.Close)
	mutual := httptest.NewUnstartedServer(respond(200, "text/plain", "who are you?"))
	mutual.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert}
	mutual.Config.ErrorLog = log.New(io.Discard, "", 0)
	mutual.StartTLS()
	t.Cleanup(mutual.Close)
	tests := []struct {
		name    string
		config  *rest.Config
		problem string
	}{
		{"a server that wants a client certificate", configFor(mutual),
			"tls: certificate required"},
		{"a port that is closed", &rest.Config{Host: "https://" + closed.Addr().String()},
			"connection refused"},
		{"a name that does not exist", &rest.Config{Host: "https://k8s.invalid"},
			"its name cannot be resolved"},
		{"a proxy that wants a password",
			&rest.Config{Host: "https://k8s.invalid",
				Proxy: http.ProxyURL(proxyURL)}, "the proxy refused the " +
				"connection (407)"},
		{"a server without TLS",
			&rest.Config{Host: strings.Replace(plain.URL, "http:", "https:",
				1)}, "it does not speak TLS"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			tt.config.BearerToken = credential
			_, err := minterFor(t, tt.config, time.Now).Mint(t.Context(), request)
			if !errors.Is(err, api.ErrUnreachable) ||
				!strings.HasSuffix(err.Error(), ": "+tt.problem) {
				t.Errorf("error %v", err)
			}
			noCredential(t, err)
		})
	}
}

func TestCertificatesThatAreNotTrusted(t *testing.T) {
	tests := []struct {
		name    string
		edit    func(*x509.Certificate)
		other   bool // the client knows another authority
		problem string
	}{
		{name: "a certificate that has expired", edit: func(c *x509.Certificate) {
			c.NotAfter = time.Now().Add(-time.Hour)
		}, problem: "expired"},
		{name: "a certificate for another name", edit: func(c *x509.Certificate) {
			c.IPAddresses = nil
			c.DNSNames = []string{"other"}
		}, problem: "another name"},
		{name: "a certificate of another authority", edit: func(*x509.Certificate) {},
			other:   true,
			problem: "not signed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			reached := false
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter,
				*http.Request) {
				reached = true
			}))
			server.Config.ErrorLog = quiet()
			server.TLS = &tls.Config{Certificates: []tls.Certificate{certificateFor(t,
				tt.edit)}}
			server.StartTLS()
			t.Cleanup(server.Close)
			config := configFor(server)
			if tt.other {
				stranger, _ := serve(t, nil)
				config.CAData = caOf(stranger)
			}
			_, err := minterFor(t, config, time.Now).Mint(t.Context(), request)
			if !errors.Is(err, api.ErrTLS) || !strings.Contains(err.Error(),
				tt.problem) {
				t.Errorf("error %v", err)
			}
			if reached {
				t.Error("the request was sent")
			}
		})
	}
}

// TestADeadAddressIsPassedOver gives a name two addresses, the first of which nobody answers at.
func TestADeadAddressIsPassedOver(t *testing.T) {
	server, config := serve(t,
		respond(201, "application/json", answerWith("t", time.Now().Add(time.Hour))))
	_, port, err := net.SplitHostPort(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	// "localhost" is both ::1, where nothing listens at this port, and 127.0.0.1.
	config.Host, config.ServerName = "https://localhost:"+port, "example.com"
	if _, err := minterFor(t, config, time.Now).Mint(t.Context(), request); err != nil {
		t.Error(err)
	}
}

// TestCallsHaveTenSeconds looks at the deadline of the request, which is not waited for.
func TestCallsHaveTenSeconds(t *testing.T) {
	tests := map[string]func(*Client) error{
		"Mint": func(m *Client) error {
			_, err := m.Mint(context.Background(), request)
			return err
		},
		"WhoAmI": func(m *Client) error { _, err := m.WhoAmI(context.Background()); return err },
	}
	for name, call := range tests {
		t.Run(name, func(t *testing.T) {
			config := &rest.Config{Host: "https://127.0.0.1:1",
				Transport: transport(func(r *http.Request) (*http.Response, error) {
					if deadline, bounded := r.Context().Deadline(); !bounded ||
						time.Until(deadline) > 10*time.Second {
						t.Errorf("deadline %v, %v", deadline, bounded)
					}
					return nil, io.ErrUnexpectedEOF
				})}
			if err := call(minterFor(t, config, time.Now)); !errors.Is(err,
				api.ErrUnreachable) {
				t.Errorf("error %v", err)
			}
		})
	}
}

// transport is a function that answers requests.
type transport func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f transport) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }

func noCredential(t *testing.T, err error) {
	t.Helper()
	if shown := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(shown, credential) {
		t.Errorf("the error shows the credential: %s", shown)
	}
}

func endless(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	for r.Context().Err() == nil {
		if _, err := w.Write(make([]byte, 1<<16)); err != nil {
			return
		}
	}
}

// packed is 64 MiB of zeros in some 64 KiB.
var packed = sync.OnceValue(func() []byte {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	for range 64 {
		_, _ = w.Write(make([]byte, 1<<20))
	}
	_ = w.Close()
	return b.Bytes()
})

func bomb(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Encoding", "gzip")
	_, _ = w.Write(packed())
}

func resetAfterHeaders(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Length", "100")
	_, _ = io.WriteString(w, "{")
	w.(http.Flusher).Flush()
	panic(http.ErrAbortHandler)
}

// captureStderr takes what is written to standard error until the function it returns is called.
func captureStderr(t *testing.T) func() string {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	before := os.Stderr
	os.Stderr = file
	return func() string {
		os.Stderr = before
		said, err := os.ReadFile(file.Name())
		if err != nil {
			t.Error(err)
		}
		return string(said)
	}
}
