//go:build linux

package sealed_test

import (
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// tap is a socket in front of the simulator's. It counts connections, and can be slow.
type tap struct {
	mutex       sync.Mutex
	connections int
	slow        func(connection int) time.Duration // before each answer; nil: not at all
}

// newTap puts one in front of the machine's TPM, before that is set up.
func newTap(m *machine) *tap {
	m.Helper()
	path := m.TPM.Socket + ".tap"
	listener, err := net.Listen("unix", path)
	if err != nil {
		m.Fatal(err)
	}
	m.Cleanup(func() { _ = listener.Close() })
	m.TPMPlace = "unix:" + path
	t := &tap{}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go t.pass(conn, m.TPM.Socket)
		}
	}()
	return t
}

// set changes how slow it is, and begins to count anew.
func (t *tap) set(slow func(connection int) time.Duration) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	t.slow, t.connections = slow, 0
}

func (t *tap) count() int {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return t.connections
}

func (t *tap) pass(conn net.Conn, simulator string) {
	defer conn.Close()
	behind := dial(simulator)
	if behind == nil {
		return
	}
	defer behind.Close()
	t.mutex.Lock()
	t.connections++
	number, slow := t.connections, t.slow
	t.mutex.Unlock()
	go func() {
		_, _ = io.Copy(behind, conn)
		_ = behind.Close() // ends the other direction
	}()
	for buffer := make([]byte, 4096); ; {
		n, err := behind.Read(buffer)
		if err != nil {
			return
		}
		if slow != nil {
			time.Sleep(slow(number))
		}
		if _, err := conn.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// dial waits while others are connected; nil: the simulator is gone.
func dial(simulator string) net.Conn {
	for range 1000 {
		conn, err := net.Dial("unix", simulator)
		if err == nil {
			return conn
		}
		time.Sleep(5 * time.Millisecond)
	}
	return nil
}

func TestAHitTouchesNoTPM(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	tap := newTap(m)
	m.Prepare()
	tap.set(nil)
	m.Plugin("token", "--profile", m.Profile).Succeeds().Silent()
	m.Exec("kubectl", "get", "pods").Succeeds()
	if used := tap.count(); used != 0 {
		t.Errorf("the TPM was asked %d times", used)
	}
	m.loseToken()
	m.get().Run(t).Succeeds().Silent()
	if used := tap.count(); used == 0 {
		t.Error("the TPM was not asked for the bootstrap credential either: nothing was counted")
	}
}

func TestASlowTPM(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	tap := newTap(m)
	m.Prepare()
	const slow = 2 * time.Second
	t.Run("once is waited for", func(t *testing.T) {
		m := m.in(t)
		m.loseToken()
		first := true
		tap.set(func(int) time.Duration {
			defer func() { first = false }()
			if first {
				return slow
			}
			return 0
		})
		m.get().Run(t).Succeeds().Silent()
	})
	t.Run("at each answer is given up", func(t *testing.T) {
		m := m.in(t)
		m.loseToken()
		tap.set(func(int) time.Duration { return slow })
		m.get().Run(t).OneError(6, "TPM "+m.TPMPlace+" did not answer in time")
	})
	t.Run("that never answers is given up", func(t *testing.T) {
		m := m.in(t)
		tap.set(func(int) time.Duration { return time.Hour })
		m.get().Run(t).OneError(6, "TPM "+m.TPMPlace+" did not answer in time")
	})
	t.Run("is used again when it is quick again", func(t *testing.T) {
		tap.set(nil)
		m.in(t).get().Run(t).Succeeds().Silent()
	})
}
