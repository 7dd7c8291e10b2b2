//go:build linux

package minters_test

import (
	"net/http"
	"strings"
	"testing"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// TestAPersonsSingleSignOnNeedsNoAdministratorsRights has somebody with no right at all mint as a
// device, with a context that says nothing but who he is.
func TestAPersonsSingleSignOnNeedsNoAdministratorsRights(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.AddUser("alice")
	r := m.mintsWith("context=alice@test").Succeeds()
	device := m.device()
	lab.Has(t, "the proof", r.Stdout, `context "alice@test", acting as `+m.identity(device))
	m.Kubectl("get", "pods").Succeeds()
	m.checkMinted("alice", m.identity(device))
	lab.Has(t, "devices", m.Plugin("devices", lab.Account, "-n", m.Namespace, "--kubeconfig",
		m.Admin, "--context", "admin@test").Stdout, "MINTERS", `user "alice"`)
	lab.Has(t, "status", m.Plugin("status", "-o", "json").Stdout,
		`"actsAs": "`+m.identity(device)+`"`)
	report := m.Plugin("doctor").Succeeds().Stdout
	lab.Has(t, "doctor", report, "accepted as alice, from context=alice@test, acts as "+
		m.identity(device), "gets no token of more than 1h", "Nothing is wrong")
	if again := m.mintsWith("context=alice@test").Succeeds(); strings.Contains(again.Stderr,
		"created") || m.device() != device {
		t.Errorf("a second setup has created something:\n%s", again.Stderr)
	}
	m.Forget()
	m.Kubectl("get", "pods").Succeeds()
	m.Plugin("revoke", "--profile", m.Profile, "--kubeconfig", m.Admin, "--context",
		"admin@test").Succeeds()
	m.Plugin("uninstall", lab.Account, "-n", m.Namespace, "--kubeconfig", m.Admin, "--context",
		"admin@test").Succeeds()
	m.checkNothingLeft()
}

// TestWhatAMinterTriesBeyondItsOneThingIsDenied: the policy or RBAC, each in its own words.
func TestWhatAMinterTriesBeyondItsOneThingIsDenied(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.AddUser("mallory")
	m.AddUser("bob")
	m.mintsWith("context=mallory@test").Succeeds()
	own := m.device()
	other := newMachine(t)
	other.Namespace = m.Namespace
	other.mintsWith("context=bob@test", "--kubeconfig", m.Admin).Succeeds()
	others := ""
	for _, d := range m.Devices(m.Namespace) {
		if d.Name != own {
			others = d.Name
		}
	}
	thief := as(t, "mallory", m.identity(own))
	direct := lab.CertificateHolder(t, "mallory")
	ci := m.tokenOf(lab.Account)
	if a := thief.Ask(t, http.MethodPost, ci, lab.TokenRequest(3600, own)); a.Code != http.StatusCreated {
		t.Fatalf("what is allowed: %d %s", a.Code, a.Message)
	}
	const denied, forbidden = "denied request: ", "forbidden: User "
	for _, c := range []struct {
		name, says   string
		who          lab.Person
		method, path string
		body         any
	}{
		{"a second longer", denied + "the lifetime", thief, "POST", ci, lab.TokenRequest(3601, own)},
		{"bound to nothing", denied + "the token is not bound", thief, "POST", ci,
			lab.TokenRequest(600, "")},
		{"bound to another device", denied + "the token is not bound", thief, "POST", ci,
			lab.TokenRequest(600, others)},
		{"bound to its identity's name", denied + "the token is not bound", thief, "POST", ci,
			lab.TokenRequest(600, m.Namespace+"."+own)},
		{"for another audience", denied + "setup did not allow this audience", thief, "POST", ci,
			lab.TokenRequest(600, own, "sts.amazonaws.com")},
		{"for the device", forbidden, thief, "POST", m.tokenOf(own), lab.TokenRequest(600, own)},
		{"for another device", forbidden, thief, "POST", m.tokenOf(others), lab.TokenRequest(600, own)},
		{"for default", forbidden, thief, "POST", m.tokenOf("default"), lab.TokenRequest(600, own)},
		{"in the namespace of the limits", forbidden, thief, "POST",
			lab.In(limitsNamespace, "serviceaccounts", "default", "token"), lab.TokenRequest(600, own)},
		{"by itself", forbidden, direct, "POST", ci, lab.TokenRequest(600, own)},
		{"as another device's", forbidden, as(t, "mallory", m.identity(others)), "POST", ci,
			lab.TokenRequest(600, others)},
		{"as the device itself", forbidden, as(t, "mallory",
			"system:serviceaccount:"+m.Namespace+":"+own), "POST", ci, lab.TokenRequest(600, own)},
		{"as the account", forbidden, as(t, "mallory", m.Username()), "POST", ci,
			lab.TokenRequest(600, own)},
		{"pods", forbidden, thief, "GET", lab.In(m.Namespace, "pods"), nil},
		{"Secrets", forbidden, thief, "GET", lab.In(m.Namespace, "secrets"), nil},
		{"its own Secret", forbidden, thief, "GET", lab.In(m.Namespace, "secrets", own), nil},
		{"the limits", forbidden, thief, "GET", lab.In(limitsNamespace, "configmaps", "limits"), nil},
		{"changing the limits", forbidden, thief, "PATCH",
			lab.In(limitsNamespace, "configmaps", "limits"), object{"data": object{}}},
		{"an account of its identity's name", forbidden, direct, "POST",
			lab.In(limitsNamespace, "serviceaccounts"),
			object{"metadata": object{"name": m.Namespace + "." + own}}},
		{"who it is, as the device", forbidden, thief, "POST",
			"/apis/authentication.k8s.io/v1/selfsubjectreviews", object{}},
	} {
		a := c.who.Ask(t, c.method, c.path, c.body)
		if a.Code != http.StatusForbidden || !strings.Contains(a.Message, c.says) {
			t.Errorf("%s: %d %s", c.name, a.Code, a.Message)
		}
	}
	t.Run("nor with groups or extras", func(t *testing.T) { m.checkMoreThanAName(t, own) })
	t.Run("nor with more rights", func(t *testing.T) { m.checkMoreRights(t, own, others) })
}

// checkMoreRights gives minters, and whom they act as, what RBAC has kept from them: what the policy
// says then, it says in RBAC's place.
func (m *machine) checkMoreRights(t *testing.T, own, others string) {
	elsewhere := lab.Namespace()
	m.AsAdmin("create", "namespace", elsewhere)
	for _, namespace := range []string{m.Namespace, elsewhere} {
		role := object{"metadata": object{"name": "more"}, "rules": []any{object{
			"apiGroups": []any{""}, "resources": []any{"serviceaccounts/token"},
			"verbs": []any{"create", "impersonate-on:serviceaccount:create"}}}}
		binding := object{"metadata": object{"name": "more"}, "roleRef": object{
			"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "more"},
			"subjects": []any{object{"kind": "ServiceAccount", "namespace": limitsNamespace,
				"name": m.Namespace + "." + own},
				object{"apiGroup": "rbac.authorization.k8s.io", "kind": "User",
					"name": "mallory"}}}
		lab.Administrator().Must(t, http.MethodPost, lab.In(namespace, "roles"), role)
		lab.Administrator().Must(t, http.MethodPost, lab.In(namespace, "rolebindings"), binding)
	}
	thief := as(t, "mallory", m.identity(own))
	const notItsAccount = "denied request: a device requests tokens for its own account"
	for _, path := range []string{m.tokenOf(own), m.tokenOf(others), m.tokenOf("default"),
		lab.TokenOf(elsewhere, "default")} {
		var a lab.Answer
		lab.Eventually(t, "the role counts for "+path, func() bool {
			a = thief.Ask(t, http.MethodPost, path, lab.TokenRequest(600, own))
			return !strings.Contains(a.Message, "forbidden: User ")
		})
		if a.Code != http.StatusForbidden || !strings.Contains(a.Message, notItsAccount) {
			t.Errorf("%s: %d %s", path, a.Code, a.Message)
		}
	}
}

// checkMoreThanAName adds to whom somebody acts as.
func (m *machine) checkMoreThanAName(t *testing.T, device string) {
	config, err := clientcmd.BuildConfigFromFlags("", lab.User(t, "mallory"))
	if err != nil {
		t.Fatal(err)
	}
	for name, more := range map[string]rest.ImpersonationConfig{
		"a group":         {Groups: []string{"system:masters"}},
		"a credential id": {Extra: map[string][]string{"authentication.kubernetes.io/credential-id": {"JTI=x"}}},
		"a uid":           {UID: "1"},
	} {
		more.UserName = m.identity(device)
		config.Impersonate = more
		a := lab.With(t, config).Ask(t, http.MethodPost, m.tokenOf(lab.Account),
			lab.TokenRequest(600, device))
		if a.Code != http.StatusForbidden {
			t.Errorf("with %s: %d %s", name, a.Code, a.Message)
		}
	}
}

// TestAnAccountWithEditGainsNothingByMinters: a thief of its token can impersonate all accounts of
// its own namespace.
func TestAnAccountWithEditGainsNothingByMinters(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.AddUser("carol")
	m.mintsWith("context=carol@test", "--cluster-role", "edit").Succeeds()
	device := m.device()
	token := strings.TrimSpace(m.Plugin("token", "--profile", m.Profile).Succeeds().Stdout)
	ci := m.tokenOf(lab.Account)
	for _, whom := range []string{m.identity(device),
		"system:serviceaccount:" + m.Namespace + ":" + device, m.Username(), "carol"} {
		a := lab.Impersonator(token, rest.ImpersonationConfig{UserName: whom}).Ask(t,
			http.MethodPost, ci, lab.TokenRequest(600, device))
		if a.Code != http.StatusForbidden {
			t.Errorf("as %s: %d %s", whom, a.Code, a.Message)
		}
	}
	thief := lab.Holder(token)
	for name, c := range map[string]struct {
		method, path string
		body         any
	}{
		"by itself":                    {"POST", ci, lab.TokenRequest(600, device)},
		"a token of the device":        {"POST", m.tokenOf(device), lab.TokenRequest(600, device)},
		"the device's Secret deleted":  {"DELETE", lab.In(m.Namespace, "secrets", device), nil},
		"a finalizer on it":            {"PATCH", lab.In(m.Namespace, "secrets", device), object{"metadata": object{"finalizers": []any{"example.com/x"}}}},
		"an identity of the same name": {"POST", lab.In(limitsNamespace, "serviceaccounts"), object{"metadata": object{"name": m.Namespace + "." + device}}},
	} {
		if a := thief.Ask(t, c.method, c.path, c.body); a.Code != http.StatusForbidden {
			t.Errorf("%s: %d %s", name, a.Code, a.Message)
		}
	}
}
