//go:build linux || darwin

package admin

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/creack/pty"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kuberc"
)

// newServer answers everybody who has the token, or the client certificate of this name, and no one
// else.
func newServer(t *testing.T, token, name string) *httptest.Server {
	t.Helper()
	answer := func(w http.ResponseWriter, r *http.Request) {
		shown := r.TLS.PeerCertificates
		byCertificate := len(shown) > 0 && shown[0].Subject.CommonName == name
		if r.Header.Get("Authorization") != "Bearer "+token && !byCertificate {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		_, _ = w.Write([]byte("{}"))
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(answer))
	server.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

// contextOf is a context x of the server whose user is given as a YAML flow mapping.
func contextOf(t *testing.T, server *httptest.Server, user string) kubeconfig.Context {
	t.Helper()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	path := filepath.Join(t.TempDir(), "config")
	text := fmt.Sprintf("{apiVersion: v1, kind: Config, "+
		"clusters: [{name: c, cluster: {server: %s, certificate-authority-data: %s}}], "+
		"users: [{name: u, user: {%s}}], contexts: [{name: x, context: {cluster: c, "+
		"user: u}}]}",
		server.URL, base64.StdEncoding.EncodeToString(ca), user)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	found, err := kubeconfig.Resolve([]string{path}, "x")
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// scripted is a plugin that notes each of its runs in a file, and then runs a script.
type scripted struct {
	runs string
	user string
}

func newPlugin(t *testing.T, mode, script string) scripted {
	t.Helper()
	runs := filepath.Join(t.TempDir(), "runs")
	script = "echo run >> " + runs + "\n" + script
	return scripted{runs, fmt.Sprintf("exec: {apiVersion: client.authentication.k8s.io/v1, "+
		"command: /bin/sh, args: [-c, %q], interactiveMode: %s}", script, mode)}
}

func (s scripted) count(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile(s.runs)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Count(string(text), "\n")
}

// printing is a script that prints an ExecCredential.
func printing(status string) string {
	return fmt.Sprintf(`cat <<-END
		{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","status":%s}
		END`, status)
}

// newHost has no terminal: standard input is that of go test.
func newHost(stdin io.Reader) *host.Host {
	h := host.System()
	h.Stdin = stdin
	return h
}

func call(t *testing.T, a *Admin) error {
	t.Helper()
	_, err := a.Client.Get(t.Context(), "/version", "", nil)
	return err
}

func TestLogin(t *testing.T) {
	server := newServer(t, "tok", "jane")
	past := time.Now().Add(-time.Hour).UTC().Format(time.RFC3339)
	pair, err := json.Marshal(newPair(t, "jane"))
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		mode   string
		script string
		more   string // of the user
		login  int    // how often the plugin runs for it
		renews bool   // it runs for every call, too
		err    error  // of a call
	}{
		{name: "its token is used for every call", script: printing(`{"token": "tok"}`),
			login: 1},
		{name: "its certificate is, too", script: printing(string(pair)), login: 1},
		{name: "what has expired is renewed", login: 1, renews: true,
			script: printing(`{"token": "tok", "expirationTimestamp": "` + past +
				`"}`)},
		{name: "what is refused is renewed",
			script: printing(`{"token": "other"}`), login: 1, renews: true,
			err: api.ErrUnauthorized},
		{name: "a token goes before the plugin", script: "exit 3", more: "token: tok, ",
			login: 0},
		{name: "nobody is asked without a terminal", login: 1,
			script: `case $KUBERNETES_EXEC_INFO in *'"interactive":true'*) exit 3; esac; ` +
				printing(`{"token": "tok"}`)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			plugin := newPlugin(t, "IfAvailable", tt.script)
			var said heard
			found := contextOf(t, server, tt.more+plugin.user)
			admin, err := New(t.Context(), newHost(os.Stdin), found, said.report)
			if err != nil {
				t.Fatal(err)
			}
			if got := plugin.count(t); got != tt.login {
				t.Errorf("the plugin has run %d times for the login", got)
			}
			for range 2 {
				before := plugin.count(t)
				if err := call(t, admin); !errors.Is(err, tt.err) {
					t.Errorf("a call: %v, want %v", err, tt.err)
				}
				if renewed := plugin.count(t) > before; renewed != tt.renews {
					t.Errorf("the plugin has run again: %v", renewed)
				}
			}
			if len(said) > 0 {
				t.Errorf("said %q", said)
			}
		})
	}
}

func TestAPluginThatKubectlWouldNotRunIsNotRun(t *testing.T) {
	server := newServer(t, "tok", "jane")
	plugin := newPlugin(t, "Never", printing(`{"token": "tok"}`))
	path := filepath.Join(t.TempDir(), "kuberc")
	h := newHost(os.Stdin).With(host.Snapshot([]string{"HOME=" + t.TempDir(), "KUBERC=" +
		path}))
	for policy, allowed := range map[string]bool{
		"credentialPluginPolicy: DenyAll": false,
		"credentialPluginPolicy: Allowlist\ncredentialPluginAllowlist: [{command: " +
			"aws}]": false,
		"credentialPluginPolicy: Allowlist\ncredentialPluginAllowlist: [{command: " +
			"/bin/sh}]": true,
	} {
		text := "apiVersion: kubectl.config.k8s.io/v1beta1\nkind: Preference\n" + policy +
			"\n"
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		before := plugin.count(t)
		_, err := New(t.Context(), h, contextOf(t, server, plugin.user), (&heard{}).report)
		switch {
		case allowed && err != nil:
			t.Errorf("%s: %v", policy, err)
		case !allowed && (!errors.Is(err, kuberc.ErrDenied) || !errors.Is(err, ErrLogin) ||
			plugin.count(t) != before):
			t.Errorf("%s: error %v, run %d times", policy, err, plugin.count(t)-before)
		}
	}
}

func TestLoginsThatFail(t *testing.T) {
	server := newServer(t, "tok", "jane")
	tests := []struct {
		name string
		user string
		says string
	}{
		{"a plugin that fails",
			newPlugin(t, "Never", "echo secret; exit 3").user,
			"its plugin: executable /bin/sh failed with exit code 3"},
		{"one that prints nonsense",
			newPlugin(t, "Never", "echo secret").user,
			"its plugin printed no credential"},
		{"one that prints no credential",
			newPlugin(t, "Never", printing("{}")).user,
			"its plugin printed no credential"},
		{"one that needs a terminal",
			newPlugin(t, "Always", printing(`{"token": "tok"}`)).user,
			"its plugin: standard input is"},
		{"one that is not there",
			"exec: {apiVersion: client.authentication.k8s.io/v1, command: " +
				"nonexistent, " +
				"interactiveMode: Never, " +
				"installHint: get it}", "its plugin: executable nonexistent not " +
				"found"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var said heard
			_, err := New(t.Context(), newHost(os.Stdin), contextOf(t, server, tt.user),
				said.report)
			if !errors.Is(err, ErrLogin) {
				t.Fatalf("error %v", err)
			}
			text := err.Error()
			if !strings.Contains(text, `context "x": `+tt.says) {
				t.Errorf("error %q, want %q", text, tt.says)
			}
			if strings.Contains(text, "\n") || strings.Contains(text, "secret") {
				t.Errorf("error %q", text)
			}
		})
	}
}

