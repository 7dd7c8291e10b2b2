package main

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"sync"
	"time"
)

const (
	crowd       = 200 // processes that begin at once
	crowdRounds = 5
	// crowdTarget is how long the last of a cold crowd may wait, as a multiple of what has to
	// be done: starting as many processes that find a token, and one mint.
	crowdTarget = 1.2
)

// crowds measures, in turns, how long the slowest of many clients waits when there is a token,
// and when there is none, and counts the requests of one cold crowd at the most. On an empty cache
// all of them are the whole program, so the hits are, too.
func (b *bench) crowds() (hits, misses *subject, requests int, err error) {
	say("running %d clients at once, %d times with a token and %d times without", crowd,
		crowdRounds, crowdRounds)
	hits = &subject{name: fmt.Sprintf("the last of %d, all of them hits", crowd)}
	misses = &subject{name: fmt.Sprintf("the last of %d, on an empty cache", crowd)}
	for range crowdRounds {
		if err := b.plugin("logout", "--profile", "keyring").Run(); err != nil {
			return nil, nil, 0, err
		}
		before, err := b.requests()
		if err != nil {
			return nil, nil, 0, err
		}
		for _, s := range []*subject{misses, hits} {
			longest, err := b.crowd()
			if err != nil {
				return nil, nil, 0, fmt.Errorf("%s: %w", s.name, err)
			}
			s.took = append(s.took, longest)
		}
		after, err := b.requests()
		if err != nil {
			return nil, nil, 0, err
		}
		requests = max(requests, after-before)
	}
	return hits, misses, requests, nil
}

// requests counts the tokens that were requested of the account so far.
func (b *bench) requests() (count int, err error) {
	events, err := b.plane.AuditEvents()
	for _, event := range events {
		if event.IsTokenRequest(namespace, "ci-keyring") {
			count++
		}
	}
	return count, err
}

// crowd returns how long the slowest of many clients took that begin at once.
func (b *bench) crowd() (longest time.Duration, err error) {
	took, failed := make([]time.Duration, crowd), make([]error, crowd)
	commands := make([]*exec.Cmd, crowd)
	for i := range commands {
		commands[i] = b.calling(program, "get", "--profile", "keyring")
	}
	var wait sync.WaitGroup
	start := make(chan struct{})
	var began time.Time
	for i, command := range commands {
		wait.Go(func() {
			<-start
			took[i], failed[i] = timed(command, began)
		})
	}
	began = time.Now()
	close(start)
	wait.Wait()
	return slices.Max(took), errors.Join(failed...)
}

func timed(command *exec.Cmd, began time.Time) (time.Duration, error) {
	var output, complaints bytes.Buffer
	command.Stdout, command.Stderr = &output, &complaints
	err := command.Run()
	if err != nil || output.Len() == 0 || complaints.Len() > 0 {
		err = fmt.Errorf("%w: %d bytes of output, %s", err, output.Len(),
			complaints.String())
	}
	return time.Since(began), err
}
