//go:build linux

package lab

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	utilnet "k8s.io/apimachinery/pkg/util/net"
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

// Person sends plain requests, so that what is refused is refused by the API server and not by a
// client's good manners.
type Person struct{ client *http.Client }

// Administrator may do everything.
func Administrator() Person { return person(Config()) }

// Holder is whoever has a token.
func Holder(token string) Person { return Impersonator(token, rest.ImpersonationConfig{}) }

// Impersonator is whoever has a token and acts as somebody else with it.
func Impersonator(token string, as rest.ImpersonationConfig) Person {
	config := rest.AnonymousClientConfig(Config())
	config.BearerToken, config.Impersonate = token, as
	return person(config)
}

// CertificateHolder is somebody with a client certificate.
func CertificateHolder(t *testing.T, name string, groups ...string) Person {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", User(t, name, groups...))
	if err != nil {
		t.Fatal(err)
	}
	return person(config)
}

// With is whoever a configuration is of.
func With(t *testing.T, config *rest.Config) Person {
	t.Helper()
	return person(rest.CopyConfig(config))
}

func person(config *rest.Config) Person {
	client, err := rest.HTTPClientFor(config)
	if err != nil {
		panic(err) // the plane's own certificates, and text
	}
	return Person{client}
}

// In is the path of what is in a namespace.
func In(namespace, resource string, names ...string) string {
	group := "/api/v1"
	if strings.HasPrefix(resource, "role") {
		group = "/apis/rbac.authorization.k8s.io/v1"
	}
	return strings.Join(append([]string{group, "namespaces", namespace, resource}, names...),
		"/")
}

// TokenOf is where tokens of an account are requested.
func TokenOf(namespace, account string) string {
	return In(namespace, "serviceaccounts", account, "token")
}

// Object is one of the API's, or a part of one.
type Object = map[string]any

// TokenRequest asks for a token; bound names a Secret to bind it to, unless it is empty.
func TokenRequest(seconds int, bound string, audiences ...string) Object {
	spec := Object{"expirationSeconds": seconds}
	if len(audiences) > 0 {
		spec["audiences"] = audiences
	}
	if bound != "" {
		spec["boundObjectRef"] = Object{"apiVersion": "v1", "kind": "Secret", "name": bound}
	}
	return Object{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
}

// Token requests a token that has to be issued.
func (p Person) Token(t *testing.T, namespace, account string, request Object) string {
	t.Helper()
	answer := p.Must(t, http.MethodPost, TokenOf(namespace, account), request)
	return answer["status"].(Object)["token"].(string)
}

// Answer is what the API server has said. Message says why it has not done what it was asked for,
// and is empty otherwise.
type Answer struct {
	Code     int
	Message  string
	Warnings []string
	Body     []byte
	Content  Object
}

// Ask sends a request; a patch is a JSON merge patch. It can be called from other goroutines than
// the test's.
func (p Person) Ask(t *testing.T, method, path string, body any) (a Answer) {
	t.Helper()
	var reader io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		if err != nil {
			t.Error(err)
			return a
		}
		reader = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(t.Context(), method, Plane.Server+path, reader)
	if err != nil {
		t.Error(err)
		return a
	}
	request.Header.Set("Content-Type", "application/json")
	if method == http.MethodPatch {
		request.Header.Set("Content-Type", "application/merge-patch+json")
	}
	response, err := p.client.Do(request)
	if err != nil {
		t.Error(err)
		return a
	}
	defer response.Body.Close()
	if a.Body, err = io.ReadAll(response.Body); err != nil {
		t.Error(err)
	}
	Note(string(a.Body))
	a.Code = response.StatusCode
	for _, header := range response.Header.Values("Warning") {
		if warning, _, err := utilnet.ParseWarningHeader(header); err == nil {
			a.Warnings = append(a.Warnings, warning.Text)
		}
	}
	_ = json.Unmarshal(a.Body, &a.Content) // some answers are not JSON
	if a.Code >= http.StatusBadRequest {
		a.Message, _ = a.Content["message"].(string)
	}
	return a
}

// Must sends a request that has to succeed.
func (p Person) Must(t *testing.T, method, path string, body any) Object {
	t.Helper()
	a := p.Ask(t, method, path, body)
	if a.Code >= http.StatusBadRequest {
		t.Fatalf("%s %s: %d %s", method, path, a.Code, a.Message)
	}
	return a.Content
}

// Status asks the API server with a token and returns the status of its answer.
func Status(t *testing.T, token, path string) int {
	t.Helper()
	return Holder(token).Ask(t, http.MethodGet, path, nil).Code
}

// Device is one as the program lists it.
type Device struct {
	Name, User string
	Issued     string `json:"bootstrapIssuedAt"`
	Expires    string `json:"bootstrapExpirationTimestamp"`
	Odd        []string
}

// Devices are those of the account in a namespace.
func (m *Machine) Devices(namespace string) []Device {
	m.Helper()
	var list struct{ Items []Device }
	m.Decode(m.Plugin("devices", Account, "-n", namespace, "--kubeconfig", m.Admin, "-o",
		"json"), &list)
	return list.Items
}

// Decode reads the JSON that a command has printed.
func (m *Machine) Decode(r Result, into any) {
	m.Helper()
	if err := json.Unmarshal([]byte(r.Succeeds().Stdout), into); err != nil {
		m.Fatalf("%s: %v\n%s", r, err, r.Shown())
	}
}

// Accepts reports whether the API server takes a token.
func Accepts(t *testing.T, token string) bool {
	t.Helper()
	return Status(t, token, "/version") != http.StatusUnauthorized
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