// asking is a plugin that asks on standard error for the token.
func asking(t *testing.T, mode string) scripted {
	ask := `printf 'Token: ' >&2; read -r token; `
	return newPlugin(t, mode, ask+printing(`{"token": "$token"}`))
}

func TestALoginAsksOnTheTerminal(t *testing.T) {
	server := newServer(t, "tok", "jane")
	for _, mode := range []string{"IfAvailable", "Always"} {
		person := newPerson(t)
		var said heard
		result := make(chan error, 1)
		go func() {
			found := contextOf(t, server, asking(t, mode).user)
			admin, err := New(t.Context(), newHost(os.Stdin), found, said.report)
			if err == nil {
				err = call(t, admin)
			}
			result <- err
		}()
		person.see("Token: ")
		person.types("tok")
		if err := <-result; err != nil {
			t.Errorf("interactiveMode %s: %v", mode, err)
		}
	}
}

func TestAClientsPersonIsNotAsked(t *testing.T) {
	newPerson(t)
	t.Setenv("KUBERNETES_EXEC_INFO", "{}")
	server := newServer(t, "tok", "jane")
	told := `case $KUBERNETES_EXEC_INFO in *'"interactive":true'*) exit 3; esac; `
	plugin := newPlugin(t, "IfAvailable", told+printing(`{"token": "tok"}`))
	var said heard
	found := contextOf(t, server, plugin.user)
	if _, err := New(t.Context(), newHost(os.Stdin), found, said.report); err != nil {
		t.Error(err)
	}
	found = contextOf(t, server, newPlugin(t, "Always", printing(`{"token": "tok"}`)).user)
	if _, err := New(t.Context(), newHost(os.Stdin), found, said.report); !errors.Is(err,
		ErrLogin) {
		t.Errorf("one that has to ask: %v", err)
	}
}

