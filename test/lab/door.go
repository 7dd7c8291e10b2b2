//go:build linux

package e2e_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/test/controlplane"
	"github.com/sa-exec-credential/sa-exec-credential/test/faultproxy"
)

// door is the address that a machine knows its API server by. It leads to the real one until a test has it lead to
// somewhere else, as when a server breaks or is replaced behind its name.
type door struct {
	url        string
	kubeconfig string // an administrator's
	listener   net.Listener

	mu     sync.Mutex
	behind func(net.Conn)
	open   map[net.Conn]bool
	closed bool
}

// newDoor makes one that leads to the real API server.
func newDoor(t *testing.T) *door {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &door{url: "https://" + listener.Addr().String(), listener: listener, open: map[net.Conn]bool{}}
	d.leadTo(shared.plane.Server)
	d.kubeconfig = d.writeKubeconfig(t)
	go d.serve()
	t.Cleanup(d.close)
	return d
}

// writeKubeconfig makes an administrator's kubeconfig that leads to the door.
func (d *door) writeKubeconfig(t *testing.T) string {
	t.Helper()
	admin, err := shared.plane.CA.IssueClientCert("admin", "system:masters")
	if err != nil {
		t.Fatal(err)
	}
	content := bytes.ReplaceAll(shared.plane.Kubeconfig("admin", admin), []byte(shared.plane.Server), []byte(d.url))
	path := filepath.Join(newFolder(t, "admin"), "kubeconfig")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (d *door) serve() {
	for {
		conn, err := d.listener.Accept()
		if err != nil {
			return
		}
		d.mu.Lock()
		behind := d.behind
		d.open[conn] = true
		if d.closed {
			_ = conn.Close()
		}
		d.mu.Unlock()
		go func() {
			behind(conn)
			d.mu.Lock()
			defer d.mu.Unlock()
			delete(d.open, conn)
			_ = conn.Close()
		}()
	}
}

// close ends every connection.
func (d *door) close() {
	_ = d.listener.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for conn := range d.open {
		_ = conn.Close()
	}
}

// lead has new connections handled by behind; those that are open stay what they are.
func (d *door) lead(behind func(net.Conn)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.behind = behind
}

// leadTo passes connections on to another address, whatever is said on them.
func (d *door) leadTo(url string) {
	d.lead(func(conn net.Conn) {
		other, err := net.Dial("tcp", url[len("https://"):])
		if err != nil {
			reset(conn)
			return
		}
		defer other.Close()
		go func() {
			_, _ = io.Copy(other, conn)
			_ = other.(*net.TCPConn).CloseWrite()
		}()
		_, _ = io.Copy(conn, other)
	})
}

// hang accepts a connection and says nothing.
func hang(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// reset breaks a connection.
func reset(conn net.Conn) {
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.Close()
}

// leadToProxy puts a faultproxy between the door and the API server.
func (d *door) leadToProxy(t *testing.T) *proxy {
	t.Helper()
	p := &proxy{used: map[string]int{}}
	var err error
	if p.Proxy, err = faultproxy.Start(shared.plane, faultproxy.Options{Lifetime: p.lifetime, Fault: p.decide}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, token := range p.Texts() {
			shared.secrets.note(token)
		}
		p.Stop()
	})
	d.leadTo(p.URL)
	return p
}

// leadToImpostor has TLS connections answered by a server with the certificate of another authority.
func (d *door) leadToImpostor(t *testing.T, authority *controlplane.Authority) {
	t.Helper()
	pair, err := authority.IssueServingCert("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the client has sent a request to a server that it should not trust: %s %s", r.Method, r.URL.Path)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	d.leadTo(server.URL)
}

// proxy is a faultproxy whose faults and lifetimes change while it runs.
type proxy struct {
	*faultproxy.Proxy

	mu    sync.Mutex
	life  map[string]time.Duration
	fault faultproxy.Fault // of TokenRequests
	used  map[string]int   // requests by bearer token
	count int              // of TokenRequests
}

func (p *proxy) lifetime(account string) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.life[account]
}

func (p *proxy) decide(r *http.Request) faultproxy.Fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used[r.Header.Get("Authorization")]++
	if r.Method == http.MethodPost && filepath.Base(r.URL.Path) == "token" {
		p.count++
		return p.fault
	}
	return faultproxy.None
}

// asked counts the TokenRequests so far, whatever became of them.
func (p *proxy) asked() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.count
}

// setLives makes the tokens of accounts that are minted from now on live for that long.
func (p *proxy) setLives(life map[string]time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.life = life
}

// setFault is what happens to TokenRequests from now on.
func (p *proxy) setFault(fault faultproxy.Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = fault
}

// usedOf counts the different tokens of an account that requests have come with.
func (p *proxy) usedOf(account string) int {
	used := 0
	for _, text := range p.Texts() {
		token, _ := p.Token(text)
		p.mu.Lock()
		if token.Account == account && p.used["Bearer "+text] > 0 {
			used++
		}
		p.mu.Unlock()
	}
	return used
}
