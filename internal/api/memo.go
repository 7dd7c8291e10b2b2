package api

import "sync"

// Memo is what clients of one server and one user have in common: answers that do not differ
// between them. It can be used by several goroutines; of several that ask for the same, one does.
// A nil Memo remembers nothing.
type Memo struct {
	mutex sync.Mutex
	known map[string]*remembered
	locks map[string]*sync.Mutex
}

// remembered is one answer, or the error that was one.
type remembered struct {
	once   sync.Once
	answer []byte
	err    error
}

// Share has the client use what others have learned.
func (c *Client) Share(m *Memo) { c.memo = m }

// Memo is what the client shares; nil: nothing.
func (c *Client) Memo() *Memo { return c.memo }

// Get is what fetch has returned for a key, now or before. What is no answer of the server is not
// remembered.
func (m *Memo) Get(key string, fetch func() ([]byte, error)) ([]byte, error) {
	if m == nil {
		return fetch()
	}
	found := m.find(key)
	found.once.Do(func() {
		found.answer, found.err = fetch()
		if found.err != nil && !IsAny(found.err, ErrNotFound, ErrForbidden) {
			m.drop(key, found)
		}
	})
	return found.answer, found.err
}

func (m *Memo) find(key string) *remembered {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.known == nil {
		m.known = map[string]*remembered{}
	}
	if m.known[key] == nil {
		m.known[key] = &remembered{}
	}
	return m.known[key]
}

func (m *Memo) drop(key string, r *remembered) {
	m.mutex.Lock()
	defer m.mutex.Unlock()
	if m.known[key] == r {
		delete(m.known, key)
	}
}

// Forget has the next one ask again.
func (m *Memo) Forget(key string) {
	if m != nil {
		m.mutex.Lock()
		defer m.mutex.Unlock()
		delete(m.known, key)
	}
}

// Put replaces what is known: the server has just said it.
func (m *Memo) Put(key string, answer []byte) {
	if m != nil {
		m.Forget(key)
		_, _ = m.Get(key, func() ([]byte, error) { return answer, nil })
	}
}

// Lock excludes others of the same key, until release: what one does serves the next.
func (m *Memo) Lock(key string) (release func()) {
	if m == nil {
		return func() {}
	}
	m.mutex.Lock()
	if m.locks == nil {
		m.locks = map[string]*sync.Mutex{}
	}
	lock := m.locks[key]
	if lock == nil {
		lock = &sync.Mutex{}
		m.locks[key] = lock
	}
	m.mutex.Unlock()
	lock.Lock()
	return lock.Unlock
}
