package main

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

// awaitRefusalOf waits until a cluster refuses a token.
func awaitRefusalOf(ctx context.Context, cluster profile.Cluster) error {
	env := &environment{now: time.Now, log: &logger{out: io.Discard}}
	return env.awaitRefusal(ctx, &admin{context: kubeconfig.Context{Cluster: cluster}}, secret.New("e30.e30.c2ln"))
}

func TestRevokeThatIsInterruptedClaimsNothing(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		interrupt()
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}`)
	}))
	defer server.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	err := awaitRefusalOf(ctx, profile.Cluster{Server: server.URL, CertificateAuthorityData: ca})
	if !errors.Is(err, errInterrupted) {
		t.Errorf("got %v, want that it was interrupted", err)
	}
}

// TestRevokeThatLosesTheServerSaysSo goes through the whole minute, which takes none here.
func TestRevokeThatLosesTheServerSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := awaitRefusalOf(t.Context(), profile.Cluster{Server: "https://127.0.0.1:1"})
		if errors.Is(err, errStillAccepted) || !errors.Is(err, api.ErrUnreachable) {
			t.Errorf("got %v, want that the API server is unreachable", err)
		}
	})
}

func TestWhatItMeansThatATokenIsNotRefused(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	const network = "check the network, VPN and proxy on the way to the cluster"
	for _, test := range []struct {
		name   string
		ctx    context.Context
		answer error
		kind   error
		code   int
		hint   string
	}{
		{"it is accepted", t.Context(), nil, errStillAccepted, exitServer, "see whether another program makes the Secret again"},
		{"it may not ask, and so is accepted", t.Context(), api.ErrForbidden, errStillAccepted, exitServer, "see whether another program makes the Secret again"},
		{"the network is gone", t.Context(), api.ErrUnreachable, api.ErrUnreachable, exitServer, network},
		{"the server hangs", t.Context(), api.ErrTimeout, api.ErrTimeout, exitServer, network},
		{"the server is ill", t.Context(), &api.StatusError{Kind: api.ErrServer, Code: 503}, api.ErrServer, exitServer, "try again later; the API server's own log says what failed"},
		{"a person has had enough", over, nil, errInterrupted, exitUnexpected, "run the same command again: it finishes the rest"},
		{"so the last question was cut off", over, api.ErrTimeout, errInterrupted, exitUnexpected, "run the same command again: it finishes the rest"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := notRefused(test.ctx, test.answer)
			if !errors.Is(err, test.kind) || exitCode(err) != test.code || hintFor(err) != test.hint {
				t.Errorf("got %v, exit code %d, hint %q", err, exitCode(err), hintFor(err))
			}
		})
	}
}

func TestTheCommandThatRevokeHintsAtIsSafeToRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "kube config")
	const text = `
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
users: [{name: u, user: {exec: {command: sa-exec-credential, args: [get, --profile, p]}}}]
contexts: [{name: "$(id)", context: {cluster: c, user: u}}]
`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	env := &environment{lookupEnv: snapshot([]string{"HOME=" + t.TempDir(), "KUBECONFIG=" + file}), log: &logger{out: &stderr}}
	env.nameContexts("p")
	want := fmt.Sprintf("still names it: kubectl config delete-context '$(id)' --kubeconfig '%s'\n", file)
	if !strings.HasSuffix(stderr.String(), want) {
		t.Errorf("got %q, want %q at its end", stderr.String(), want)
	}
}
