// Package faultproxy is a TLS proxy in front of the test control plane. It makes tokens
// short-lived, refuses them when that short life is over, and does to requests what a real server
// will not do on demand.
package faultproxy

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/test/controlplane"
)

// Fault is what happens to a request instead of being forwarded.
type Fault string

// The faults. A number such as "503" is an answer with that status.
const (
	None      Fault = ""
	Reset     Fault = "reset"     // the connection breaks before an answer
	Cut       Fault = "cut"       // the connection breaks within the answer's body
	Hang      Fault = "hang"      // there is no answer until the client gives up
	Endless   Fault = "endless"   // the answer's body does not end
	Page      Fault = "page"      // the answer is a web page
	NoToken   Fault = "no-token"  // the answer is a TokenRequest without a token
	Past      Fault = "past"      // the answer is a TokenRequest whose token has expired
	OtherJSON Fault = "otherjson" // the answer is JSON of another kind
)

// Options say what a proxy does. Functions are called from several goroutines.
type Options struct {
	// Lifetime returns how long a token of an account lives, whatever was granted; 0 leaves
	// it as it is.
	Lifetime func(account string) time.Duration
	// Fault returns what happens to a request.
	Fault func(*http.Request) Fault
	// Lost reports whether an answer of the API server is lost on its way.
	Lost func(*http.Request) bool
	// Ahead is how far the API server's clock seems to be before the real one.
	Ahead time.Duration
}

// Proxy is a running proxy.
type Proxy struct {
	URL string

	options Options
	forward *httputil.ReverseProxy
	asAdmin *httputil.ReverseProxy
	server  *http.Server

	mutex  sync.Mutex
	tokens map[string]Token
	faults map[Fault]int
	denied int
}

// Token is one that the proxy has seen being minted.
type Token struct {
	Namespace, Account string
	Expires            time.Time
}

// Start starts a proxy on a free port of loopback. Stop ends it. A client certificate of the
// cluster's authority counts as the administrator's: it cannot be passed on.
func Start(plane *controlplane.ControlPlane, options Options) (*Proxy, error) {
	target, err := url.Parse(plane.Server)
	if err != nil {
		return nil, err
	}
	serving, err := certificate(plane.CA.IssueServingCert(controlplane.ServingHosts()...))
	if err != nil {
		return nil, err
	}
	admin, err := certificate(plane.CA.IssueClientCert("admin", "system:masters"))
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(plane.CAPEM)
	p := &Proxy{URL: "https://" + listener.Addr().String(), options: options,
		tokens: map[string]Token{}, faults: map[Fault]int{}}
	p.forward = p.forwarder(target, &tls.Config{RootCAs: roots})
	p.asAdmin = p.forwarder(target, &tls.Config{RootCAs: roots,
		Certificates: []tls.Certificate{admin}})
	p.server = &http.Server{Handler: p, ErrorLog: discard(), TLSConfig: &tls.Config{
		Certificates: []tls.Certificate{serving}, ClientAuth: tls.VerifyClientCertIfGiven,
		ClientCAs: roots}}
	go func() { _ = p.server.ServeTLS(listener, "", "") }()
	return p, nil
}

func certificate(pair controlplane.KeyPair, err error) (tls.Certificate, error) {
	if err != nil {
		return tls.Certificate{}, err
	}
	return tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
}

func (p *Proxy) forwarder(target *url.URL, config *tls.Config) *httputil.ReverseProxy {
	return &httputil.ReverseProxy{
		Rewrite:        func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport:      &http.Transport{TLSClientConfig: config, MaxIdleConnsPerHost: 64},
		ModifyResponse: p.change,
		ErrorHandler:   failed,
		ErrorLog:       discard(),
	}
}

var errLost = errors.New("the answer is lost")

func failed(w http.ResponseWriter, _ *http.Request, err error) {
	if errors.Is(err, errLost) {
		panic(http.ErrAbortHandler)
	}
	answer(w, http.StatusBadGateway)
}

// Stop ends the proxy and every connection to it.
func (p *Proxy) Stop() { _ = p.server.Close() }

// Good reports whether a token was minted through the proxy and would be taken by it now.
func (p *Proxy) Good(token string) bool {
	seen, found := p.Token(token)
	return found && time.Now().Before(seen.Expires)
}

// Token returns what is known of a token.
func (p *Proxy) Token(token string) (Token, bool) {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	seen, found := p.tokens[token]
	return seen, found
}

// Minted counts the tokens of an account.
func (p *Proxy) Minted(namespace, account string) int {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	count := 0
	for _, token := range p.tokens {
		if token.Namespace == namespace && token.Account == account {
			count++
		}
	}
	return count
}

// Texts returns all tokens, for those who look for them where they should not be.
func (p *Proxy) Texts() []string {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	var texts []string
	for text := range p.tokens {
		texts = append(texts, text)
	}
	return texts
}

// Denied counts the requests with a token whose short life was over.
func (p *Proxy) Denied() int {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	return p.denied
}

