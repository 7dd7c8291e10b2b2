//go:build linux

// Package attack_test does what a thief would: with an account's token, with a machine's bootstrap
// credential, against the built program on a real control plane.
package attack_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

func TestMain(m *testing.M) { lab.Main(m, lab.Options{}) }

type object = lab.Object

// Paths of the API, and the API server's own audience.
const (
	rbac        = "/apis/rbac.authorization.k8s.io/v1"
	policy      = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/sa-exec-credential"
	limits      = "/api/v1/namespaces/sa-exec-credential/configmaps/limits"
	apiAudience = "https://kubernetes.default.svc"
)

func named(name string, more object) object {
	o := object{"metadata": object{"name": name}}
	for key, value := range more {
		o[key] = value
	}
	return o
}

func legacySecret(name, account string) object {
	return object{"type": "kubernetes.io/service-account-token",
		"metadata": object{"name": name,
			"annotations": object{"kubernetes.io/service-account.name": account}}}
}

// machine is a lab's machine with one profile.
type machine struct {
	*lab.Machine
	account string
}

// newMachine sets up a machine for an account.
func newMachine(t *testing.T, namespace, account string, flags ...string) *machine {
	t.Helper()
	m := &machine{lab.NewMachine(t, keyring.Kernel), account}
	m.Namespace, m.Profile = namespace, account
	m.Setup(append([]string{account, "-n", namespace, "--profile", account,
		"--store", string(m.Kind())}, flags...)...).Succeeds()
	return m
}

// device is the name of the machine's own.
func (m *machine) device() string {
	m.Helper()
	return m.Configuration().Device.Name
}

// token is one that the program has minted just now.
func (m *machine) token() string {
	m.Helper()
	m.Forget()
	return strings.TrimSpace(m.Plugin("token", "--profile", m.Profile).Succeeds().Stdout)
}

// bootstrap is the credential that a thief of the machine has.
func (m *machine) bootstrap() string {
	m.Helper()
	_, bootstrap := m.Tokens(m.Configuration())
	return bootstrap
}

// checkGone expects that nothing is left of a device in the cluster.
func (m *machine) checkGone(device string) {
	m.Helper()
	for _, resource := range []string{"secrets", "serviceaccounts", "roles", "rolebindings"} {
		if got := lab.Administrator().Ask(m.T, http.MethodGet, lab.In(m.Namespace, resource,
			device), nil); got.Code != http.StatusNotFound {
			m.Errorf("%s of the device are still there: %d", resource, got.Code)
		}
	}
}
