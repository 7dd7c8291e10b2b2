//go:build linux

package lab

import (
	"cmp"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/test/faultproxy"
)

// Gate stands in front of the API server and counts. At one request it strikes.
type Gate struct {
	URL string

	mu     sync.Mutex
	passed []string // method and path of each request, and whether it is a dry run
	at     int      // the number of the request, from 1
	strike Strike
	kill   func()
	struck bool
	each   func(*http.Request)
}

// Strike is what goes wrong with a request.
type Strike struct {
	After bool             // it was answered, and the answer is lost
	Fault faultproxy.Fault // what comes of it otherwise; None: the connection breaks
	Kill  bool             // the program that sent it is killed
}

// NewGate makes one that only counts.
func NewGate(t *testing.T) *Gate {
	t.Helper()
	g := &Gate{}
	proxy := Proxy(t, faultproxy.Options{
		Fault: func(r *http.Request) faultproxy.Fault { return g.strikes(r, false) },
		Lost:  func(r *http.Request) bool { return g.strikes(r, true) != faultproxy.None },
	})
	g.URL = proxy.URL
	return g
}

// Proxy starts a faultproxy in front of the control plane for the time of the test.
func Proxy(t *testing.T, o faultproxy.Options) *faultproxy.Proxy {
	t.Helper()
	proxy, err := faultproxy.Start(Plane, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, token := range proxy.Texts() {
			Note(token)
		}
		proxy.Stop()
	})
	return proxy
}

// strikes counts a request when it comes, and says what goes wrong with it.
func (g *Gate) strikes(r *http.Request, answered bool) faultproxy.Fault {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !answered {
		if g.each != nil {
			g.each(r)
		}
		line := r.Method + " " + r.URL.Path
		if r.URL.Query().Has("dryRun") {
			line += dryRun
		}
		g.passed = append(g.passed, line)
	}
	if len(g.passed) != g.at || g.strike.After != answered {
		return faultproxy.None
	}
	g.struck = true
	if g.strike.Kill {
		g.kill()
	}
	return cmp.Or(g.strike.Fault, faultproxy.Reset)
}

// arm says at which request to strike; the count starts anew. At 0 there is none. It returns
// whether the gate has struck before.
func (g *Gate) arm(at int, strike Strike, kill func()) (struck bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	struck = g.struck
	g.passed, g.at, g.strike, g.kill, g.struck = nil, at, strike, kill, false
	return struck
}

// Forget begins to count anew.
func (g *Gate) Forget() { g.arm(0, Strike{}, nil) }

// OnEach has a function told of each request, for which it must not wait; nil: no longer.
func (g *Gate) OnEach(each func(*http.Request)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.each = each
}

// Requests are those since the count began.
func (g *Gate) Requests() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]string(nil), g.passed...)
}

// dryRun ends the path of a request that is only tried.
const dryRun = "?dryRun"

// Writes tells the requests that change something, or come to a token, from those that ask. A
// review leaves nothing behind.
func Writes(request string) bool {
	method, path, _ := strings.Cut(request, " ")
	return method != http.MethodGet && !strings.Contains(path, "subject") &&
		!strings.HasSuffix(path, dryRun)
}

// Site is a machine that reaches the API server through a gate.
type Site struct {
	*Machine
	Gate *Gate
}

// NewSite makes one.
func NewSite(m *Machine) *Site {
	m.Helper()
	gate := NewGate(m.T)
	m.ChangeAdmin(Plane.Server, gate.URL)
	return &Site{Machine: m, Gate: gate}
}

// In is the site for a subtest.
func (s *Site) In(t *testing.T) *Site { return &Site{Machine: s.Machine.In(t), Gate: s.Gate} }

// Struck runs the plugin, and reports whether it came to the request at which the gate strikes.
func (s *Site) Struck(request int, strike Strike, args ...string) (r Result, struck bool) {
	s.Helper()
	started := make(chan struct{})
	var program *Started
	s.Gate.arm(request, strike, func() {
		<-started
		program.killAll()
	})
	program = s.plugin(args...).Start(s.T)
	close(started)
	r = program.End()
	return r, s.Gate.arm(0, Strike{}, nil)
}

// Killed runs the plugin until the gate strikes, which kills it.
func (s *Site) Killed(request int, after bool, args ...string) {
	s.Helper()
	r, killed := s.Struck(request, Strike{After: after, Kill: true}, args...)
	if !killed {
		s.Fatalf("%s was over before its request %d:\n%s%s", args[0], request, r.Stdout,
			r.Stderr)
	}
}

// Name is how a test is called that is about a request in some namespace.
func Name(request, namespace string) string {
	return strings.ReplaceAll(strings.ReplaceAll(request, namespace, "NS"), "/", "·")
}
