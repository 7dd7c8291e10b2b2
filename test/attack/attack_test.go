//go:build linux

package attack_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// What the policy says when it denies.
const (
	notItsAccount = "a device requests tokens for its own account and for itself only"
	impersonated  = "a device cannot be impersonated"
	notBound      = "the token is not bound to the device's own Secret"
	tooLong       = "the lifetime asked for exceeds what setup allowed"
	otherAudience = "setup did not allow this audience"
	ownTokens     = "an account that sa-exec-credential manages requests no tokens in its " +
		"own namespace"
	longLived     = "an account that sa-exec-credential manages creates no long-lived tokens"
	changesDevice = "only an administrator changes devices"
)

// victims are what the thieves have stolen from. All of it is in one namespace.
type victims struct {
	namespace, elsewhere string
	editToken            string
	edit, boss           lab.Person // the hour's tokens of accounts with edit and admin
	// the bootstrap credentials of two machines of an account with view
	first, second    lab.Person
	teller           lab.Person // that of a machine whose tokens are for others, too
	device           string     // of the account with edit
	deviceA, deviceB string     // of the two machines
	tellerDevice     string
}

// TestWhatAThiefTriesIsDenied has each attack denied by the policy, and each of the policy's
// validations needed for that: some attack is denied by it alone.
func TestWhatAThiefTriesIsDenied(t *testing.T) {
	t.Parallel()
	v := newVictims(t)
	v.watch(t)
	alone := map[string]bool{}
	for _, a := range v.attacks() {
		t.Run(a.name, func(t *testing.T) {
			if failed := a.checkDenied(t); len(failed) == 1 {
				alone[failed[0]] = true
			}
		})
	}
	spec := lab.Administrator().Must(t, http.MethodGet, policy, nil)["spec"].(object)
	for _, validation := range spec["validations"].([]any) {
		if message := validation.(object)["message"].(string); !alone[message] {
			t.Errorf("nothing is denied by this alone: %s", message)
		}
	}
	t.Run("by RBAC", v.checkRBAC)
	t.Run("but not what is everybody's right", v.checkAllowed)
	t.Run("nor by a successor of a device that is gone", v.checkSuccessor)
}

func newVictims(t *testing.T) victims {
	t.Helper()
	v := victims{namespace: lab.Namespace(), elsewhere: lab.Namespace()}
	owner := newMachine(t, v.namespace, "ci", "--cluster-role", "edit")
	boss := newMachine(t, v.namespace, "boss", "--cluster-role", "admin")
	first := newMachine(t, v.namespace, "viewer", "--cluster-role", "view")
	second := newMachine(t, v.namespace, "viewer", "--cluster-role", "view")
	teller := newMachine(t, v.namespace, "teller", "--cluster-role", "view",
		"--audience", apiAudience, "--audience", "vault", "--audience", "sts")
	v.editToken, v.device, v.tellerDevice = owner.token(), owner.device(), teller.device()
	v.deviceA, v.deviceB = first.device(), second.device()
	v.edit, v.boss = lab.Holder(v.editToken), lab.Holder(boss.token())
	v.first, v.second, v.teller = lab.Holder(first.bootstrap()), lab.Holder(second.bootstrap()),
		lab.Holder(teller.bootstrap())
	v.prepare(t)
	return v
}

// in is the path of what is in the victims' namespace.
func (v victims) in(resource string, names ...string) string {
	return lab.In(v.namespace, resource, names...)
}

func (v victims) tokenOf(account string) string { return lab.TokenOf(v.namespace, account) }

// prepare creates what is there beside the victims. The first machine's device gets more rights
// than it should have: what the policy says then, it says in RBAC's place.
func (v victims) prepare(t *testing.T) {
	t.Helper()
	admin := lab.Administrator()
	admin.Must(t, http.MethodPost, "/api/v1/namespaces", named(v.elsewhere, nil))
	for _, name := range []string{"mine", "other"} {
		admin.Must(t, http.MethodPost, v.in("secrets"), named(name, nil))
	}
	admin.Must(t, http.MethodPost, v.in("serviceaccounts"), named("runner", nil))
	admin.Must(t, http.MethodPost, v.in("secrets"), legacySecret("legacy", "runner"))
	for _, namespace := range []string{v.namespace, v.elsewhere} {
		v.letRequestTokens(t, namespace, v.deviceA)
		v.letRequestTokens(t, namespace, "runner")
		lab.Eventually(t, "the account default is there", func() bool {
			return admin.Ask(t, http.MethodGet, lab.In(namespace, "serviceaccounts",
				"default"), nil).Code == http.StatusOK
		})
	}
}

