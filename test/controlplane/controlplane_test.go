//go:build linux

package controlplane_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/test/controlplane"
)

// plane is a control plane with what the tests do to it.
type plane struct {
	*testing.T
	*controlplane.ControlPlane
}

func start(t *testing.T, o controlplane.Options) plane {
	t.Helper()
	c, err := controlplane.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return plane{t, c}
}

// with returns the plane for a subtest.
func (p plane) with(t *testing.T) plane { return plane{t, p.ControlPlane} }

// kubectl runs kubectl with a kubeconfig and returns all it prints.
func (p plane) kubectl(kubeconfig string, args ...string) (string, error) {
	command := exec.CommandContext(p.Context(), p.Kubectl, args...)
	command.Env = []string{"KUBECONFIG=" + kubeconfig, "HOME=" + p.TempDir()}
	out, err := command.CombinedOutput()
	return string(bytes.TrimSpace(out)), err
}

// admin runs kubectl as the administrator, who may do everything.
func (p plane) admin(args ...string) string {
	p.Helper()
	out, err := p.kubectl(p.AdminKubeconfig, args...)
	if err != nil {
		p.Fatalf("kubectl %v: %v\n%s", args, err, out)
	}
	return out
}

// answer is the status of a request with a token, sent over a fresh connection.
func (p plane) answer(token string) int {
	p.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(p.CAPEM)
	client := http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		TLSClientConfig:   &tls.Config{RootCAs: roots},
	}}
	request, err := http.NewRequestWithContext(p.Context(), http.MethodGet, p.Server+"/api",
		nil)
	if err != nil {
		p.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := client.Do(request)
	if err != nil {
		p.Fatal(err)
	}
	response.Body.Close()
	return response.StatusCode
}

func (p plane) wantAnswer(token string, want int) {
	p.Helper()
	if got := p.answer(token); got != want {
		p.Errorf("answer to the token: %d, want %d", got, want)
	}
}

// tokenRequests counts the TokenRequests for a service account in the audit log.
func (p plane) tokenRequests(namespace, name string) (count int) {
	p.Helper()
	events, err := p.AuditEvents()
	if err != nil {
		p.Fatal(err)
	}
	for _, e := range events {
		if e.IsTokenRequest(namespace, name) {
			count++
		}
	}
	return count
}

// built is the version of Kubernetes that the module requires, as v1.36.3.
func built(t *testing.T) string {
	t.Helper()
	module, err := os.ReadFile(filepath.Join("..", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`(?m)^\tk8s\.io/kubernetes (v\S+)$`).FindSubmatch(module)
	if found == nil {
		t.Fatal("go.mod requires no Kubernetes")
	}
	return string(found[1])
}

// TestControlPlane takes one plane through its life; the order counts.
func TestControlPlane(t *testing.T) {
	dir := filepath.Join(t.TempDir(), strings.Repeat("a-path-too-long-for-a-socket-", 5))
	p := start(t, controlplane.Options{Dir: dir, ControllerManager: true})

	t.Run("kubectl works with the administrator's kubeconfig", func(t *testing.T) {
		p := p.with(t)
		if got := p.admin("version"); strings.Count(got, built(t)) != 2 {
			t.Errorf("versions of client and server are not %s: %s", built(t), got)
		}
		if got := p.admin("auth", "can-i", "*", "*", "--all-namespaces"); got != "yes" {
			t.Errorf("may the administrator do everything? %s", got)
		}
	})
	t.Run("aggregated roles are filled in", func(t *testing.T) {
		p := p.with(t)
		if err := p.WaitForRoles(t.Context()); err != nil {
			t.Fatal(err)
		}
		p.admin("create", "clusterrolebinding", "reader", "--clusterrole=view",
			"--user=reader")
		if got := p.admin("auth", "can-i", "list", "pods", "--as=reader"); got != "yes" {
			t.Errorf("may a holder of view list pods? %s", got)
		}
	})
	t.Run("a user with a client certificate is nobody special", p.checkUser)
	t.Run("every TokenRequest is in the audit log at once", p.checkAudit)
	t.Run("a legacy token Secret is filled in", p.checkLegacySecret)
	t.Run("the certificate has the names for tls-server-name", p.checkServingNames)
	t.Run("the API server stops and comes back the same", p.checkRestart)
	t.Run("new service account keys end all tokens", p.checkRotation)
	t.Run("nothing is left after Stop", func(t *testing.T) {
		if len(children(t)) == 0 {
			t.Error("no children before Stop: this test would see none after it either")
		}
		for range 2 {
			if err := p.Stop(); err != nil {
				t.Error(err)
			}
		}
		if left := children(t); len(left) > 0 {
			t.Errorf("processes left: %v", left)
		}
		if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("state left: %v", err)
		}
	})
}

