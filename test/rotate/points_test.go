//go:build linux

package rotate_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// points are the places at which a command is interrupted: of each kind one after the other,
// until there is none.
type points struct {
	mu     sync.Mutex
	kinds  []string
	stride int
	number int // of the last one that was handed out; 0: none of this kind was
	struck map[string]int
}

func (p *points) next() (kind string, number int, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.kinds) == 0 {
		return "", 0, false
	}
	if p.number == 0 {
		p.number = 1 + len(p.kinds)%p.stride // the kinds begin at different places
	} else {
		p.number += p.stride
	}
	return p.kinds[0], p.number, true
}

// tried notes whether there was such a place.
func (p *points) tried(kind string, struck bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case struck:
		p.struck[kind]++
	case len(p.kinds) > 0 && p.kinds[0] == kind:
		p.kinds, p.number = p.kinds[1:], 0
	}
}

// everywhere interrupts at the places, on several machines side by side, and expects that a kind
// has so many. A machine on which something went wrong is replaced.
func everywhere(t *testing.T, machines int, profiles []string, least int, kinds []string,
	interrupted func(m *machine, kind string, number int) (struck string)) {
	t.Helper()
	p := &points{kinds: kinds, stride: lab.Stride(), struck: map[string]int{}}
	t.Run("on", func(t *testing.T) {
		for i := range machines {
			t.Run(fmt.Sprintf("machine %d", i+1), func(t *testing.T) {
				t.Parallel()
				m := newMachine(t, profiles)
				for kind, number, ok := p.next(); ok; kind, number, ok = p.next() {
					struck := ""
					passed := t.Run(fmt.Sprintf("%s %d", kind, number),
						func(t *testing.T) {
							struck = interrupted(m.in(t), kind, number)
							t.Logf("struck at: %s", struck)
						})
					if p.tried(kind, struck != "" || !passed); !passed {
						m = newMachine(t, profiles)
					}
				}
			})
		}
	})
	for _, kind := range kinds {
		t.Logf("%s: %d places of every %d", kind, p.struck[kind], p.stride)
		if p.struck[kind] < max(1, least/p.stride) {
			t.Errorf("%s: there were only %d places of every %d", kind, p.struck[kind],
				p.stride)
		}
	}
}