func (v victims) letRequestTokens(t *testing.T, namespace, account string) {
	t.Helper()
	name := "requests-tokens-" + account
	lab.Administrator().Must(t, http.MethodPost, lab.In(namespace, "roles"), named(name,
		object{"rules": []any{object{
			"apiGroups": []any{""}, "resources": []any{"serviceaccounts/token"},
			"verbs": []any{"create"}}}}))
	lab.Administrator().Must(t, http.MethodPost, lab.In(namespace, "rolebindings"), named(name,
		object{
			"roleRef": object{"apiGroup": "rbac.authorization.k8s.io", "kind": "Role",
				"name": name},
			"subjects": []any{object{"kind": "ServiceAccount", "namespace": v.namespace,
				"name": account}}}))
}

// watch binds the policy a second time, to the victims' namespaces, so that all validations that
// fail are told as warnings: a denial tells the first.
func (v victims) watch(t *testing.T) {
	t.Helper()
	const bindings = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicybindings"
	lab.Administrator().Must(t, http.MethodPost, bindings, named(v.namespace,
		object{"spec": object{
			"policyName": "sa-exec-credential",
			"paramRef": object{"namespace": "sa-exec-credential", "name": "limits",
				"parameterNotFoundAction": "Allow"},
			"validationActions": []any{"Warn"},
			"matchResources": object{"namespaceSelector": object{"matchExpressions": []any{object{
				"key": "kubernetes.io/metadata.name", "operator": "In",
				"values": []any{v.namespace, v.elsewhere}}}}},
		}}))
	t.Cleanup(func() {
		lab.AsAdmin(t, "", "delete", "validatingadmissionpolicybinding",
			v.namespace).Succeeds()
	})
	lab.Eventually(t, "the second binding counts", func() bool {
		a := v.edit.Ask(t, http.MethodPost, v.tokenOf("ci"), lab.TokenRequest(600, ""))
		return len(a.Warnings) > 0
	})
}

// attack is a request of a thief, and what it is denied with.
type attack struct {
	name    string
	thief   lab.Person
	method  string
	path    string
	body    any
	message string
}

func (v victims) attacks() []attack {
	return slices.Concat(v.tokensOfEdit(), v.impersonations(), v.changes(), v.decoys(),
		v.ofOneMachine(), v.audiences(),
		v.withMoreRights())
}

// checkDenied returns what the validations that failed say.
func (a attack) checkDenied(t *testing.T) (failed []string) {
	t.Helper()
	got := a.thief.Ask(t, a.method, a.path, a.body)
	if !isDenied(got) || !strings.HasSuffix(got.Message, "denied request: "+a.message) {
		t.Errorf("%s %s: got %d %q, want it denied with %q", a.method, a.path, got.Code,
			got.Message, a.message)
	}
	for _, warning := range got.Warnings {
		_, message, found := strings.Cut(warning, "': ")
		if !found {
			t.Errorf("a warning of something else: %q", warning)
		}
		failed = append(failed, message)
	}
	if !slices.Contains(failed, a.message) {
		t.Errorf("%q is not among what failed: %q", a.message, failed)
	}
	return failed
}

func isDenied(a lab.Answer) bool {
	return a.Code == http.StatusForbidden && strings.Contains(a.Message,
		"ValidatingAdmissionPolicy 'sa-exec-credential'")
}

const (
	month = 30 * 24 * 3600
	year  = 365 * 24 * 3600
)

func (v victims) tokensOfEdit() []attack {
	request := func(name, account string) attack {
		return attack{name, v.edit, http.MethodPost, v.tokenOf(account), lab.TokenRequest(year,
			""), ownTokens}
	}
	return []attack{
		request("a year's token for itself", "ci"),
		request("a year's token for default", "default"),
		request("a year's token for its device", v.device),
		request("a year's token for another machine's device", v.deviceA),
		{"a Secret with a token for ever", v.edit, http.MethodPost, v.in("secrets"),
			legacySecret("for-ever", "ci"), longLived},
		{"another's Secret with a token", v.edit, http.MethodPatch, v.in("secrets",
			"legacy"), legacySecret("legacy", "ci"), longLived},
		{"a new token in another's Secret", v.edit, http.MethodPatch, v.in("secrets",
			"legacy"),
			object{"data": object{"token": nil}}, longLived},
	}
}

// as is the account with edit, acting as another of its namespace.
func (v victims) as(account string, extra map[string][]string) lab.Person {
	return lab.Impersonator(v.editToken, rest.ImpersonationConfig{
		UserName: "system:serviceaccount:" + v.namespace + ":" + account, Extra: extra})
}

