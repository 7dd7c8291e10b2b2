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
