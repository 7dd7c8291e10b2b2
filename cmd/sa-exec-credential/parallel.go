package main

import "sync"

// sideBySide calls work with every number below count, atOnce of them at the same time, and returns when all are done. A
// panic in one of them is raised again here: where it was, it would end the program and print what it was raised with.
func sideBySide(count, atOnce int, work func(i int)) {
	turns := make(chan struct{}, atOnce)
	panics := make(chan panicked, count)
	var wait sync.WaitGroup
	for i := range count {
		turns <- struct{}{}
		wait.Go(func() {
			defer func() {
				if recover() != nil {
					panics <- panicked(panicOrigin())
				}
				<-turns
			}()
			work(i)
		})
	}
	wait.Wait()
	select {
	case first := <-panics:
		panic(first)
	default:
	}
}

// panicked is a panic in another goroutine: the function that it was in.
type panicked string
