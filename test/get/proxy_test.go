//go:build linux

package get_test

import (
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/test/controlplane"
	"github.com/sa-exec-credential/sa-exec-credential/test/faultproxy"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// leadToProxy puts a faultproxy between the door and the API server.
func leadToProxy(t *testing.T, d *lab.Door) *proxy {
	t.Helper()
	p := &proxy{used: map[string]int{}}
	p.Proxy = lab.Proxy(t, faultproxy.Options{Lifetime: p.lifetime, Fault: p.decide})
	d.LeadTo(p.URL)
	return p
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

// leadToImpostor has TLS connections answered by a server with the certificate of another
// authority.
func leadToImpostor(t *testing.T, d *lab.Door, authority *controlplane.Authority) {
	t.Helper()
	d.LeadTo(newImpostor(t, authority))
}

// newImpostor returns its URL.
func newImpostor(t *testing.T, authority *controlplane.Authority) string {
	t.Helper()
	return lab.Impostor(t, authority, http.HandlerFunc(func(_ http.ResponseWriter,
		r *http.Request) {
		t.Errorf("the client has sent a request to a server that it should not trust: %s "+
			"%s", r.Method, r.URL.Path)
	})).URL
}
