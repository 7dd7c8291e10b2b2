package api

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
)

func TestMemoAsksOnceForAll(t *testing.T) {
	var m Memo
	var asked atomic.Int32
	var wait sync.WaitGroup
	for range 20 {
		wait.Go(func() {
			answer, err := m.Get("a", func() ([]byte, error) {
				asked.Add(1)
				return []byte("answer"), nil
			})
			if string(answer) != "answer" || err != nil {
				t.Errorf("%q, %v", answer, err)
			}
		})
	}
	wait.Wait()
	if asked.Load() != 1 {
		t.Errorf("asked %d times", asked.Load())
	}
}

func TestMemoRemembersWhatTheServerSays(t *testing.T) {
	for err, want := range map[error]int{nil: 1, ErrNotFound: 1, ErrForbidden: 1, ErrTimeout: 3,
		ErrServer: 3, ErrUnauthorized: 3} {
		var m Memo
		asked := 0
		for range 3 {
			_, got := m.Get("a", func() ([]byte, error) {
				asked++
				return nil, err
			})
			if !errors.Is(got, err) {
				t.Errorf("got %v, want %v", got, err)
			}
		}
		if asked != want {
			t.Errorf("%v: asked %d times, want %d", err, asked, want)
		}
	}
}

func TestMemoIsToldOfChanges(t *testing.T) {
	var m Memo
	get := func(key string) string {
		answer, _ := m.Get(key, func() ([]byte, error) { return []byte("asked"), nil })
		return string(answer)
	}
	m.Put("a", []byte("said"))
	if got := get("a"); got != "said" {
		t.Errorf("after Put: %q", got)
	}
	m.Forget("a")
	if got := get("a"); got != "asked" {
		t.Errorf("after Forget: %q", got)
	}
	if got := get("b"); got != "asked" {
		t.Errorf("another key: %q", got)
	}
}

func TestNoMemoAsksEachTime(t *testing.T) {
	var m *Memo
	asked := 0
	for range 2 {
		m.Put("a", []byte("said"))
		m.Forget("a")
		m.Lock("a")()
		_, _ = m.Get("a", func() ([]byte, error) {
			asked++
			return nil, nil
		})
	}
	if asked != 2 {
		t.Errorf("asked %d times", asked)
	}
}
