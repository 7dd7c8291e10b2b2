// Package parallel does work several times at once. It imports nothing of this module.
package parallel

import (
	"fmt"
	"runtime"
	"strings"
	"sync"
)

// ForEach calls work with every number below count, at most limit of them at the same time, and
// returns when all are done. A panic in one of them is raised again here, as a Panic: where it was,
// it would end the program and print what it was raised with.
func ForEach(count, limit int, work func(i int)) {
	ForEachWaiting(count, limit, func(i int, _ func(func())) { work(i) })
}

// ForEachWaiting is ForEach for work that waits for other work: while what it gives to waiting runs,
// another may be at it in its place.
func ForEachWaiting(count, limit int, work func(i int, waiting func(func()))) {
	slots := make(chan struct{}, limit)
	panics := make(chan Panic, count)
	var wait sync.WaitGroup
	for i := range count {
		slots <- struct{}{}
		wait.Go(func() {
			defer func() {
				if recover() != nil {
					panics <- Panic(PanicOrigin())
				}
				<-slots
			}()
			work(i, func(wait func()) {
				<-slots
				defer func() { slots <- struct{}{} }()
				wait()
			})
		})
	}
	wait.Wait()
	select {
	case first := <-panics:
		panic(first)
	default:
	}
}

// Panic is a panic in another goroutine: the function that it was in.
type Panic string

// PanicOrigin names the function that panicked and not the value, which could be anything. It is
// called where the panic is recovered.
func PanicOrigin() string {
	pcs := make([]uintptr, 32)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(3, pcs)])
	for {
		frame, more := frames.Next()
		if !strings.HasPrefix(frame.Function, "runtime.") || !more {
			return fmt.Sprintf("%s:%d", frame.Function, frame.Line)
		}
	}
}
