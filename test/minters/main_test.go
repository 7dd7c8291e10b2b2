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

func TestMain(m *testing.M) { lab.Main(m, lab.Options{}) }

type object = lab.Object

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

// tokenOf is where tokens of an account are requested.
func (m *machine) tokenOf(account string) string { return lab.TokenOf(m.Namespace, account) }

// as is a person with a client certificate who acts as somebody else.
func as(t *testing.T, person, somebody string, groups ...string) lab.Person {
	t.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", lab.User(t, person, groups...))
	if err != nil {
		t.Fatal(err)
	}
	config.Impersonate = rest.ImpersonationConfig{UserName: somebody}
	return lab.With(t, config)
}

// checkMinted expects somebody to have requested the last token, and whom they acted as.
func (m *machine) checkMinted(user, acting string) {
	m.Helper()
	mints := m.Mints(lab.Account)
	last := mints[len(mints)-1]
	if by, as := last.User.Username, last.ImpersonatedUser.Username; by != user || as != acting {
		m.Errorf("the last token was requested by %q as %q, not by %q as %q", by, as, user,
			acting)
	}
}

// checkNothingLeft expects that nothing in the namespace of the limits is of the machine's.
func (m *machine) checkNothingLeft() {
	m.Helper()
	for _, kind := range []string{"roles", "rolebindings", "serviceaccounts", "secrets"} {
		list := lab.Administrator().Must(m.T, http.MethodGet, lab.In(limitsNamespace, kind), nil)
		encoded, err := json.Marshal(list)
		if err != nil {
			m.Fatal(err)
		}
		if strings.Contains(string(encoded), m.Namespace+".") {
			m.Errorf("%s of %q are left in %q", kind, m.Namespace, limitsNamespace)
		}
	}
	data := fmt.Sprint(lab.Administrator().Must(m.T, http.MethodGet,
		lab.In(limitsNamespace, "configmaps", "limits"), nil)["data"])
	if strings.Contains(data, m.Namespace+"."+lab.Account) {
		m.Errorf("limits are left: %s", data)
	}
}
