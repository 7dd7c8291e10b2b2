//go:build linux

package hostile_test

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/test/controlplane"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// ear is what somebody hears.
type ear struct {
	busy  sync.WaitGroup // while there may be more to come
	mu    sync.Mutex
	heard bytes.Buffer
}

// Write implements io.Writer.
func (e *ear) Write(p []byte) (int, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.heard.Write(p)
}

// take returns what was heard since it was last called.
func (e *ear) take() []byte {
	e.busy.Wait()
	e.mu.Lock()
	defer e.mu.Unlock()
	heard := bytes.Clone(e.heard.Bytes())
	e.heard.Reset()
	return heard
}

// attacker is who has written the kubeconfig. He has servers, with certificates of his own
// authority for every name of the API server, and hears all that reaches them, as far as he can
// decrypt it.
type attacker struct {
	ear
	authority *controlplane.Authority
	server    *httptest.Server
	plain     *httptest.Server // without TLS
	folder    string           // of what he has had the user download
	canary    string           // the file that his programs make
}

func newAttacker(t *testing.T) *attacker {
	t.Helper()
	a := &attacker{authority: lab.Authority(t, time.Now().AddDate(1, 0, 0)), folder: lab.Dir(t,
		"attacker")}
	a.canary = filepath.Join(a.folder, "canary")
	a.server = lab.Impostor(t, a.authority, a)
	a.plain = httptest.NewServer(a)
	t.Cleanup(func() {
		a.server.Close()
		a.plain.Close()
		a.check(t, "")
	})
	return a
}

// ServeHTTP implements http.Handler. Whatever it is, it is fine.
func (a *attacker) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	request, _ := httputil.DumpRequest(r, true)
	_, _ = a.Write(request)
	w.Header().Set("Content-Type", "application/json")
	_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Success"}`)
}

// ownPassword is what the attacker hears when the server's URL begins with me:secret@.
const ownPassword = "Authorization: Basic bWU6c2VjcmV0"

// check fails the test when the attacker has heard a token or, when hears is empty, anything at
// all, and when a program of his has run.
func (a *attacker) check(t *testing.T, hears string) {
	t.Helper()
	heard := bytes.ReplaceAll(a.take(), []byte(ownPassword), nil)
	found := lab.Leak(string(heard))
	switch {
	case found != "":
		t.Errorf("the attacker has heard %s", found)
	case bytes.Contains(bytes.ToLower(heard), []byte("authorization")):
		t.Error("the attacker has heard a credential")
	case hears == "" && len(heard) > 0:
		t.Errorf("the attacker has heard %q", heard[:min(len(heard), 300)])
	case !bytes.Contains(heard, []byte(hears)):
		t.Errorf("the attacker has not heard %q: this tests nothing", hears)
	}
	if err := os.Remove(a.canary); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a program was run for the attacker, or a file written (%v)", err)
	}
}

// program makes one that shows that it was run.
func (a *attacker) program(t *testing.T, name string) (path string) {
	t.Helper()
	return writeFile(t, filepath.Join(a.folder, name), "#!/bin/sh\n: >"+a.canary+"\n")
}

// kubeconfig makes one whose context has an administrator's name and leads to the attacker.
func (a *attacker) kubeconfig(t *testing.T, user fields) (path string) {
	t.Helper()
	return writeFile(t, filepath.Join(lab.Dir(t, "attacker"), "kubeconfig"),
		render("admin@test", a.cluster(), user))
}

// cluster is the attacker's own server.
func (a *attacker) cluster() fields {
	return fields{"server": a.server.URL, "certificate-authority-data": a.authority.PEM}
}

// socket is where a session bus might be.
func (a *attacker) socket(t *testing.T) (path string) {
	t.Helper()
	path = filepath.Join(lab.ShortDir(t), "bus")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go a.listen(listener)
	return path
}

// listen hears the beginning of what is said on connections.
func (a *attacker) listen(listener net.Listener) {
	for {
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		a.hearGreeting(conn)
	}
}

func (a *attacker) hearGreeting(conn net.Conn) {
	defer conn.Close()
	_, _ = io.WriteString(a, "a connection: ")
	greeting := make([]byte, 4096)
	n, _ := conn.Read(greeting)
	_, _ = a.Write(greeting[:n])
}

// newForwarder is an HTTP proxy that leads to one server, wherever it is asked to lead, and hears
// what passes.
func newForwarder(t *testing.T, server string, ear *ear) (url string) {
	t.Helper()
	d := lab.NewDoor(t)
	d.Lead(func(conn net.Conn) {
		in := bufio.NewReader(conn)
		request, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		ear.busy.Add(1)
		defer ear.busy.Done()
		dump, _ := httputil.DumpRequest(request, false)
		_, _ = ear.Write(dump)
		forward(conn, in, server, ear)
	})
	return "http" + strings.TrimPrefix(d.URL, "https")
}

func forward(conn net.Conn, in io.Reader, server string, ear *ear) {
	other, err := net.Dial("tcp", strings.TrimPrefix(server, "https://"))
	if err != nil {
		return
	}
	defer other.Close()
	_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n")
	go func() {
		_, _ = io.Copy(io.MultiWriter(other, ear), in)
		_ = other.(*net.TCPConn).CloseWrite()
	}()
	_, _ = io.Copy(io.MultiWriter(conn, ear), other)
}

// writeFile makes a file, executable for the sake of those that are programs.
func writeFile(t *testing.T, path, content string) string {
	t.Helper()
	return lab.WriteFile(t, path, content, 0o700)
}
