//go:build linux

package dist_test

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// TestTheAction has its first step install what a release would have, by the sums that it would have.
// What comes after that, and wrong sums, are in test/ci.
func TestTheAction(t *testing.T) {
	var action struct {
		Runs struct{ Steps []struct{ Run string } }
	}
	if err := yaml.Unmarshal(read(t, filepath.Join("..", "..", "action.yml")),
		&action); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"SHA256SUMS": filepath.Join(dist(), "SHA256SUMS")}
	for _, a := range made(t, "Binary") {
		files[a.Name] = a.file()
	}
	release := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter,
		r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, "/v1.0.0/")
		if files[name] == "" {
			http.NotFound(w, r)
			return
		}
		http.ServeFile(w, r, files[name])
	}))
	t.Cleanup(release.Close)
	m := lab.NewMachine(t, keyring.Kernel)
	m.Variables = []string{"RUNNER_OS=Linux", "RUNNER_ARCH=X64", "RUNNER_TEMP=" + m.Path("tmp"),
		"GITHUB_PATH=" + m.Path("path"), "VERSION=v1.0.0", "SHA256=", "STORE=kernel",
		"URL=" + release.URL, "CURL_CA_BUNDLE=" + m.Write(m.Path("ca.pem"),
			string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE",
				Bytes: release.Certificate().Raw})))}
	m.Exec("bash", "--noprofile", "--norc", "-e", "-o", "pipefail", "-c",
		action.Runs.Steps[0].Run).Succeeds()
	bin := strings.TrimSpace(m.Read(m.Path("path")))
	lab.Has(t, "version", m.Exec(filepath.Join(bin, program), "version").Succeeds().Stdout,
		metadata(t).Version)
	m.Exec(filepath.Join(bin, program+"-get"), "get", "--profile", "missing").
		Fails(3, "no such profile")
}