func (v victims) impersonations() []attack {
	request := func(name, account, bound string) attack {
		return attack{name, v.as(v.device, nil), http.MethodPost, v.tokenOf(account),
			lab.TokenRequest(600, bound), impersonated}
	}
	asItself := request("a token as itself, once more", "ci", v.device)
	asItself.thief, asItself.message = v.as("ci", nil), ownTokens
	return []attack{
		request("a token for the account as the device", "ci", v.device),
		request("a bootstrap token as the device", v.device, v.device),
		request("a bootstrap token as the device on a Secret of its own", v.device, "mine"),
		asItself,
	}
}

// changes are of accounts with edit, which is allowed to change Secrets and ServiceAccounts, and
// with admin, which is allowed to change Roles and RoleBindings, too.
func (v victims) changes() []attack {
	var all []attack
	for _, thief := range []struct {
		name      string
		person    lab.Person
		resources []string
	}{
		{"edit", v.edit, []string{"secrets", "serviceaccounts"}},
		{"admin", v.boss, []string{"secrets", "serviceaccounts", "roles", "rolebindings"}},
	} {
		for _, resource := range thief.resources {
			path := v.in(resource, v.device)
			change := func(name, method, path string, body any) {
				all = append(all, attack{fmt.Sprintf("%s of a device, with %s: %s",
					resource, thief.name, name), thief.person,
					method, path, body, changesDevice})
			}
			metadata := func(name, field string, value any) {
				change(name, http.MethodPatch, path, object{"metadata": object{field: value}})
			}
			metadata("a label removed", "labels", object{"sa-exec-credential/account": nil})
			metadata("all labels removed", "labels", nil)
			metadata("an annotation", "annotations",
				object{"sa-exec-credential/host": "another"})
			metadata("a finalizer", "finalizers", []any{"example.com/never"})
			metadata("an owner", "ownerReferences", []any{object{"apiVersion": "v1",
				"kind": "ConfigMap", "name": "x", "uid": "00000000-0000-0000-0000-000000000000"}})
			change("deleted", http.MethodDelete, path, nil)
			change("another machine's deleted", http.MethodDelete, v.in(resource,
				v.deviceB), nil)
			change("all deleted", http.MethodDelete,
				v.in(resource)+"?labelSelector=app.kubernetes.io/component%3Ddevice", nil)
			if contents := contentsOf(resource); contents != nil {
				change("other contents", http.MethodPatch, path, contents)
			}
		}
	}
	return all
}

// contentsOf are what else could be changed; a device's Secret is immutable.
func contentsOf(resource string) object {
	return map[string]object{
		"serviceaccounts": {"secrets": []any{object{"name": "legacy"}}},
		"roles":           {"rules": []any{}},
		"rolebindings":    {"subjects": []any{}},
	}[resource]
}

// decoys take the names of devices to come, or what could be one's.
func (v victims) decoys() []attack {
	var all []attack
	for _, resource := range []string{"secrets", "serviceaccounts", "roles", "rolebindings"} {
		thief := v.edit
		var more object
		switch resource {
		case "roles":
			thief = v.boss
		case "rolebindings":
			thief, more = v.boss, object{"roleRef": object{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "view"}}
		}
		for whose, name := range map[string]string{
			"a device to come":                 "ci-device-laptop-0123456789abcdef",
			"another account's device":         "other-device-laptop-0123456789abcdef",
			"the device of a nameless host":    "ci-device-0123456789abcdef",
			"an account named like a device's": "ci-device-x-device-laptop-0123456789abcdef",
		} {
			all = append(all, attack{resource + " with the name of " + whose, thief,
				http.MethodPost, v.in(resource),
				named(name, more), changesDevice})
		}
	}
	return all
}

// requestOf is a token request of the first machine's device.
func (v victims) requestOf(name, namespace, account string, request object, message string) attack {
	return attack{name, v.first, http.MethodPost, lab.TokenOf(namespace, account), request, message}
}

