//go:build linux

// Package rotate_test interrupts rotate, revoke and setup wherever they can be, on machines with seven
// profiles that share one device, and looks at what is left: no profile may be dead, and the next
// rotate or revoke finishes what the last one began.
package rotate_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/test/controlplane"
)

const (
	patience   = time.Minute // bounds every wait for something that takes seconds
	adminToken = "the-administrator"
	issuer     = "https://kubernetes.default.svc"
)

// shared is the control plane that all tests use side by side.
var shared struct {
	plane  *controlplane.ControlPlane
	client *http.Client
	plugin string
	count  atomic.Int64
}

func TestMain(m *testing.M) {
	flag.Parse()
	// Machines wait for the API server most of the time: more of them than there are processors.
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "rotate-")
	if err == nil {
		defer os.RemoveAll(dir)
		err = start(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = shared.plane.Stop() }()
	return m.Run()
}

func start(dir string) (err error) {
	if shared.plugin, err = filepath.Abs(filepath.Join("..", "..", "bin", "sa-exec-credential")); err != nil {
		return err
	}
	if given := os.Getenv("SA_EXEC_CREDENTIAL"); given != "" {
		shared.plugin = given
	}
	if _, err := os.Stat(shared.plugin); err != nil {
		return fmt.Errorf("the program under test is missing: %w: run make build, or set SA_EXEC_CREDENTIAL", err)
	}
	// A token, because the proxies in front of the API server cannot pass on a client certificate.
	tokens := filepath.Join(dir, "tokens.csv")
	if err := os.WriteFile(tokens, []byte(adminToken+",admin,admin,system:masters\n"), 0o600); err != nil {
		return err
	}
	shared.plane, err = controlplane.Start(context.Background(),
		controlplane.Options{APIServerArgs: []string{"--token-auth-file=" + tokens}})
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(shared.plane.CAPEM)
	shared.client = &http.Client{Timeout: patience, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}
	return nil
}

// ask sends a request to the API server itself. body and result may be nil.
func ask(t *testing.T, token, method, path string, body, result any) (code int) {
	t.Helper()
	encoded, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	request, err := http.NewRequestWithContext(t.Context(), method, shared.plane.Server+path, bytes.NewReader(encoded))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	response, err := shared.client.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err == nil && result != nil {
		err = json.Unmarshal(answer, result)
	}
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return response.StatusCode
}

// asAdmin is ask as the administrator, for what has to succeed.
func asAdmin(t *testing.T, method, path string, body, result any) {
	t.Helper()
	if code := ask(t, adminToken, method, path, body, result); code >= http.StatusBadRequest {
		t.Fatalf("%s %s: %d", method, path, code)
	}
}

// eventually polls, and fails the test when that takes too long.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited for nothing: %s", what)
		}
	}
}

// lines joins what differs into something to read.
func lines(list []string) string { return "\n\t" + strings.Join(list, "\n\t") }
