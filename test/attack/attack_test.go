//go:build linux

package attack_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// What the policy says when it denies.
const (
	notItsAccount = "a device requests tokens for its own account and for itself only"
	impersonated  = "a device cannot be impersonated"
	notBound      = "the token is not bound to the device's own Secret"
	tooLong       = "the lifetime asked for exceeds what setup allowed"
	otherAudience = "setup did not allow this audience"
	ownTokens     = "an account that sa-exec-credential manages requests no tokens in its own namespace"
	longLived     = "an account that sa-exec-credential manages creates no long-lived tokens"
	changesDevice = "only an administrator changes devices"
)

// victims are what the thieves have stolen from. All of it is in the namespace build.
type victims struct {
	edit, boss       person // the hour's tokens of accounts with edit and admin
	first, second    person // the bootstrap credentials of two machines of an account with view
	device           string // of the account with edit
	deviceA, deviceB string // of the two machines
	owner            machine
}

func TestAttack(t *testing.T) {
	p := startPlane(t)
	v := p.victims()
	p.each("what a thief tries is denied", func(p plane) {
		for _, a := range v.attacks() {
			p.each(a.name, func(p plane) { p.checkDenied(a) })
		}
	})
	p.each("what RBAC denies", func(p plane) { v.checkRBAC(p) })
	p.each("what is everybody's right still works", func(p plane) { v.checkAllowed(p) })
	p.each("a device that is gone has no successor", func(p plane) { v.checkDecoys(p) })
	p.each("each validation is needed", func(p plane) { v.checkMutations(p) })
	p.each("another version's policy", checkVersions)
}

func (p plane) victims() victims {
	p.Helper()
	v := victims{owner: p.machine("build", "ci")}
	v.device = v.owner.newDevice("--cluster-role", "edit").Name
	v.edit = p.holder(v.owner.token())
	boss := p.machine("build", "boss")
	boss.setup("--cluster-role", "admin")
	v.boss = p.holder(boss.token())
	v.deviceA = p.machine("build", "viewer").newDevice("--cluster-role", "view").Name
	v.deviceB = p.machine("build", "viewer").newDevice("--cluster-role", "view").Name
	v.first, v.second = p.holder(p.bootstrap("build", v.deviceA)), p.holder(p.bootstrap("build", v.deviceB))
	p.prepareBuild(v)
	return v
}

// prepareBuild creates what is there beside the victims. The first machine's device gets more rights than it should
// have: what the policy says then, it says in RBAC's place.
func (p plane) prepareBuild(v victims) {
	p.Helper()
	for _, name := range []string{"mine", "other"} {
		p.allowed(p.admin, http.MethodPost, core("build", "secrets"), named(name, nil))
	}
	p.allowed(p.admin, http.MethodPost, core("build", "serviceaccounts"), named("runner", nil))
	p.allowed(p.admin, http.MethodPost, core("build", "secrets"), legacySecret("legacy", "runner"))
	p.allowed(p.admin, http.MethodPost, rbac+"/clusterroles", named("requests-tokens", object{"rules": []any{object{
		"apiGroups": []any{""}, "resources": []any{"serviceaccounts/token"}, "verbs": []any{"create"}}}}))
	for _, namespace := range []string{"build", "default"} {
		for _, account := range []string{v.deviceA, "runner"} {
			p.allowed(p.admin, http.MethodPost, rbac+"/namespaces/"+namespace+"/rolebindings", named("requests-tokens-"+account,
				object{"roleRef": object{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "requests-tokens"},
					"subjects": []any{object{"kind": "ServiceAccount", "namespace": "build", "name": account}}}))
		}
	}
	p.eventually("the account default is there", func() bool {
		return p.ask(p.admin, http.MethodGet, core("build", "serviceaccounts", "default"), nil).code == http.StatusOK &&
			p.ask(p.admin, http.MethodGet, core("default", "serviceaccounts", "default"), nil).code == http.StatusOK
	})
}

func legacySecret(name, account string) object {
	return object{"type": "kubernetes.io/service-account-token", "metadata": object{"name": name,
		"annotations": object{"kubernetes.io/service-account.name": account}}}
}

// attack is a request of a thief, and what it is denied with.
type attack struct {
	name    string
	thief   person
	method  string
	path    string
	body    any
	message string
}

func (v victims) attacks() []attack {
	return slices.Concat(v.tokensOfEdit(), v.impersonations(), v.changes(), v.ofOneMachine(), v.withMoreRights())
}

