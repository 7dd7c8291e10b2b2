//go:build linux

package attack_test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
)

// sabotage is what an attacker could have done to a device before the policy was there.
type sabotage struct {
	name string
	odd  string // what devices says of it; empty: nothing
	do   func(p plane, namespace string, d device)
}

func onBoth(metadata object) func(plane, string, device) {
	return func(p plane, namespace string, d device) {
		for _, resource := range []string{"secrets", "serviceaccounts"} {
			p.allowed(p.admin, http.MethodPatch, core(namespace, resource, d.Name), object{"metadata": metadata})
		}
	}
}

var sabotages = []sabotage{
	{"nothing", "", func(plane, string, device) {}},
	{"labels removed", "Secret without our labels", onBoth(object{"labels": nil})},
	{"finalizers", "", onBoth(object{"finalizers": []any{"example.com/never"}})},
	{"an owner", "", func(p plane, namespace string, d device) {
		owner := p.allowed(p.admin, http.MethodPost, core(namespace, "configmaps"), named("owner", nil))
		onBoth(object{"ownerReferences": []any{object{"apiVersion": "v1", "kind": "ConfigMap", "name": "owner",
			"uid": text(owner, "metadata", "uid"), "blockOwnerDeletion": true}}})(p, namespace, d)
	}},
	{"being deleted, and held", "ServiceAccount is being deleted", func(p plane, namespace string, d device) {
		onBoth(object{"finalizers": []any{"example.com/never"}})(p, namespace, d)
		p.allowed(p.admin, http.MethodDelete, core(namespace, "serviceaccounts", d.Name), nil)
		p.allowed(p.admin, http.MethodDelete, core(namespace, "secrets", d.Name), nil)
	}},
	{"a decoy in the Secret's place", "Secret without our labels", func(p plane, namespace string, d device) {
		p.allowed(p.admin, http.MethodDelete, core(namespace, "secrets", d.Name), nil)
		p.allowed(p.admin, http.MethodPost, core(namespace, "secrets"), named(d.Name, nil))
	}},
	{"the account is missing", "no ServiceAccount", func(p plane, namespace string, d device) {
		p.allowed(p.admin, http.MethodDelete, core(namespace, "serviceaccounts", d.Name), nil)
	}},
	{"the Secret is missing", "no Secret", func(p plane, namespace string, d device) {
		p.allowed(p.admin, http.MethodDelete, core(namespace, "secrets", d.Name), nil)
	}},
}

// TestDevicesEndWhateverWasDoneToThem revokes and rotates each, in three ways.
func TestDevicesEndWhateverWasDoneToThem(t *testing.T) {
	p := startPlane(t)
	p.Run("all", func(t *testing.T) {
		for i, s := range sabotages {
			for way, end := range map[string]func(machine, device){
				"revoke": machine.revoke, "rotate": machine.rotate, "revoke-device": machine.revokeDevice} {
				namespace := fmt.Sprintf("%s-%d", way, i)
				t.Run(way+" after "+s.name, func(t *testing.T) {
					t.Parallel()
					p.with(t).checkEnd(namespace, s, end)
				})
			}
		}
	})
}

func (p plane) checkEnd(namespace string, s sabotage, end func(machine, device)) {
	m := p.machine(namespace, "ci")
	d := m.newDevice("--cluster-role", "view")
	token, bootstrap := m.token(), p.bootstrap(namespace, d.Name)
	p.accepted("a token", token)
	s.do(p, namespace, d)
	marked := func(listed device) bool {
		return listed.Name == d.Name && (s.odd == "" || slices.Contains(listed.Odd, s.odd)) && (s.odd != "" || len(listed.Odd) == 0)
	}
	if listed := m.devices(); !slices.ContainsFunc(listed, marked) {
		p.Errorf("devices lists %+v, want %s marked as %q", listed, d.Name, s.odd)
	}
	end(m, d)
	p.refused("the token", token)
	p.refused("the bootstrap credential", bootstrap)
	for _, resource := range []string{"secrets", "serviceaccounts"} {
		if got := p.ask(p.admin, http.MethodGet, core(namespace, resource, d.Name), nil); got.code != http.StatusNotFound {
			p.Errorf("%s of the device is still there: %d", resource, got.code)
		}
	}
}

func (m machine) revoke(device) {
	m.must("revoke", "--profile", m.profile, "--kubeconfig", m.AdminKubeconfig)
}

func (m machine) revokeDevice(d device) {
	m.must("revoke", "--device", d.Name, "--serviceaccount", m.account, "-n", m.namespace, "--kubeconfig", m.AdminKubeconfig)
}

func (m machine) rotate(device) {
	m.must("rotate", "--profile", m.profile, "--kubeconfig", m.AdminKubeconfig)
	m.accepted("a token after rotate", m.token())
}
