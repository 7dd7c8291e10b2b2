//go:build linux

package journeys_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"testing"
)

// gate stands in front of the API server and counts. At one request, before it is passed on or after it was answered,
// it calls strike and never answers.
type gate struct {
	url   string
	admin []byte // the administrator's kubeconfig, through the gate

	mu     sync.Mutex
	passed []string // method and path of each request
	at     int      // the number of the request, from 1
	after  bool
	strike func()
}

func newGate(t *testing.T) *gate {
	t.Helper()
	g := &gate{}
	serving, err := shared.plane.CA.IssueServingCert("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := tls.X509KeyPair(serving.CertPEM, serving.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(g.handler(t))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: roots()}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	admin, err := shared.plane.CA.IssueClientCert("admin", "system:masters")
	if err != nil {
		t.Fatal(err)
	}
	g.url = server.URL
	g.admin = bytes.ReplaceAll(shared.plane.Kubeconfig("admin", admin), []byte(shared.plane.Server), []byte(g.url))
	return g
}

func roots() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(shared.plane.CAPEM)
	return pool
}

var errStruck = errors.New("the gate does not answer")

// handler passes on as the administrator what came with a client certificate, the rest with its own token.
func (g *gate) handler(t *testing.T) http.Handler {
	t.Helper()
	target, err := url.Parse(shared.plane.Server)
	if err != nil {
		t.Fatal(err)
	}
	pair, err := shared.plane.CA.IssueClientCert("admin", "system:masters")
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	asAdmin, asBearer := g.proxy(target, certificate), g.proxy(target)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if g.struck(r, false) {
			panic(http.ErrAbortHandler)
		}
		if len(r.TLS.PeerCertificates) > 0 {
			asAdmin.ServeHTTP(w, r)
			return
		}
		asBearer.ServeHTTP(w, r)
	})
}

func (g *gate) proxy(target *url.URL, certificates ...tls.Certificate) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots(), Certificates: certificates}},
		ModifyResponse: func(r *http.Response) error {
			if g.struck(r.Request, true) {
				return errStruck
			}
			return nil
		},
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) },
		ErrorLog:     log.New(io.Discard, "", 0),
	}
}

// struck counts a request when it comes, and says whether it is the one that gets no answer.
func (g *gate) struck(r *http.Request, answered bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !answered {
		g.passed = append(g.passed, r.Method+" "+r.URL.Path)
	}
	if len(g.passed) != g.at || g.after != answered {
		return false
	}
	g.strike()
	return true
}

// arm says at which request to strike; the count starts anew.
func (g *gate) arm(at int, after bool, strike func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.passed, g.at, g.after, g.strike = nil, at, after, strike
}

func (g *gate) requests() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]string(nil), g.passed...)
}

// writes tells the requests that change something from those that ask. A review and a token leave nothing behind.
func writes(request string) bool {
	method, path, _ := strings.Cut(request, " ")
	return method != http.MethodGet && !strings.Contains(path, "subject")
}