func TestWhileALoginAsksNoOtherDoes(t *testing.T) {
	person, server := newPerson(t), newServer(t, "tok", "jane")
	h := newHost(os.Stdin)
	var said heard
	first := contextOf(t, server, asking(t, "IfAvailable").user)
	result := make(chan error, 1)
	go func() {
		_, err := New(t.Context(), h, first, said.report)
		result <- err
	}()
	person.see("Token: ")
	over, cancel := context.WithCancel(t.Context())
	cancel()
	other := newPlugin(t, "IfAvailable", printing(`{"token": "tok"}`))
	// one that could have the terminal might all the same be told that its time is over
	for range 20 {
		_, err := New(over, h, contextOf(t, server, other.user), said.report)
		if !errors.Is(err, ErrLogin) || other.count(t) != 0 {
			t.Fatalf("another plugin ran: %v", err)
		}
	}
	quiet := newPlugin(t, "Never", printing(`{"token": "tok"}`))
	if _, err := New(t.Context(), h, contextOf(t, server, quiet.user),
		said.report); err != nil {
		t.Errorf("one that never asks: %v", err)
	}
	person.types("tok")
	if err := <-result; err != nil {
		t.Error(err)
	}
}

// person sits at the terminal that standard input and standard error of this process are.
type person struct {
	*testing.T
	terminal *os.File
	screen   chan byte // what is shown; closed when nobody has the terminal open any longer
}

func newPerson(t *testing.T) *person {
	t.Helper()
	terminal, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	stdin, stderr := os.Stdin, os.Stderr
	os.Stdin, os.Stderr = tty, tty
	p := &person{t, terminal, make(chan byte, 1<<10)}
	go p.read()
	t.Cleanup(func() {
		os.Stdin, os.Stderr = stdin, stderr
		_ = tty.Close()
	})
	return p
}

func (p *person) read() {
	defer close(p.screen)
	defer p.terminal.Close()
	for b := make([]byte, 1); ; {
		if _, err := p.terminal.Read(b); err != nil {
			return
		}
		p.screen <- b[0]
	}
}

// see reads what is on the screen up to the text.
func (p *person) see(text string) {
	p.Helper()
	limit := time.After(time.Minute)
	var seen strings.Builder
	for !strings.HasSuffix(seen.String(), text) {
		select {
		case b := <-p.screen:
			seen.WriteByte(b)
		case <-limit:
			p.Fatalf("waited in vain for %q, seen %q", text, seen.String())
		}
	}
}

func (p *person) types(text string) {
	p.Helper()
	if _, err := p.terminal.WriteString(text + "\n"); err != nil {
		p.Fatal(err)
	}
}

// newPair is a status with a client certificate and its key.
func newPair(t *testing.T, name string) map[string]string {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1),
		NotAfter: time.Now().Add(time.Hour)}
	template.Subject.CommonName = name
	signed, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey,
		private)
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, data []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: data}))
	}
	return map[string]string{"clientCertificateData": block("CERTIFICATE", signed),
		"clientKeyData": block("PRIVATE KEY", key)}
}
