//go:build linux

// Package attack_test does what a thief would: with an account's token, with a machine's bootstrap credential, against
// the built program on a real control plane. Whoever holds a token here sends plain requests, so that what is refused is
// refused by the API server and not by a client's good manners.
package attack_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/test/controlplane"
)

// patience bounds every wait for the control plane.
const patience = 2 * time.Minute

// plane is a control plane with an administrator of it.
type plane struct {
	*testing.T
	*controlplane.ControlPlane
	plugin string
	admin  person
}

// person sends requests: with a client certificate, a token, or as somebody else.
type person struct {
	client *http.Client
	server string
	token  string
	as     string // the user to impersonate
	dryRun bool
}

type object = map[string]any

// answer is what the API server said. message is empty for what it did.
type answer struct {
	code    int
	message string
	content object
}

func startPlane(t *testing.T) plane {
	t.Helper()
	c, err := controlplane.Start(t.Context(), controlplane.Options{ControllerManager: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := c.WaitForRoles(t.Context()); err != nil {
		t.Fatal(err)
	}
	p := plane{T: t, ControlPlane: c, plugin: findPlugin(t)}
	p.admin = p.user("root", "system:masters")
	return p
}

func findPlugin(t *testing.T) string {
	t.Helper()
	plugin := os.Getenv("SA_EXEC_CREDENTIAL")
	if plugin == "" {
		plugin = filepath.Join("..", "..", "bin", "sa-exec-credential")
	}
	plugin, err := filepath.Abs(plugin)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(plugin); err != nil {
		t.Fatalf("%v: run make build, or set SA_EXEC_CREDENTIAL", err)
	}
	return plugin
}

// with is the plane for a subtest.
func (p plane) with(t *testing.T) plane {
	p.T = t
	return p
}

// each runs a subtest.
func (p plane) each(name string, test func(plane)) {
	p.Run(name, func(t *testing.T) { test(p.with(t)) })
}

func (p plane) trust() *tls.Config {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(p.CAPEM)
	return &tls.Config{RootCAs: pool}
}

// user has a client certificate.
func (p plane) user(name string, groups ...string) person {
	p.Helper()
	pair, err := p.CA.IssueClientCert(name, groups...)
	if err != nil {
		p.Fatal(err)
	}
	certificate, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	if err != nil {
		p.Fatal(err)
	}
	config := p.trust()
	config.Certificates = []tls.Certificate{certificate}
	return person{client: &http.Client{Transport: &http.Transport{TLSClientConfig: config}}, server: p.Server}
}

// holder has stolen a token.
func (p plane) holder(token string) person {
	return person{client: &http.Client{Transport: &http.Transport{TLSClientConfig: p.trust()}}, server: p.Server, token: token}
}

// do sends a request; a patch is a JSON merge patch.
func (w person) do(ctx context.Context, method, path string, body any) (answer, error) {
	var sent io.Reader // a DELETE with a body, even of null, leaves dryRun out of account
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			return answer{}, err
		}
		sent = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(ctx, method, w.server+path, sent)
	if err != nil {
		return answer{}, err
	}
	request.Header.Set("Content-Type", "application/json")
	if method == http.MethodPatch {
		request.Header.Set("Content-Type", "application/merge-patch+json")
	}
	if w.token != "" {
		request.Header.Set("Authorization", "Bearer "+w.token)
	}
	if w.as != "" {
		request.Header.Set("Impersonate-User", w.as)
	}
	if w.dryRun {
		query := request.URL.Query()
		query.Set("dryRun", "All")
		request.URL.RawQuery = query.Encode()
	}
	response, err := w.client.Do(request)
	if err != nil {
		return answer{}, err
	}
	defer response.Body.Close()
	read, err := io.ReadAll(response.Body)
	if err != nil {
		return answer{}, err
	}
	a := answer{code: response.StatusCode}
	err = json.Unmarshal(read, &a.content)
	if a.code >= http.StatusBadRequest {
		a.message, _ = a.content["message"].(string)
	}
	return a, err
}

// ask sends a request that has to be answered, whatever the answer.
func (p plane) ask(w person, method, path string, body any) answer {
	p.Helper()
	a, err := w.do(p.Context(), method, path, body)
	if err != nil {
		p.Fatalf("%s %s: %v", method, path, err)
	}
	return a
}

// allowed sends a request that has to succeed.
func (p plane) allowed(w person, method, path string, body any) object {
	p.Helper()
	a := p.ask(w, method, path, body)
	if a.message != "" {
		p.Fatalf("%s %s: %d: %s", method, path, a.code, a.message)
	}
	return a.content
}

// text follows the keys into an object.
func text(content object, keys ...string) string {
	var value any = content
	for _, key := range keys {
		m, _ := value.(object)
		value = m[key]
	}
	s, _ := value.(string)
	return s
}

// apiAudience is that of the API server.
const apiAudience = "https://kubernetes.default.svc"

// Paths of the API.
const (
	rbac     = "/apis/rbac.authorization.k8s.io/v1"
	policies = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies"
	bindings = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"
	limits   = "/api/v1/namespaces/sa-exec-credential/configmaps/limits"
)

func core(namespace, resource string, names ...string) string {
	return strings.Join(append([]string{"/api/v1/namespaces", namespace, resource}, names...), "/")
}

// tokenRequest asks for a token; bound names a Secret to bind it to.
func tokenRequest(seconds int, bound string, audiences ...string) object {
	spec := object{"expirationSeconds": seconds}
	if len(audiences) > 0 {
		spec["audiences"] = audiences
	}
	if bound != "" {
		spec["boundObjectRef"] = object{"apiVersion": "v1", "kind": "Secret", "name": bound}
	}
	return object{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
}

func named(name string, more object) object {
	o := object{"metadata": object{"name": name}}
	for key, value := range more {
		o[key] = value
	}
	return o
}

// tokenOf requests a token and returns it.
func (p plane) tokenOf(w person, namespace, account string, request object) string {
	p.Helper()
	return text(p.allowed(w, http.MethodPost, core(namespace, "serviceaccounts", account, "token"), request), "status", "token")
}

// machine is a home on which the program runs, with the kernel keyring.
type machine struct {
	plane
	home, namespace, account, profile string
}

func (p plane) machine(namespace, account string) machine {
	p.Helper()
	m := machine{plane: p, home: p.TempDir(), namespace: namespace, account: account}
	m.profile = fmt.Sprintf("%s.%s-%s", account, namespace, filepath.Base(m.home))
	p.Cleanup(func() { _, _ = m.run(context.Background(), "logout", "--profile", m.profile, "--bootstrap") })
	return m
}

// run runs the program; the result is all it has printed.
func (m machine) run(ctx context.Context, args ...string) (string, error) {
	command := exec.CommandContext(ctx, m.plugin, args...)
	command.Env = []string{"HOME=" + m.home, "PATH=/usr/bin:/bin", "XDG_RUNTIME_DIR=", "USER=jane"}
	output, err := command.CombinedOutput()
	return strings.TrimSpace(string(output)), err
}

func (m machine) must(args ...string) string {
	m.Helper()
	output, err := m.run(m.Context(), args...)
	if err != nil {
		m.Fatalf("%q: %v\n%s", args, err, output)
	}
	return output
}

func (m machine) setupLine(kubeconfig string, flags ...string) []string {
	return append([]string{"setup", m.account, "-n", m.namespace, "--kubeconfig", kubeconfig, "--store", "kernel",
		"--profile", m.profile, "-o", filepath.Join(m.home, "kubeconfig")}, flags...)
}

func (m machine) setup(flags ...string) string {
	m.Helper()
	return m.must(m.setupLine(m.AdminKubeconfig, flags...)...)
}

// token is one that the program has minted just now.
func (m machine) token() string {
	m.Helper()
	m.must("logout", "--profile", m.profile)
	return m.must("token", "--profile", m.profile)
}

// device is as devices lists it.
type device struct {
	Name, SecretUID, AccountUID string
	Odd                         []string
}

func (m machine) devices() []device {
	m.Helper()
	var list struct{ Items []device }
	output := m.must("devices", m.account, "-n", m.namespace, "--kubeconfig", m.AdminKubeconfig, "-o", "json")
	if err := json.Unmarshal([]byte(output), &list); err != nil {
		m.Fatal(err)
	}
	return list.Items
}

// newDevice sets the machine up and returns its device, which is new.
func (m machine) newDevice(flags ...string) device {
	m.Helper()
	var before []device
	if m.ask(m.admin, http.MethodGet, "/api/v1/namespaces/"+m.namespace, nil).code == http.StatusOK {
		before = m.devices()
	}
	m.setup(flags...)
	for _, d := range m.devices() {
		if !slices.ContainsFunc(before, func(old device) bool { return old.Name == d.Name }) {
			return d
		}
	}
	m.Fatal("there is no new device")
	return device{}
}

// bootstrap is a bootstrap credential of a device, as setup requests it.
func (p plane) bootstrap(namespace, device string) string {
	p.Helper()
	return p.tokenOf(p.admin, namespace, device, tokenRequest(24*3600, device))
}

// refused waits until the API server takes a token no longer.
func (p plane) refused(what, token string) {
	p.Helper()
	thief := p.holder(token)
	p.eventually(what+" is refused", func() bool {
		return p.ask(thief, http.MethodGet, "/api/v1/namespaces", nil).code == http.StatusUnauthorized
	})
}

func (p plane) accepted(what, token string) {
	p.Helper()
	if a := p.ask(p.holder(token), http.MethodGet, "/api/v1/namespaces", nil); a.code == http.StatusUnauthorized {
		p.Errorf("%s is refused", what)
	}
}

// eventually waits for what the control plane takes a moment to do.
func (p plane) eventually(what string, done func() bool) {
	p.Helper()
	deadline := time.Now().Add(patience)
	for !done() {
		if time.Now().After(deadline) {
			p.Fatalf("waited %v in vain until %s", patience, what)
		}
		time.Sleep(200 * time.Millisecond)
	}
}
