//go:build linux

package attack_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// sabotage is what an attacker could have done to a device before the policy was there.
type sabotage struct {
	name string
	odd  string // what devices says of it; empty: nothing
	do   func(m *machine, device string)
}

// patch changes the metadata of both of a device's objects that tokens depend on.
func patch(metadata object) func(*machine, string) {
	return func(m *machine, device string) {
		for _, resource := range []string{"secrets", "serviceaccounts"} {
			m.asAdmin(http.MethodPatch, lab.In(m.Namespace, resource, device),
				object{"metadata": metadata})
		}
	}
}

func (m *machine) asAdmin(method, path string, body any) object {
	m.Helper()
	return lab.Administrator().Must(m.T, method, path, body)
}

func (m *machine) delete(resource, device string) {
	m.Helper()
	m.asAdmin(http.MethodDelete, lab.In(m.Namespace, resource, device), nil)
}

var sabotages = []sabotage{
	{"nothing", "", func(*machine, string) {}},
	{"labels removed", "Secret without our labels", patch(object{"labels": nil})},
	{"finalizers", "", patch(object{"finalizers": []any{"example.com/never"}})},
	{"an owner", "", func(m *machine, device string) {
		owner := m.asAdmin(http.MethodPost, lab.In(m.Namespace, "configmaps"), named("owner",
			nil))["metadata"].(object)
		patch(object{"ownerReferences": []any{object{"apiVersion": "v1",
			"kind": "ConfigMap", "name": "owner",
			"uid": owner["uid"], "blockOwnerDeletion": true}}})(m, device)
	}},
	{"being deleted, and held", "ServiceAccount is being deleted", func(m *machine,
		device string) {
		patch(object{"finalizers": []any{"example.com/never"}})(m, device)
		m.delete("serviceaccounts", device)
		m.delete("secrets", device)
	}},
	{"a decoy in the Secret's place", "Secret without our labels", func(m *machine,
		device string) {
		m.delete("secrets", device)
		m.asAdmin(http.MethodPost, lab.In(m.Namespace, "secrets"), named(device, nil))
	}},
	{"the account is missing", "no ServiceAccount", func(m *machine, device string) {
		m.delete("serviceaccounts", device)
	}},
	{"the Secret is missing", "no Secret", func(m *machine, device string) {
		m.delete("secrets", device)
	}},
}

// TestDevicesEndWhateverWasDoneToThem revokes and rotates each, in three ways.
func TestDevicesEndWhateverWasDoneToThem(t *testing.T) {
	t.Parallel()
	for _, s := range sabotages {
		for way, end := range map[string]func(*machine, string){
			"revoke": (*machine).revoke, "rotate": (*machine).rotate,
			"revoke --device": (*machine).revokeDevice} {
			t.Run(way+" after "+s.name, func(t *testing.T) {
				t.Parallel()
				newMachine(t, lab.Namespace(), lab.Account, "--cluster-role",
					"view").checkEnd(s, end)
			})
		}
	}
}

func (m *machine) checkEnd(s sabotage, end func(*machine, string)) {
	device, token, bootstrap := m.device(), m.token(), m.bootstrap()
	if !lab.Accepts(m.T, token) || !lab.Accepts(m.T, bootstrap) {
		m.Error("the device's tokens are refused before anything was done to it")
	}
	s.do(m, device)
	marked := func(listed lab.Device) bool {
		return listed.Name == device && (s.odd == "" || slices.Contains(listed.Odd,
			s.odd)) && (s.odd != "" || len(listed.Odd) == 0)
	}
	if listed := m.Devices(m.Namespace); !slices.ContainsFunc(listed, marked) {
		m.Errorf("devices lists %+v, want %s marked as %q", listed, device, s.odd)
	}
	end(m, device)
	lab.Eventually(m.T, "the device's tokens are refused",
		func() bool { return !lab.Accepts(m.T, token) && !lab.Accepts(m.T, bootstrap) })
	m.checkGone(device)
}

func (m *machine) revoke(string) {
	m.Plugin("revoke", "--profile", m.Profile, "--kubeconfig", m.Admin).Succeeds()
}

func (m *machine) revokeDevice(device string) {
	m.Plugin("revoke", "--device", device, "--serviceaccount", m.account, "-n", m.Namespace,
		"--kubeconfig", m.Admin).Succeeds()
}

func (m *machine) rotate(string) {
	m.Plugin("rotate", "--profile", m.Profile, "--kubeconfig", m.Admin).Succeeds()
	if !lab.Accepts(m.T, m.token()) {
		m.Error("a token after rotate is refused")
	}
}
