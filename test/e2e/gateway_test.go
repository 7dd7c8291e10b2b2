//go:build linux

package e2e_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/test/controlplane"
)

// gateway stands in front of the real API server, as a cloud's load balancer would. It passes everything on and keeps
// count; told so, it makes tokens live shorter than the ten minutes that an API server insists on, and refuses them
// from then on; or it gives odd answers itself.
type gateway struct {
	url        string
	kubeconfig string // the administrator's

	mu         sync.Mutex
	life       time.Duration // of tokens from now on; 0 for that of the API server
	dies       map[string]time.Time
	used       map[string]int // requests by bearer token
	refused    int            // answers 401, also the API server's
	fault      http.HandlerFunc
	handshakes func(*tls.ClientHelloInfo) (*tls.Config, error)
}

// newGateway starts one that passes everything on.
func newGateway(t *testing.T) *gateway {
	t.Helper()
	g := &gateway{dies: map[string]time.Time{}, used: map[string]int{}}
	serving, err := shared.plane.CA.IssueServingCert("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	handler, err := g.handler()
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(handler)
	server.TLS = serverTLS(t, serving)
	server.TLS.GetConfigForClient = g.handshake
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	g.url = server.URL
	g.kubeconfig = g.writeKubeconfig(t)
	return g
}

// serverTLS also asks for the client certificate that an administrator has.
func serverTLS(t *testing.T, pair controlplane.KeyPair) *tls.Config {
	t.Helper()
	certificate, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	return &tls.Config{Certificates: []tls.Certificate{certificate}, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: planeRoots()}
}

func planeRoots() *x509.CertPool {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(shared.plane.CAPEM)
	return roots
}

// writeKubeconfig makes an administrator's kubeconfig that leads to the gateway.
func (g *gateway) writeKubeconfig(t *testing.T) string {
	t.Helper()
	admin, err := shared.plane.CA.IssueClientCert("admin", "system:masters")
	if err != nil {
		t.Fatal(err)
	}
	content := bytes.ReplaceAll(shared.plane.Kubeconfig("admin", admin), []byte(shared.plane.Server), []byte(g.url))
	path := filepath.Join(newFolder(t, "admin"), "kubeconfig")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (g *gateway) handshake(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	g.mu.Lock()
	handshakes := g.handshakes
	g.mu.Unlock()
	if handshakes == nil {
		return nil, nil
	}
	return handshakes(hello)
}

// handler passes on what an administrator's client certificate came with as the administrator, and everything else as
// what its bearer token says.
func (g *gateway) handler() (http.Handler, error) {
	target, err := url.Parse(shared.plane.Server)
	if err != nil {
		return nil, err
	}
	admin, err := shared.plane.CA.IssueClientCert("admin", "system:masters")
	if err != nil {
		return nil, err
	}
	certificate, err := tls.X509KeyPair(admin.CertPEM, admin.KeyPEM)
	if err != nil {
		return nil, err
	}
	asAdmin, asBearer := g.proxy(target, certificate), g.proxy(target)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if len(r.TLS.PeerCertificates) > 0 {
			asAdmin.ServeHTTP(w, r)
			return
		}
		g.serve(w, r, asBearer)
	}), nil
}

func (g *gateway) proxy(target *url.URL, certificates ...tls.Certificate) http.Handler {
	return &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:      &http.Transport{TLSClientConfig: &tls.Config{RootCAs: planeRoots(), Certificates: certificates}},
		ModifyResponse: g.modify,
		ErrorLog:       log.New(io.Discard, "", 0),
	}
}

// serve answers a request that came with a bearer token, or with nothing.
func (g *gateway) serve(w http.ResponseWriter, r *http.Request, next http.Handler) {
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	shared.secrets.note(token)
	g.mu.Lock()
	g.used[token]++
	dies, mortal := g.dies[token]
	fault := g.fault
	g.mu.Unlock()
	switch {
	case mortal && !time.Now().Before(dies):
		g.countRefusal()
		writeStatus(w, http.StatusUnauthorized)
	case fault != nil && isTokenRequest(r):
		fault(w, r)
	default:
		next.ServeHTTP(w, r)
	}
}

func (g *gateway) countRefusal() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refused++
}

var tokenPath = regexp.MustCompile(`^/api/v1/namespaces/[^/]+/serviceaccounts/([^/]+)/token$`)

func isTokenRequest(r *http.Request) bool {
	return r.Method == http.MethodPost && tokenPath.MatchString(r.URL.Path)
}

// modify notes tokens that are on their way to the machine, and shortens their lives.
func (g *gateway) modify(response *http.Response) error {
	if response.StatusCode == http.StatusUnauthorized {
		g.countRefusal()
	}
	if !isTokenRequest(response.Request) || response.StatusCode != http.StatusCreated {
		return nil
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	shared.secrets.note(string(body))
	if body, err = g.shorten(response.Request, body); err != nil {
		return err
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	response.ContentLength = int64(len(body))
	response.Header.Set("Content-Length", fmt.Sprint(len(body)))
	return nil
}

// shorten leaves alone the bootstrap service accounts.
func (g *gateway) shorten(r *http.Request, body []byte) ([]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.life == 0 || strings.HasSuffix(tokenPath.FindStringSubmatch(r.URL.Path)[1], "-bootstrap") {
		return body, nil
	}
	var answer map[string]any
	if err := json.Unmarshal(body, &answer); err != nil {
		return nil, fmt.Errorf("reading a TokenRequest's answer: %w", err)
	}
	dies := time.Now().Add(g.life).UTC().Truncate(time.Second) // the API's times have whole seconds
	status := answer["status"].(map[string]any)
	status["expirationTimestamp"] = dies.Format(time.RFC3339)
	g.dies[status["token"].(string)] = dies
	return json.Marshal(answer)
}

// setLife makes the tokens that are minted from now on live for that long.
func (g *gateway) setLife(life time.Duration) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.life = life
}

// setFault has f answer TokenRequests; nil passes them on again.
func (g *gateway) setFault(f http.HandlerFunc) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.fault = f
}

// setHandshakes has f choose what TLS handshakes are answered with.
func (g *gateway) setHandshakes(f func(*tls.ClientHelloInfo) (*tls.Config, error)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.handshakes = f
}

// refusals is how many answers were 401.
func (g *gateway) refusals() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.refused
}

// mortals is how many of the tokens with a shortened life have been used.
func (g *gateway) mortals() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	used := 0
	for token := range g.dies {
		if g.used[token] > 0 {
			used++
		}
	}
	return used
}

// writeStatus answers as an API server does.
func writeStatus(w http.ResponseWriter, code int) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","metadata":{},"status":"Failure","message":"%s","reason":"","code":%d}`+"\n",
		http.StatusText(code), code)
}

// until hands out a context that ends with the test, or before when the function is called.
func until(t *testing.T) (context.Context, context.CancelFunc) {
	t.Helper()
	ctx, end := context.WithCancel(context.Background())
	t.Cleanup(end)
	return ctx, end
}
