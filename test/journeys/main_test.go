//go:build linux

// Package journeys_test goes the ways of an administrator with the built program on a real control plane: preparing one
// account, a pod, or two hundred clusters, being interrupted, rotating and revoking. What it looks at is what the manual
// procedures that the program replaces look at: kubectl, curl, the cluster's objects, the files left behind.
package journeys_test

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/sa-exec-credential/sa-exec-credential/test/controlplane"
)

// patience bounds every wait for something that takes a second or twenty.
const patience = time.Minute

// shared is what all tests use side by side: one control plane, on which each has namespaces of its own.
var shared struct {
	plane  *controlplane.ControlPlane
	config *rest.Config // the administrator's
	admin  *http.Client
	plugin string
	count  atomic.Int64
}

func TestMain(m *testing.M) {
	if os.Getenv(podVariable) != "" {
		fmt.Fprintln(os.Stderr, becomePod(os.Getenv(podVariable), os.Args[1:]))
		os.Exit(1)
	}
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	if err := findPlugin(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	plane, err := controlplane.Start(context.Background(), controlplane.Options{ControllerManager: true})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() { _ = plane.Stop() }()
	shared.plane = plane
	if err := connect(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return m.Run()
}

// findPlugin finds the program under test.
func findPlugin() (err error) {
	shared.plugin, err = filepath.Abs(filepath.Join("..", "..", "bin", "sa-exec-credential"))
	if given := os.Getenv("SA_EXEC_CREDENTIAL"); given != "" {
		shared.plugin, err = filepath.Abs(given)
	}
	if err != nil {
		return err
	}
	if _, err := os.Stat(shared.plugin); err != nil {
		return fmt.Errorf("the program under test is missing: %w: run make build, or set SA_EXEC_CREDENTIAL", err)
	}
	return nil
}

func connect() (err error) {
	if err := shared.plane.WaitForRoles(context.Background()); err != nil {
		return err
	}
	if shared.config, err = clientcmd.BuildConfigFromFlags("", shared.plane.AdminKubeconfig); err != nil {
		return err
	}
	shared.admin, err = rest.HTTPClientFor(shared.config)
	return err
}

// newNamespace returns a name that no other test uses.
func newNamespace() string { return fmt.Sprintf("journey-%d", shared.count.Add(1)) }

// eventually polls, and fails the test when that takes too long.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	for !done() {
		select {
		case <-ctx.Done():
			t.Fatalf("waited for nothing: %s", what)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// has fails the test unless text holds every part.
func has(t *testing.T, what, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s does not say %q:\n%s", what, part, text)
		}
	}
}
