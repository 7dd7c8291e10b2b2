//go:build linux

package rotate_test

import (
	"net/http"
	"strings"
	"sync"

	"github.com/sa-exec-credential/sa-exec-credential/test/faultproxy"
)

// gate counts the requests of one command, and strikes at one of them.
type gate struct {
	mu     sync.Mutex
	armed  bool
	at     int // the number of the request, from 1
	seen   int
	strike strike
	struck bool
	each   func() // is told of each request that only a rotate sends
}

// strike is what happens to a request.
type strike struct {
	// instead of passing it on; None: after it was answered, which is lost
	fault faultproxy.Fault
	kill  func() // of the process that sent it, first; nil: it lives
}

func (g *gate) arm(at int, s strike) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.armed, g.at, g.seen, g.strike, g.struck = true, at, 0, s, false
}

// onEach has a function told of each request that only a rotate sends; nil: no longer. It must
// not wait.
func (g *gate) onEach(each func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.each = each
}

// disarm says whether the gate has struck.
func (g *gate) disarm() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.armed = false
	return g.struck
}

func (g *gate) before(r *http.Request) faultproxy.Fault {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.seen++
	if g.each != nil && len(r.TLS.PeerCertificates) > 0 && !strings.HasSuffix(r.URL.Path,
		"/serviceaccounts/ci/token") {
		g.each()
	}
	if g.strike.fault == faultproxy.None || !g.hits() {
		return faultproxy.None
	}
	return g.strike.fault
}

func (g *gate) after(*http.Request) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.strike.fault == faultproxy.None && g.hits()
}

// hits strikes if this is the request.
func (g *gate) hits() bool {
	if !g.armed || g.seen != g.at {
		return false
	}
	g.struck = true
	if g.strike.kill != nil {
		g.strike.kill()
	}
	return true
}