func (v victims) ofOneMachine() []attack {
	bound := func(kind, name string) object {
		request := lab.TokenRequest(600, name)
		request["spec"].(object)["boundObjectRef"].(object)["kind"] = kind
		return request
	}
	request := func(name, account string, request object, message string) attack {
		return v.requestOf(name, v.namespace, account, request, message)
	}
	return []attack{
		request("a token bound to another machine's Secret", "viewer", lab.TokenRequest(600,
			v.deviceB), notBound),
		request("a token bound to any Secret", "viewer", lab.TokenRequest(600, "other"),
			notBound),
		request("a token bound to a pod", "viewer", bound("Pod", v.deviceA), notBound),
		request("an unbound token", "viewer", lab.TokenRequest(600, ""), notBound),
		request("an unbound bootstrap token", v.deviceA, lab.TokenRequest(600, ""), notBound),
		request("a bootstrap token bound to another machine's Secret", v.deviceA,
			lab.TokenRequest(600, v.deviceB), notBound),
		request("a token that is a second too long", "viewer", lab.TokenRequest(3601,
			v.deviceA), tooLong),
		request("a bootstrap token that is a second too long", v.deviceA,
			lab.TokenRequest(month+1, v.deviceA), tooLong),
		request("a token for a cloud", "viewer", lab.TokenRequest(600, v.deviceA,
			"sts.amazonaws.com"), otherAudience),
		request("a token for a cloud and the API server", "viewer",
			lab.TokenRequest(600, v.deviceA, apiAudience, "sts.amazonaws.com"),
			otherAudience),
		request("a bootstrap token for a cloud", v.deviceA, lab.TokenRequest(600, v.deviceA,
			"sts.amazonaws.com"), otherAudience),
	}
}

// audiences are those that lists of allowed ones could be mistaken for.
func (v victims) audiences() []attack {
	var all []attack
	for _, audience := range []string{"", " ", ",", "vault,sts", "vault sts", apiAudience +
		",vault", apiAudience + " vault",
		"vault,", " vault", "Vault", "audiences=vault"} {
		request := v.requestOf(fmt.Sprintf("a token for the audience %q", audience),
			v.namespace, "teller",
			lab.TokenRequest(600, v.tellerDevice, audience), otherAudience)
		request.thief = v.teller
		all = append(all, request)
	}
	for _, audience := range []string{"", " ", apiAudience + " "} {
		all = append(all, v.requestOf(fmt.Sprintf("a token for the audience %q where "+
			"none was named", audience), v.namespace,
			"viewer", lab.TokenRequest(600, v.deviceA, audience), otherAudience))
	}
	own := v.requestOf("a bootstrap token for an audience of the account's", v.namespace,
		v.tellerDevice,
		lab.TokenRequest(600, v.tellerDevice, "vault"), otherAudience)
	own.thief = v.teller
	return append(all, own)
}

func (v victims) withMoreRights() []attack {
	return []attack{
		v.requestOf("a token for another account", v.namespace, "ci", lab.TokenRequest(600,
			v.deviceA), notItsAccount),
		v.requestOf("a token for default", v.namespace, "default", lab.TokenRequest(600,
			v.deviceA), notItsAccount),
		v.requestOf("a token for another machine's device", v.namespace, v.deviceB,
			lab.TokenRequest(600, v.deviceA), notItsAccount),
		v.requestOf("a token in another namespace", v.elsewhere, "default",
			lab.TokenRequest(600, v.deviceA), notItsAccount),
	}
}

// checkRBAC are requests that the policy need not deny.
func (v victims) checkRBAC(t *testing.T) {
	forbidden := func(who lab.Person, method, path string, body any, says string) {
		t.Helper()
		if got := who.Ask(t, method, path, body); got.Code != http.StatusForbidden ||
			!strings.Contains(got.Message, says) {
			t.Errorf("%s %s: %d %q, want it forbidden with %q", method, path, got.Code,
				got.Message, says)
		}
	}
	for _, account := range []string{"ci", "default", v.deviceA} {
		forbidden(v.second, http.MethodPost, v.tokenOf(account), lab.TokenRequest(600,
			v.deviceB), "cannot create resource")
	}
	for _, resource := range []string{"secrets", "serviceaccounts", "roles", "rolebindings"} {
		path := v.in(resource, v.deviceB)
		forbidden(v.second, http.MethodDelete, path, nil, "cannot delete resource")
		forbidden(v.second, http.MethodPatch, path,
			object{"metadata": object{"labels": nil}}, "cannot patch resource")
	}
	for _, resource := range []string{"roles", "rolebindings"} {
		path := v.in(resource, v.device)
		forbidden(v.edit, http.MethodDelete, path, nil, "cannot delete resource")
		forbidden(v.edit, http.MethodPatch, path, object{"metadata": object{"labels": nil}},
			"cannot patch resource")
		forbidden(v.edit, http.MethodPost, v.in(resource),
			named("ci-device-laptop-0123456789abcdef", nil), "cannot create resource")
	}
	forbidden(v.edit, http.MethodGet, limits, nil, "cannot get resource")
	// What tells a genuine request of a device from an impersonated one.
	genuine := v.as(v.device, map[string][]string{"authentication.kubernetes.io/credential-id": {"JTI=x"}})
	forbidden(genuine, http.MethodPost, v.tokenOf("ci"), lab.TokenRequest(600, v.device),
		"cannot impersonate resource")
}
