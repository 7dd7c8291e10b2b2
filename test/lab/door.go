//go:build linux

package lab

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

	"github.com/sa-exec-credential/sa-exec-credential/test/controlplane"
)

// Door is the address that a machine knows its API server by. It leads to the real one until a
// test has it lead to somewhere else, as when a server breaks or is replaced behind its name.
type Door struct {
	URL        string
	Kubeconfig string // an administrator's
	listener   net.Listener

	mu     sync.Mutex
	behind func(net.Conn)
	open   map[net.Conn]bool
	closed bool
}

// NewDoor makes one that leads to the real API server.
func NewDoor(t *testing.T) *Door {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &Door{URL: "https://" + listener.Addr().String(), listener: listener,
		open: map[net.Conn]bool{}}
	d.LeadTo(Plane.Server)
	d.Kubeconfig = d.writeKubeconfig(t)
	go d.serve()
	t.Cleanup(d.close)
	return d
}

// writeKubeconfig makes an administrator's kubeconfig that leads to the door.
func (d *Door) writeKubeconfig(t *testing.T) string {
	t.Helper()
	admin, err := Plane.CA.IssueClientCert("admin", "system:masters")
	if err != nil {
		t.Fatal(err)
	}
	content := bytes.ReplaceAll(Plane.Kubeconfig("admin", admin), []byte(Plane.Server),
		[]byte(d.URL))
	path := filepath.Join(Dir(t, "admin"), "kubeconfig")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func (d *Door) serve() {
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
func (d *Door) close() {
	_ = d.listener.Close()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	for conn := range d.open {
		_ = conn.Close()
	}
}

// Lead has new connections handled by behind; those that are open stay what they are.
func (d *Door) Lead(behind func(net.Conn)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.behind = behind
}

// LeadTo passes connections on to another address, whatever is said on them.
func (d *Door) LeadTo(url string) { d.Lead(Pass(url)) }

// Pass passes a connection on to an address.
func Pass(url string) func(net.Conn) {
	return func(conn net.Conn) {
		other, err := net.Dial("tcp", url[len("https://"):])
		if err != nil {
			Reset(conn)
			return
		}
		defer other.Close()
		go func() {
			_, _ = io.Copy(other, conn)
			_ = other.(*net.TCPConn).CloseWrite()
		}()
		_, _ = io.Copy(conn, other)
	}
}

// Hang accepts a connection and says nothing.
func Hang(conn net.Conn) { _, _ = io.Copy(io.Discard, conn) }

// Reset breaks a connection.
func Reset(conn net.Conn) {
	_ = conn.(*net.TCPConn).SetLinger(0)
	_ = conn.Close()
}

// Impostor is a server with another authority's certificate for every name of the API server.
func Impostor(t *testing.T, authority *controlplane.Authority,
	handler http.Handler) *httptest.Server {
	t.Helper()
	pair, err := authority.IssueServingCert(controlplane.ServingHosts()...)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(handler)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}