func (p plane) checkUser(t *testing.T) {
	p = p.with(t)
	certificate, err := p.CA.IssueClientCert("jane", "developers")
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, p.Kubeconfig("jane", certificate), 0o600); err != nil {
		t.Fatal(err)
	}
	whoami, err := p.kubectl(kubeconfig, "auth", "whoami")
	if err != nil || !strings.Contains(whoami, "jane") || !strings.Contains(whoami,
		"developers") {
		t.Errorf("who is jane? %v\n%s", err, whoami)
	}
	if out, err := p.kubectl(kubeconfig, "get", "pods"); err == nil || !strings.Contains(out,
		"Forbidden") {
		t.Errorf("jane may list pods: %s", out)
	}
}

func (p plane) checkAudit(t *testing.T) {
	p = p.with(t)
	p.admin("create", "serviceaccount", "counted")
	p.admin("create", "serviceaccount", "other")
	p.admin("create", "token", "other")
	for want := range 10 {
		if got := p.tokenRequests("default", "counted"); got != want {
			t.Fatalf("%d TokenRequests in the log, want %d", got, want)
		}
		p.admin("create", "token", "counted")
	}
	events, err := p.AuditEvents()
	if err != nil {
		t.Fatal(err)
	}
	last := events[len(events)-1]
	const issued = "authentication.kubernetes.io/issued-credential-id"
	if last.User.Username != "admin" || last.ResponseStatus.Code != http.StatusCreated ||
		last.Annotations[issued] == "" {
		t.Errorf("event of a TokenRequest: %+v", last)
	}
}

func (p plane) checkLegacySecret(t *testing.T) {
	p = p.with(t)
	manifest := filepath.Join(t.TempDir(), "secret.yaml")
	err := os.WriteFile(manifest, []byte(`apiVersion: v1
kind: Secret
metadata:
  name: legacy
  annotations: {kubernetes.io/service-account.name: counted}
type: kubernetes.io/service-account-token
`), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	p.admin("create", "-f", manifest)
	p.admin("wait", "secret/legacy", "--for=jsonpath={.data.token}", "--timeout=30s")
}

func (p plane) checkServingNames(t *testing.T) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(p.CAPEM)
	for _, host := range controlplane.ServingHosts() {
		connection, err := tls.Dial("tcp", p.address(), &tls.Config{RootCAs: roots,
			ServerName: host})
		if err != nil {
			t.Errorf("as %s: %v", host, err)
			continue
		}
		connection.Close()
	}
}

func (p plane) address() string { return strings.TrimPrefix(p.Server, "https://") }

func (p plane) checkRestart(t *testing.T) {
	p = p.with(t)
	token := p.admin("create", "token", "counted")
	p.wantAnswer(token, http.StatusOK)
	p.StopAPIServer()
	if _, err := net.Dial("tcp", p.address()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("connecting to a stopped API server: %v, want %v", err,
			syscall.ECONNREFUSED)
	}
	if err := p.StartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.wantAnswer(token, http.StatusOK)
}