const year = 365 * 24 * 3600

func (v victims) tokensOfEdit() []attack {
	request := func(name, account string) attack {
		return attack{name, v.edit, http.MethodPost, core("build", "serviceaccounts", account, "token"),
			tokenRequest(year, ""), ownTokens}
	}
	annotated := legacySecret("legacy", "ci")
	return []attack{
		request("a year's token for itself", "ci"),
		request("a year's token for default", "default"),
		request("a year's token for its device", v.device),
		request("a year's token for another machine's device", v.deviceA),
		{"a Secret with a token for ever", v.edit, http.MethodPost, core("build", "secrets"), legacySecret("for-ever", "ci"), longLived},
		{"another's Secret with a token", v.edit, http.MethodPatch, core("build", "secrets", "legacy"), annotated, longLived},
		{"a new token in another's Secret", v.edit, http.MethodPatch, core("build", "secrets", "legacy"),
			object{"data": object{"token": nil}}, longLived},
	}
}

func (v victims) impersonations() []attack {
	asDevice := v.edit
	asDevice.as = "system:serviceaccount:build:" + v.device
	request := func(name, account, bound string) attack {
		return attack{name, asDevice, http.MethodPost, core("build", "serviceaccounts", account, "token"),
			tokenRequest(600, bound), impersonated}
	}
	asItself := request("a token as itself, once more", "ci", v.device)
	asItself.thief.as, asItself.message = "system:serviceaccount:build:ci", ownTokens
	return []attack{
		request("a token for the account as the device", "ci", v.device),
		request("a bootstrap token as the device", v.device, v.device),
		request("a bootstrap token as the device on a Secret of its own", v.device, "mine"),
		asItself,
	}
}

func (v victims) changes() []attack {
	var all []attack
	for _, resource := range []string{"secrets", "serviceaccounts"} {
		path := core("build", resource, v.device)
		metadata := func(field string, value any) any { return object{"metadata": object{field: value}} }
		change := func(name, method, path string, body any) {
			all = append(all, attack{resource + ": " + name, v.edit, method, path, body, changesDevice})
		}
		change("a label removed", http.MethodPatch, path,
			metadata("labels", object{"sa-exec-credential/account": nil}))
		change("all labels removed", http.MethodPatch, path, metadata("labels", nil))
		change("a finalizer", http.MethodPatch, path, metadata("finalizers", []any{"example.com/never"}))
		change("an owner", http.MethodPatch, path, metadata("ownerReferences", []any{object{"apiVersion": "v1",
			"kind": "ConfigMap", "name": "x", "uid": "00000000-0000-0000-0000-000000000000"}}))
		change("deleted", http.MethodDelete, path, nil)
		change("another machine's deleted", http.MethodDelete, core("build", resource, v.deviceB), nil)
		change("all deleted", http.MethodDelete, core("build", resource)+"?labelSelector=app.kubernetes.io/component%3Ddevice", nil)
		change("a decoy with the name of a device", http.MethodPost, core("build", resource),
			named("ci-device-laptop-0123456789abcdef", nil))
		change("a decoy with the name of another account's", http.MethodPost, core("build", resource),
			named("other-device-laptop-0123456789abcdef", nil))
	}
	asBoss := func(name, method, path string, body any) {
		all = append(all, attack{name, v.boss, method, rbac + "/namespaces/build/" + path, body, changesDevice})
	}
	asBoss("an administrator of the namespace changes a device's role", http.MethodPatch, "roles/"+v.device,
		object{"rules": []any{}})
	asBoss("or deletes it", http.MethodDelete, "roles/"+v.device, nil)
	asBoss("or binds it to others", http.MethodPatch, "rolebindings/"+v.device, object{"subjects": []any{}})
	asBoss("or deletes its binding", http.MethodDelete, "rolebindings/"+v.device, nil)
	return all
}

// requestOf is a token request of the first machine's device.
func (v victims) requestOf(name, namespace, account string, request object, message string) attack {
	return attack{name, v.first, http.MethodPost, core(namespace, "serviceaccounts", account, "token"), request, message}
}

