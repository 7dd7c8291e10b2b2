//go:build linux

package minters_test

import (
	"testing"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
)

// TestTheAuditLogSaysWhoHasMinted is the table of docs/security.md: each identity mints by a get of
// kubectl's, after setup.
func TestTheAuditLogSaysWhoHasMinted(t *testing.T) {
	t.Parallel()
	for _, row := range []struct {
		name  string
		setup func(*machine) (user string)
		acts  bool // as the device's identity
		as    string
	}{
		{name: "the machine's device", setup: func(m *machine) string {
			m.mintsWith("keyring").Succeeds()
			return mint.Username(m.Namespace, m.device())
		}},
		{name: "a person by single sign-on", acts: true, setup: func(m *machine) string {
			m.AddUser("alice")
			m.mintsWith("context=alice@test").Succeeds()
			return "alice"
		}},
		{name: "an account's token", acts: true, setup: func(m *machine) string {
			namespace, token := m.runner()
			m.mintsWith("token-file=" + m.withToken(token)).Succeeds()
			return mint.Username(namespace, "runner")
		}},
		{name: "an administrator", acts: true, setup: func(m *machine) string {
			m.mintsWith("context=admin@test").Succeeds()
			return "admin"
		}},
		{name: "somebody with as", as: "hugo", setup: func(m *machine) string {
			m.actsAs("hugo")
			m.mintsWith("context=hugo").Succeeds()
			return "admin"
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			user := row.setup(m)
			m.Forget()
			m.Kubectl("get", "pods").Succeeds()
			device := m.Load(m.Profile).Device.Name
			as := row.as
			if row.acts {
				as = m.identity(device)
			}
			m.checkMinted(user, as)
			token := m.Plugin("token", "--profile", m.Profile).Succeeds().Stdout
			if bound := mint.ParseClaims(token).BoundSecret.Name; bound != device {
				t.Errorf("it is bound to %q, not to %q", bound, device)
			}
		})
	}
}

// actsAs adds a context of the administrator's that acts as somebody who may mint, as an editor of
// the namespace, to the administrator's kubeconfig.
func (m *machine) actsAs(somebody string) {
	m.Helper()
	m.AsAdmin("create", "namespace", m.Namespace)
	m.AsAdmin("create", "rolebinding", somebody, "-n", m.Namespace, "--clusterrole=admin",
		"--user="+somebody)
	config, err := clientcmd.LoadFromFile(m.Admin)
	if err != nil {
		m.Fatal(err)
	}
	user := config.AuthInfos["admin"].DeepCopy()
	user.Impersonate = somebody
	config.AuthInfos[somebody] = user
	context := config.Contexts["admin@test"].DeepCopy()
	context.AuthInfo = somebody
	config.Contexts[somebody] = context
	m.Admin = m.Path("as.kubeconfig")
	if err := clientcmd.WriteToFile(*config, m.Admin); err != nil {
		m.Fatal(err)
	}
}