func (p plane) checkRotation(t *testing.T) {
	p = p.with(t)
	old := p.admin("create", "token", "counted")
	p.wantAnswer(old, http.StatusOK)
	if err := p.RotateServiceAccountKeys(t.Context()); err != nil {
		t.Fatal(err)
	}
	p.wantAnswer(old, http.StatusUnauthorized)
	p.wantAnswer(p.admin("create", "token", "counted"), http.StatusOK)
}

func TestStartWithoutProgramsSaysHowToBuildThem(t *testing.T) {
	_, err := controlplane.Start(t.Context(), controlplane.Options{Bin: t.TempDir()})
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "test/build") {
		t.Errorf("starting without programs: %v", err)
	}
}

func TestStartKeepsOutOfAFolderInUse(t *testing.T) {
	dir := t.TempDir()
	mine := filepath.Join(dir, "mine")
	if err := os.WriteFile(mine, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := controlplane.Start(t.Context(), controlplane.Options{Dir: dir}); err == nil {
		t.Error("started in a folder that is not empty")
	}
	if _, err := os.Stat(mine); err != nil {
		t.Error(err)
	}
}

func TestFailedStartTellsTheReasonAndLeavesNothing(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "state")
	began := time.Now()
	_, err := controlplane.Start(t.Context(), controlplane.Options{
		Dir:           dir,
		APIServerArgs: []string{"--no-such-flag"},
	})
	if err == nil || !strings.Contains(err.Error(), "unknown flag: --no-such-flag") {
		t.Errorf("starting with a wrong flag: %v", err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("the failure took %v to be noticed", took)
	}
	if left := children(t); len(left) > 0 {
		t.Errorf("processes left: %v", left)
	}
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("state left: %v", err)
	}
}

func TestStartEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancelCause(t.Context())
	reason := errors.New("changed my mind")
	cancel(reason)
	if _, err := controlplane.Start(ctx, controlplane.Options{}); !errors.Is(err, reason) {
		t.Errorf("starting with a cancelled context: %v", err)
	}
	if left := children(t); len(left) > 0 {
		t.Errorf("processes left: %v", left)
	}
}

func TestAuditEventsLeavesOutTheEventBeingWritten(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.log")
	const log = `{"verb":"create","objectRef":{"resource":"serviceaccounts","subresource":"token","namespace":"n","name":"a","apiVersion":"v1"}}
{"verb":"get","requestURI":"/readyz"}
{"verb":"li`
	if err := os.WriteFile(path, []byte(log), 0o600); err != nil {
		t.Fatal(err)
	}
	events, err := (&controlplane.ControlPlane{AuditLog: path}).AuditEvents()
	if err != nil {
		t.Fatal(err)
	}
	if len(events) != 2 || events[1].RequestURI != "/readyz" {
		t.Errorf("events: %+v", events)
	}
	for name, want := range map[string]bool{"a": true, "b": false} {
		if got := events[0].IsTokenRequest("n", name); got != want {
			t.Errorf("is it a TokenRequest for %q? %v, want %v", name, got, want)
		}
	}
}

func TestAuthorityOfThePastIssuesExpiredCertificates(t *testing.T) {
	authority, err := controlplane.NewAuthority("old", time.Now().Add(-time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	pair, err := authority.IssueServingCert("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority.PEM)
	_, err = certificate.Leaf.Verify(x509.VerifyOptions{Roots: roots})
	var invalid x509.CertificateInvalidError
	if !errors.As(err, &invalid) || invalid.Reason != x509.Expired {
		t.Errorf("verifying an expired certificate: %v", err)
	}
	_, err = certificate.Leaf.Verify(x509.VerifyOptions{Roots: roots,
		CurrentTime: time.Now().Add(-30 * time.Minute)})
	if err != nil {
		t.Error(fmt.Errorf("verifying it while it was good: %w", err))
	}
}
