//go:build linux

package attack_test

import (
	"net/http"
)

// checkAllowed are requests that look like an attack, and are none.
func (v victims) checkAllowed(p plane) {
	p.each("a device mints and renews", func(p plane) { v.checkDeviceMints(p) })
	p.each("an account with edit keeps its other rights", func(p plane) { v.checkEditWorks(p) })
	p.each("others request tokens as before", func(p plane) { v.checkOthersMint(p) })
	p.each("an administrator does what he likes", func(p plane) { v.checkAdministrator(p) })
}

func (v victims) checkDeviceMints(p plane) {
	for account, requests := range map[string][]object{
		"viewer":  {tokenRequest(3600, v.deviceA), tokenRequest(600, v.deviceA), tokenRequest(600, v.deviceA, apiAudience)},
		v.deviceA: {tokenRequest(720*3600, v.deviceA), tokenRequest(600, v.deviceA, apiAudience)},
	} {
		for _, request := range requests {
			p.accepted("a token", p.tokenOf(v.first, "build", account, request))
		}
	}
}

func (v victims) checkEditWorks(p plane) {
	for resource, kind := range map[string]object{
		"secrets":         {"stringData": object{"password": "x"}},
		"serviceaccounts": {},
		"configmaps":      {"data": object{"key": "x"}},
	} {
		path := core("build", resource, "ordinary-device")
		p.allowed(v.edit, http.MethodPost, core("build", resource), named("ordinary-device", kind))
		p.allowed(v.edit, http.MethodPatch, path, object{"metadata": object{"labels": object{"a": "b"},
			"finalizers": []any{"example.com/x"}}})
		p.allowed(v.edit, http.MethodDelete, path, nil)
		p.allowed(v.edit, http.MethodPatch, path, object{"metadata": object{"finalizers": nil}})
		p.allowed(v.edit, http.MethodDelete, core("build", resource)+"?labelSelector=a%3Db", nil)
	}
	p.allowed(v.edit, http.MethodDelete, core("build", "secrets", "legacy"), nil)
	p.allowed(p.admin, http.MethodPost, core("build", "secrets"), legacySecret("legacy", "runner"))
}

// checkOthersMint has an account that nobody set up, and a kubelet, which requests tokens for the accounts of its pods.
func (v victims) checkOthersMint(p plane) {
	runner := p.holder(p.tokenOf(p.admin, "build", "runner", tokenRequest(3600, "")))
	p.tokenOf(runner, "build", "default", tokenRequest(year, "", "sts.amazonaws.com"))
	kubelet := p.user("system:node:n1", "system:nodes")
	p.allowed(p.admin, http.MethodPost, rbac+"/clusterrolebindings", named("kubelet", object{
		"roleRef":  object{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "requests-tokens"},
		"subjects": []any{object{"kind": "Group", "apiGroup": "rbac.authorization.k8s.io", "name": "system:nodes"}}}))
	pod := p.allowed(v.edit, http.MethodPost, core("build", "pods"), named("web", object{"spec": object{
		"serviceAccountName": "ci", "containers": []any{object{"name": "web", "image": "web"}}}}))
	request := tokenRequest(3607, "web", "vault")
	request["spec"].(object)["boundObjectRef"] = object{"apiVersion": "v1", "kind": "Pod", "name": "web",
		"uid": text(pod, "metadata", "uid")}
	p.eventually("RBAC knows the kubelet", func() bool {
		a := p.ask(kubelet, http.MethodPost, core("build", "serviceaccounts", "ci", "token"), request)
		if a.message != "" && a.code != http.StatusForbidden || isPolicy(a) {
			p.Fatalf("%d %s", a.code, a.message)
		}
		return a.message == ""
	})
}

func (v victims) checkAdministrator(p plane) {
	p.tokenOf(p.admin, "build", "ci", tokenRequest(year, "", "vault"))
	p.tokenOf(p.admin, "build", v.deviceA, tokenRequest(year, ""))
	p.allowed(p.admin, http.MethodPost, core("build", "secrets"), legacySecret("of-an-administrator", "ci"))
	for _, resource := range []string{"secrets", "serviceaccounts"} {
		path := core("build", resource, v.deviceA)
		p.allowed(p.admin, http.MethodPatch, path, object{"metadata": object{"labels": object{"team": "x"}}})
	}
}

// checkDecoys revokes a device, and then another account takes its name.
func (v victims) checkDecoys(p plane) {
	m := p.machine("build", "leaver")
	gone := m.newDevice("--cluster-role", "view").Name
	m.must("revoke", "--profile", m.profile, "--kubeconfig", p.AdminKubeconfig)
	for _, resource := range []string{"secrets", "serviceaccounts"} {
		if got := p.ask(p.admin, http.MethodGet, core("build", resource, gone), nil); got.code != http.StatusNotFound {
			p.Errorf("%s of the device after a revoke: %d", resource, got.code)
		}
		p.checkDenied(attack{"", v.edit, http.MethodPost, core("build", resource), named(gone, nil), changesDevice})
	}
}
