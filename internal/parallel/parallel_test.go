package parallel

import (
	"strings"
	"sync/atomic"
	"testing"
)

func TestForEachDoesEverythingAndNoMoreThanThatAtOnce(t *testing.T) {
	const count, atOnce = 50, 3
	var busy, most, done atomic.Int32
	ForEach(count, atOnce, func(int) {
		most.Store(max(most.Load(), busy.Add(1)))
		done.Add(1)
		busy.Add(-1)
	})
	if done.Load() != count || most.Load() > atOnce {
		t.Errorf("%d done, up to %d at once", done.Load(), most.Load())
	}
}

func TestAPanicForEachIsRaisedInItsCaller(t *testing.T) {
	defer func() {
		if where, ok := recover().(Panic); !ok || !strings.Contains(string(where),
			"TestAPanicForEachIsRaisedInItsCaller") {
			t.Errorf("%q", where)
		}
	}()
	ForEach(5, 2, func(i int) {
		if i == 3 {
			panic("hunter2")
		}
	})
	t.Error("it returned")
}

// TestForEachWaitingLetsOthersWork has all of the work wait for the last of it.
func TestForEachWaitingLetsOthersWork(t *testing.T) {
	const count, atOnce = 20, 2
	var busy, most, begun atomic.Int32
	all := make(chan struct{})
	ForEachWaiting(count, atOnce, func(_ int, waiting func(func())) {
		most.Store(max(most.Load(), busy.Add(1)))
		busy.Add(-1)
		waiting(func() {
			if begun.Add(1) == count {
				close(all)
			}
			<-all
		})
		most.Store(max(most.Load(), busy.Add(1)))
		busy.Add(-1)
	})
	if most.Load() > atOnce {
		t.Errorf("up to %d at once", most.Load())
	}
}
