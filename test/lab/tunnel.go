//go:build linux

package lab

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
)

// Tunnel leads whoever wants to be connected to one address, whatever they name.
type Tunnel struct {
	URL   string
	leads atomic.Value // a string
}

// NewTunnel makes one.
func NewTunnel(t *testing.T, address string) *Tunnel {
	t.Helper()
	p := &Tunnel{}
	p.LeadTo(address)
	server := httptest.NewServer(http.HandlerFunc(p.connect))
	t.Cleanup(server.Close)
	p.URL = server.URL
	return p
}

// LeadTo is where those who connect from now on get.
func (p *Tunnel) LeadTo(address string) { p.leads.Store(address) }

func (p *Tunnel) connect(w http.ResponseWriter, r *http.Request) {
	out, err := net.Dial("tcp", p.leads.Load().(string))
	if err != nil || r.Method != http.MethodConnect {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer out.Close()
	in, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	defer in.Close()
	if _, err := io.WriteString(in, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(out, in)
		_ = out.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(in, out)
}