func (v victims) ofOneMachine() []attack {
	bound := func(kind, name string) object {
		request := tokenRequest(600, name)
		request["spec"].(object)["boundObjectRef"].(object)["kind"] = kind
		return request
	}
	const month = 720 * 3600
	return []attack{
		v.requestOf("a token bound to another machine's Secret", "build", "viewer", tokenRequest(600, v.deviceB), notBound),
		v.requestOf("a token bound to any Secret", "build", "viewer", tokenRequest(600, "other"), notBound),
		v.requestOf("a token bound to a pod", "build", "viewer", bound("Pod", v.deviceA), notBound),
		v.requestOf("an unbound token", "build", "viewer", tokenRequest(600, ""), notBound),
		v.requestOf("an unbound bootstrap token", "build", v.deviceA, tokenRequest(600, ""), notBound),
		v.requestOf("a bootstrap token bound to another machine's Secret", "build", v.deviceA, tokenRequest(600, v.deviceB), notBound),
		v.requestOf("a token that is a second too long", "build", "viewer", tokenRequest(3601, v.deviceA), tooLong),
		v.requestOf("a bootstrap token that is a second too long", "build", v.deviceA, tokenRequest(month+1, v.deviceA), tooLong),
		v.requestOf("a token for a cloud", "build", "viewer", tokenRequest(600, v.deviceA, "sts.amazonaws.com"), otherAudience),
		v.requestOf("a token for a cloud and the API server", "build", "viewer",
			tokenRequest(600, v.deviceA, apiAudience, "sts.amazonaws.com"), otherAudience),
		v.requestOf("a bootstrap token for a cloud", "build", v.deviceA, tokenRequest(600, v.deviceA, "sts.amazonaws.com"), otherAudience),
	}
}

func (v victims) withMoreRights() []attack {
	return []attack{
		v.requestOf("a token for another account", "build", "ci", tokenRequest(600, v.deviceA), notItsAccount),
		v.requestOf("a token for default", "build", "default", tokenRequest(600, v.deviceA), notItsAccount),
		v.requestOf("a token for another machine's device", "build", v.deviceB, tokenRequest(600, v.deviceA), notItsAccount),
		v.requestOf("a token in another namespace", "default", "default", tokenRequest(600, v.deviceA), notItsAccount),
	}
}

func (p plane) checkDenied(a attack) {
	p.Helper()
	got := p.ask(a.thief, a.method, a.path, a.body)
	if !isDenied(got, a.message) {
		p.Errorf("%s %s: got %d %q, want it denied with %q", a.method, a.path, got.code, got.message, a.message)
	}
}

func isDenied(got answer, message string) bool {
	return got.code == http.StatusForbidden && strings.Contains(got.message, "ValidatingAdmissionPolicy 'sa-exec-credential'") &&
		strings.HasSuffix(got.message, "denied request: "+message)
}

// checkRBAC are requests that the policy need not deny.
func (v victims) checkRBAC(p plane) {
	for _, account := range []string{"ci", "default", v.deviceA} {
		got := p.ask(v.second, http.MethodPost, core("build", "serviceaccounts", account, "token"), tokenRequest(600, v.deviceB))
		if got.code != http.StatusForbidden || !strings.Contains(got.message, "cannot create resource") {
			p.Errorf("a token for %q: %d %q", account, got.code, got.message)
		}
	}
	if got := p.ask(v.edit, http.MethodGet, limits, nil); got.code != http.StatusForbidden {
		p.Errorf("the account reads the limits: %d", got.code)
	}
}

// checkMutations takes one validation after the other out of the policy: then each attack that it has denied gets through,
// and no other.
func (v victims) checkMutations(p plane) {
	path := policies + "/sa-exec-credential"
	policy := p.allowed(p.admin, http.MethodGet, path, nil)
	validations := policy["spec"].(object)["validations"].([]any)
	for i, validation := range validations {
		message := text(validation.(object), "message")
		p.each("without: "+message, func(p plane) {
			p.patchValidations(slices.Delete(slices.Clone(validations), i, i+1))
			count := 0
			for _, a := range v.attacks() {
				a.thief.dryRun = true
				if a.message == message {
					count++
					p.eventually(a.name+" gets through", func() bool { return !isDenied(p.ask(a.thief, a.method, a.path, a.body), message) })
				}
			}
			if count == 0 {
				p.Error("no attack is denied by it")
			}
		})
	}
	p.patchValidations(validations)
	for _, a := range v.attacks() {
		a.thief.dryRun = true
		p.eventually(a.name+" is denied again", func() bool { return isDenied(p.ask(a.thief, a.method, a.path, a.body), a.message) })
	}
}

func (p plane) patchValidations(validations []any) {
	p.Helper()
	p.allowed(p.admin, http.MethodPatch, policies+"/sa-exec-credential", object{"spec": object{"validations": validations}})
}