// Faults counts what was done to requests.
func (p *Proxy) Faults() map[Fault]int {
	p.mutex.Lock()
	defer p.mutex.Unlock()
	counts := map[Fault]int{}
	for fault, count := range p.faults {
		counts[fault] = count
	}
	return counts
}

// ServeHTTP implements http.Handler.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if p.deny(r) {
		answer(w, http.StatusUnauthorized)
		return
	}
	fault := None
	if p.options.Fault != nil {
		fault = p.options.Fault(r)
	}
	if fault == None {
		forward := p.forward
		if len(r.TLS.PeerCertificates) > 0 {
			forward = p.asAdmin
		}
		forward.ServeHTTP(w, r)
		return
	}
	p.mutex.Lock()
	p.faults[fault]++
	p.mutex.Unlock()
	fault.serve(w, r)
}

// deny reports whether the request's token was made short-lived and has outlived that.
func (p *Proxy) deny(r *http.Request) bool {
	text, found := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !found {
		return false
	}
	token, known := p.Token(text)
	if !known || time.Now().Before(token.Expires) {
		return false
	}
	p.mutex.Lock()
	defer p.mutex.Unlock()
	p.denied++
	return true
}

func (f Fault) serve(w http.ResponseWriter, r *http.Request) {
	const request = `{"kind":"TokenRequest","apiVersion":"authentication.k8s.io/v1","status":`
	switch f {
	case Reset:
		panic(http.ErrAbortHandler)
	case Cut:
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", "1000")
		_, _ = io.WriteString(w, request)
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	case Hang:
		<-r.Context().Done()
	case Endless:
		w.Header().Set("Content-Type", "application/json")
		for filler := bytes.Repeat([]byte(" "), 1<<16); ; {
			if _, err := w.Write(filler); err != nil {
				return
			}
		}
	case Page:
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<html><body>Sign in to continue</body></html>")
	case NoToken:
		write(w, http.StatusCreated, request+`{"token":"","expirationTimestamp":"2100-01-01T00:00:00Z"}}`)
	case Past:
		write(w, http.StatusCreated, request+`{"token":"`+rand.Text()+`","expirationTimestamp":"2001-01-01T00:00:00Z"}}`)
	case OtherJSON:
		write(w, http.StatusCreated, `{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1","status":{}}`)
	default:
		code, err := strconv.Atoi(string(f))
		if err != nil {
			code = http.StatusInternalServerError
		}
		if code == http.StatusTooManyRequests {
			w.Header().Set("Retry-After", "1")
		}
		answer(w, code)
	}
}

// answer is a failure in the API server's form.
func answer(w http.ResponseWriter, code int) {
	body, _ := json.Marshal(map[string]any{"kind": "Status", "apiVersion": "v1",
		"status": "Failure", "code": code, "message": http.StatusText(code)})
	write(w, code, string(body))
}

func write(w http.ResponseWriter, code int, body string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, body)
}

// change does to an answer what the options say, remembers the tokens in TokenRequests and makes
// them short-lived.
func (p *Proxy) change(response *http.Response) error {
	if p.options.Lost != nil && p.options.Lost(response.Request) {
		return errLost
	}
	if p.options.Ahead != 0 {
		response.Header.Set("Date", time.Now().Add(p.options.Ahead).UTC().Format(http.TimeFormat))
	}
	parts := strings.Split(strings.Trim(response.Request.URL.Path, "/"), "/")
	// api v1 namespaces NS serviceaccounts NAME token
	if response.StatusCode != http.StatusCreated || len(parts) != 7 || parts[6] != "token" {
		return nil
	}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	_ = response.Body.Close()
	body, err = p.remember(parts[3], parts[5], body)
	if err != nil {
		return err
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	response.ContentLength = int64(len(body))
	response.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return nil
}

func (p *Proxy) remember(namespace, account string, body []byte) ([]byte, error) {
	var request map[string]any
	if err := json.Unmarshal(body, &request); err != nil {
		return nil, fmt.Errorf("the API server's TokenRequest is not JSON, did the "+
			"client ask for that: %w", err)
	}
	status, _ := request["status"].(map[string]any)
	text, _ := status["token"].(string)
	granted, err := time.Parse(time.RFC3339, fmt.Sprint(status["expirationTimestamp"]))
	if text == "" || err != nil {
		return nil, errors.New("the API server's TokenRequest has no token")
	}
	if p.options.Lifetime != nil {
		if lifetime := p.options.Lifetime(account); lifetime > 0 {
			// The API has whole seconds; the token is refused no earlier than it says.
			granted = time.Now().Add(lifetime).Truncate(time.Second)
		}
	}
	status["expirationTimestamp"] = granted.Add(p.options.Ahead).UTC().Format(time.RFC3339)
	p.mutex.Lock()
	p.tokens[text] = Token{Namespace: namespace, Account: account, Expires: granted}
	p.mutex.Unlock()
	return json.Marshal(request)
}
