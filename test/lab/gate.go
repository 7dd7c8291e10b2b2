//go:build linux

package lab

import (
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/test/faultproxy"
)

// Gate stands in front of the API server and counts. At one request, before it is passed on or
// after it was answered, it calls strike and never answers.
type Gate struct {
	URL string

	mu     sync.Mutex
	passed []string // method and path of each request, and whether it is a dry run
	at     int      // the number of the request, from 1
	after  bool
	strike func()
}

// NewGate makes one that only counts.
func NewGate(t *testing.T) *Gate {
	t.Helper()
	g := &Gate{}
	proxy := Proxy(t, faultproxy.Options{
		Fault: func(r *http.Request) faultproxy.Fault {
			if g.struck(r, false) {
				return faultproxy.Reset
			}
			return faultproxy.None
		},
		Lost: func(r *http.Request) bool { return g.struck(r, true) },
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

// struck counts a request when it comes, and says whether it is the one that gets no answer.
func (g *Gate) struck(r *http.Request, answered bool) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !answered {
		line := r.Method + " " + r.URL.Path
		if r.URL.Query().Has("dryRun") {
			line += dryRun
		}
		g.passed = append(g.passed, line)
	}
	if len(g.passed) != g.at || g.after != answered {
		return false
	}
	g.strike()
	return true
}

// Arm says at which request to strike; the count starts anew. At 0 there is none.
func (g *Gate) Arm(at int, after bool, strike func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.passed, g.at, g.after, g.strike = nil, at, after, strike
}

// Requests are those since the gate was armed.
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

// Killed runs the plugin until the gate strikes, which kills it.
func (s *Site) Killed(request int, after bool, args ...string) {
	s.Helper()
	killed := false
	started := make(chan struct{})
	var program *Started
	s.Gate.Arm(request, after, func() {
		<-started
		killed = true
		program.killAll()
	})
	program = s.plugin(args...).Start(s.T)
	close(started)
	r := program.End()
	s.Gate.Arm(0, false, nil)
	if !killed {
		s.Fatalf("%s was over before its request %d:\n%s%s", args[0], request, r.Stdout,
			r.Stderr)
	}
}

// Name is how a test is called that is about a request in some namespace.
func Name(request, namespace string) string {
	return strings.ReplaceAll(strings.ReplaceAll(request, namespace, "NS"), "/", "·")
}
