//go:build linux

package lab

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/sa-exec-credential/sa-exec-credential/test/controlplane"
)

// Config is the administrator's way to the API server.
var Config = sync.OnceValue(func() *rest.Config {
	config, err := clientcmd.BuildConfigFromFlags("", Plane.AdminKubeconfig)
	if err != nil {
		panic(err) // Main has started the plane with it
	}
	return config
})

// anonymous is a client without any credential of its own.
var anonymous = sync.OnceValue(func() *http.Client {
	client, err := rest.HTTPClientFor(rest.AnonymousClientConfig(Config()))
	if err != nil {
		panic(err)
	}
	return client
})

// Status asks the API server with a token and returns the status of its answer.
func Status(t *testing.T, token, path string) int {
	t.Helper()
	code, _ := Ask(t, token, http.MethodGet, path, nil)
	return code
}

// Ask sends a request with a token. It can be called from other goroutines than the test's.
func Ask(t *testing.T, token, method, path string, body any) (code int, answer []byte) {
	t.Helper()
	var reader io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			t.Error(err)
			return 0, nil
		}
		reader = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(t.Context(), method, Plane.Server+path, reader)
	if err != nil {
		t.Error(err)
		return 0, nil
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	response, err := anonymous().Do(request)
	if err != nil {
		t.Error(err)
		return 0, nil
	}
	defer response.Body.Close()
	if answer, err = io.ReadAll(response.Body); err != nil {
		t.Error(err)
	}
	return response.StatusCode, answer
}

// Device is one as the program lists it.
type Device struct {
	Name, User string
	Issued     string `json:"bootstrapIssuedAt"`
	Expires    string `json:"bootstrapExpirationTimestamp"`
}

// Devices are those of the account in a namespace.
func (m *Machine) Devices(namespace string) []Device {
	m.Helper()
	var list struct{ Items []Device }
	m.Decode(m.Plugin("devices", Account, "-n", namespace, "--kubeconfig", m.Admin, "-o", "json"), &list)
	return list.Items
}

// Decode reads the JSON that a command has printed.
func (m *Machine) Decode(r Result, into any) {
	m.Helper()
	if err := json.Unmarshal([]byte(r.Succeeds().Stdout), into); err != nil {
		m.Fatalf("%s: %v\n%s", r, err, r.Shown())
	}
}

// Authority makes a certificate authority that is not the control plane's.
func Authority(t *testing.T, notAfter time.Time) *controlplane.Authority {
	t.Helper()
	authority, err := controlplane.NewAuthority("impostor", notAfter)
	if err != nil {
		t.Fatal(err)
	}
	return authority
}
