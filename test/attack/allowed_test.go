//go:build linux

package attack_test

import (
	"net/http"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// checkAllowed are requests that look like an attack, and are none.
func (v victims) checkAllowed(t *testing.T) {
	t.Run("a device mints and renews", v.checkDeviceMints)
	t.Run("an account with edit keeps its other rights", v.checkEditWorks)
	t.Run("others request tokens as before", v.checkOthersMint)
	t.Run("an administrator does what he likes", v.checkAdministrator)
}

func (v victims) checkDeviceMints(t *testing.T) {
	for _, allowed := range []struct {
		device  lab.Person
		account string
		request object
	}{
		{v.first, "viewer", lab.TokenRequest(3600, v.deviceA)},
		{v.first, "viewer", lab.TokenRequest(600, v.deviceA)},
		{v.first, "viewer", lab.TokenRequest(600, v.deviceA, apiAudience)},
		{v.first, v.deviceA, lab.TokenRequest(month, v.deviceA)},
		{v.first, v.deviceA, lab.TokenRequest(600, v.deviceA, apiAudience)},
		{v.teller, "teller", lab.TokenRequest(600, v.tellerDevice, apiAudience, "vault")},
	} {
		if token := allowed.device.Token(t, v.namespace, allowed.account,
			allowed.request); !lab.Accepts(t, token) {
			t.Errorf("a token for %q is refused", allowed.account)
		}
	}
	v.teller.Token(t, v.namespace, "teller",
		lab.TokenRequest(600, v.tellerDevice, "sts", "vault"))
}

func (v victims) checkEditWorks(t *testing.T) {
	const name = "ordinary-device"
	for resource, kind := range map[string]object{
		"secrets":         {"stringData": object{"password": "x"}},
		"serviceaccounts": {},
		"configmaps":      {"data": object{"key": "x"}},
	} {
		path := v.in(resource, name)
		v.edit.Must(t, http.MethodPost, v.in(resource), named(name, kind))
		v.edit.Must(t, http.MethodPatch, path,
			object{"metadata": object{"labels": object{"a": "b"},
				"finalizers": []any{"example.com/x"}}})
		v.edit.Must(t, http.MethodDelete, path, nil)
		v.edit.Must(t, http.MethodPatch, path,
			object{"metadata": object{"finalizers": nil}})
		v.edit.Must(t, http.MethodDelete, v.in(resource)+"?labelSelector=a%3Db", nil)
	}
	v.edit.Must(t, http.MethodDelete, v.in("secrets", "legacy"), nil)
	lab.Administrator().Must(t, http.MethodPost, v.in("secrets"), legacySecret("legacy",
		"runner"))
	for _, resource := range []string{"roles", "rolebindings"} {
		v.boss.Must(t, http.MethodPatch, v.in(resource, "requests-tokens-runner"),
			object{"metadata": object{"labels": object{"a": "b"}}})
	}
}

// checkOthersMint has an account that nobody set up, and a kubelet, which requests tokens for the
// accounts of its pods.
func (v victims) checkOthersMint(t *testing.T) {
	admin := lab.Administrator()
	runner := lab.Holder(admin.Token(t, v.namespace, "runner", lab.TokenRequest(3600, "")))
	runner.Token(t, v.namespace, "default", lab.TokenRequest(year, "", "sts.amazonaws.com"))
	node := "n-" + v.namespace
	kubelet := lab.CertificateHolder(t, "system:node:"+node, "system:nodes")
	admin.Must(t, http.MethodPost, v.in("rolebindings"), named("kubelet", object{
		"roleRef": object{"apiGroup": "rbac.authorization.k8s.io", "kind": "Role",
			"name": "requests-tokens-runner"},
		"subjects": []any{object{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io",
			"name": "system:nodes"}}}))
	pod := v.edit.Must(t, http.MethodPost, v.in("pods"), named("web", object{"spec": object{
		"serviceAccountName": "ci", "containers": []any{object{"name": "web",
			"image": "web"}}}}))
	request := lab.TokenRequest(3607, "web", "vault")
	request["spec"].(object)["boundObjectRef"] = object{"apiVersion": "v1", "kind": "Pod",
		"name": "web",
		"uid":  pod["metadata"].(object)["uid"]}
	lab.Eventually(t, "RBAC knows the kubelet", func() bool {
		a := kubelet.Ask(t, http.MethodPost, v.tokenOf("ci"), request)
		if a.Message != "" && a.Code != http.StatusForbidden || isDenied(a) {
			t.Fatalf("%d %s", a.Code, a.Message)
		}
		return a.Message == ""
	})
}

func (v victims) checkAdministrator(t *testing.T) {
	admin := lab.Administrator()
	admin.Token(t, v.namespace, "ci", lab.TokenRequest(year, "", "vault"))
	admin.Token(t, v.namespace, v.deviceA, lab.TokenRequest(year, ""))
	admin.Must(t, http.MethodPost, v.in("secrets"), legacySecret("of-an-administrator", "ci"))
	for _, resource := range []string{"secrets", "serviceaccounts", "roles", "rolebindings"} {
		admin.Must(t, http.MethodPatch, v.in(resource, v.deviceA),
			object{"metadata": object{"labels": object{"team": "x"}}})
	}
}

// checkSuccessor revokes a device, and then another account takes its name.
func (v victims) checkSuccessor(t *testing.T) {
	m := newMachine(t, v.namespace, "leaver", "--cluster-role", "view")
	gone := m.device()
	m.revoke(gone)
	m.checkGone(gone)
	for _, resource := range []string{"secrets", "serviceaccounts"} {
		attack{"", v.edit, http.MethodPost, v.in(resource), named(gone, nil),
			changesDevice}.checkDenied(t)
	}
}
