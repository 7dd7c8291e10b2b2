//go:build linux

// Package minters_test has people, CI systems and pods mint as devices: each with an identity that
// the API server knows, and none with a right beside that. What they try beyond it is denied.
package minters_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

func TestMain(m *testing.M) {
	lab.Main(m, lab.Options{Helpers: map[string]func([]string) int{"pod": lab.PodMain}})
}

type object = map[string]any

// limitsNamespace is where minters act.
const limitsNamespace = "sa-exec-credential"

// machine is a lab's machine with one profile.
type machine struct{ *lab.Machine }

func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{lab.NewMachine(t, keyring.Kernel)}
	m.Profile = "it"
	return m
}

// merge adds contexts of people to the administrator's kubeconfig on the machine.
func (m *machine) merge(users ...string) {
	m.Helper()
	files := []string{m.Admin}
	for _, user := range users {
		files = append(files, lab.User(m.T, user))
	}
	c := m.Command(lab.Plane.Kubectl, "config", "view", "--flatten")
	c.Env = append(c.Env, "KUBECONFIG="+strings.Join(files, ":"))
	m.Admin = m.Write(m.Path("all.kubeconfig"), c.Run(m.T).Succeeds().Stdout)
}

// mintsWith sets up the machine's profile, for a bootstrap source.
func (m *machine) mintsWith(source string, flags ...string) lab.Result {
	m.Helper()
	return m.Setup(append([]string{lab.Account, "-n", m.Namespace, "--profile", m.Profile,
		"--store", "kernel", "--cluster-role", "view", "--use-context", "--context",
		"admin@test", "--bootstrap", source}, flags...)...)
}

// device is the only one of the account.
func (m *machine) device() string {
	m.Helper()
	devices := m.Devices(m.Namespace)
	if len(devices) != 1 {
		m.Fatalf("there are %d devices", len(devices))
	}
	return devices[0].Name
}

// identity is whom the minters of a device act as.
func (m *machine) identity(device string) string {
	return "system:serviceaccount:" + limitsNamespace + ":" + m.Namespace + "." + device
}

// in is the path of what is in a namespace.
func in(namespace string, parts ...string) string {
	group := "/api/v1"
	if strings.HasPrefix(parts[0], "role") {
		group = "/apis/rbac.authorization.k8s.io/v1"
	}
	return strings.Join(append([]string{group, "namespaces", namespace}, parts...), "/")
}

// tokenOf is where tokens of an account are requested.
func (m *machine) tokenOf(account string) string {
	return in(m.Namespace, "serviceaccounts", account, "token")
}

// request asks for a token; bound names a Secret to bind it to.
func request(seconds int, bound string, audiences ...string) object {
	spec := object{"expirationSeconds": seconds}
	if len(audiences) > 0 {
		spec["audiences"] = audiences
	}
	if bound != "" {
		spec["boundObjectRef"] = object{"apiVersion": "v1", "kind": "Secret", "name": bound}
	}
	return object{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
}

// as is a person with a client certificate who acts as somebody else.
func as(t *testing.T, person, somebody string) lab.Person {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", lab.User(t, person))
	if err != nil {
		t.Fatal(err)
	}
	config.Impersonate = rest.ImpersonationConfig{UserName: somebody}
	return lab.With(t, config)
}

// minted is who has requested the last token of an account of the machine's namespace, and whom
// they acted as, in the words of the audit log.
func (m *machine) minted(account string) (user, acting string) {
	m.Helper()
	events, err := lab.Plane.AuditEvents()
	if err != nil {
		m.Fatal(err)
	}
	for _, event := range events {
		if event.IsTokenRequest(m.Namespace, account) &&
			event.ResponseStatus.Code == http.StatusCreated {
			user, acting = event.User.Username, event.ImpersonatedUser.Username
		}
	}
	return user, acting
}

// checkMinted expects somebody to have requested the last token.
func (m *machine) checkMinted(user, acting string) {
	m.Helper()
	if by, as := m.minted(lab.Account); by != user || as != acting {
		m.Errorf("the last token was requested by %q as %q, not by %q as %q", by, as, user,
			acting)
	}
}

// checkNothingLeft expects that nothing in the namespace of the limits is of the machine's.
func (m *machine) checkNothingLeft() {
	m.Helper()
	for _, kind := range []string{"roles", "rolebindings", "serviceaccounts", "secrets"} {
		list := lab.Administrator().Must(m.T, http.MethodGet, in(limitsNamespace, kind), nil)
		encoded, err := json.Marshal(list)
		if err != nil {
			m.Fatal(err)
		}
		if strings.Contains(string(encoded), m.Namespace+".") {
			m.Errorf("%s of %q are left in %q", kind, m.Namespace, limitsNamespace)
		}
	}
	data := fmt.Sprint(lab.Administrator().Must(m.T, http.MethodGet,
		in(limitsNamespace, "configmaps", "limits"), nil)["data"])
	if strings.Contains(data, m.Namespace+"."+lab.Account) {
		m.Errorf("limits are left: %s", data)
	}
}
