package lifecycle

import (
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

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/prepare"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// awaitRefusalOf waits until a cluster refuses a token.
func awaitRefusalOf(ctx context.Context, cluster profile.Cluster) error {
	return awaitRefusal(ctx, host.System(), cluster, secret.New("e30.e30.c2ln"), func(ui.Kind,
		string) {
	})
}

func TestRevokeThatIsInterruptedClaimsNothing(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter,
		_ *http.Request) {
		interrupt()
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}`)
	}))
	defer server.Close()
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	err := awaitRefusalOf(ctx, profile.Cluster{Server: server.URL,
		CertificateAuthorityData: ca})
	if !errors.Is(err, prepare.ErrInterrupted) {
		t.Errorf("got %v, want that it was interrupted", err)
	}
}

// TestRevokeThatLosesTheServerSaysSo goes through the whole minute, which takes none here.
func TestRevokeThatLosesTheServerSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := awaitRefusalOf(t.Context(), profile.Cluster{Server: "https://127.0.0.1:1"})
		if errors.Is(err, ErrStillAccepted) || !errors.Is(err, api.ErrUnreachable) {
			t.Errorf("got %v, want that the API server is unreachable", err)
		}
	})
}

func TestWhatItMeansThatATokenIsNotRefused(t *testing.T) {
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct {
		name   string
		ctx    context.Context
		answer error
		kind   error
	}{
		{"it is accepted", t.Context(), nil, ErrStillAccepted},
		{"it may not ask, and so is accepted", t.Context(), api.ErrForbidden,
			ErrStillAccepted},
		{"the network is gone", t.Context(), api.ErrUnreachable, api.ErrUnreachable},
		{"the server hangs", t.Context(), api.ErrTimeout, api.ErrTimeout},
		{"the server is ill", t.Context(), &api.StatusError{Kind: api.ErrServer, Code: 503},
			api.ErrServer},
		{"a person has had enough", over, nil, prepare.ErrInterrupted},
		{"so the last question was cut off", over, api.ErrTimeout, prepare.ErrInterrupted},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := notRefused(test.ctx, test.answer)
			if !errors.Is(err, test.kind) {
				t.Errorf("got %v, want %v", err, test.kind)
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
	h := host.System().With(host.Snapshot([]string{"HOME=" + t.TempDir(), "KUBECONFIG=" +
		file}))
	var said string
	nameContexts(h, "p", func(_ ui.Kind, text string) { said += text })
	want := fmt.Sprintf("still names it: kubectl config delete-context \\$\\(id\\) "+
		"--kubeconfig '%s'", file)
	if !strings.HasSuffix(said, want) {
		t.Errorf("got %q, want %q at its end", said, want)
	}
}
