//go:build linux

package setup_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// TestTheBootstrapCredentialInTheKeyringCanDoTwoThings takes the credential that setup has stored
// and asks with it what it can do, in every namespace. What an account can that nothing was ever
// granted to does not count.
func TestTheBootstrapCredentialInTheKeyringCanDoTwoThings(t *testing.T) {
	t.Parallel()
	m, namespace := newMachine(t), lab.Namespace()
	p := m.Ready(namespace, "it")
	_, token := m.Tokens(p)
	everybodys := m.AdminsToken("create", "token", "default", "-n", namespace)
	own := 0
	for place := range strings.FieldsSeq(m.AsAdmin("get", "namespaces", "-o",
		"jsonpath={.items[*].metadata.name}")) {
		free := rules(t, everybodys, place)
		granted := slices.DeleteFunc(rules(t, token, place),
			func(rule string) bool { return slices.Contains(free, rule) })
		var want []string
		if place == namespace {
			own++
			want = []string{mintRule("ci", p.Device.Name)}
		}
		if !slices.Equal(granted, want) {
			t.Errorf("in %s it can %q, want %q", place, granted, want)
		}
	}
	if own != 1 {
		t.Errorf("its namespace was asked about %d times", own)
	}
}

// mintRule is the rule that lets somebody create tokens of accounts.
func mintRule(accounts ...string) string {
	return fmt.Sprintf("%+v", rule{Verbs: []string{"create"}, APIGroups: []string{""},
		Resources: []string{"serviceaccounts/token"}, ResourceNames: accounts})
}

// rule is one of a SelfSubjectRulesReview.
type rule struct {
	Verbs, APIGroups, Resources, ResourceNames []string
	URLs                                       []string `json:"nonResourceURLs"`
}

// rules are all that a token can do in a namespace and in the cluster, sorted.
func rules(t *testing.T, token, namespace string) (list []string) {
	t.Helper()
	var review struct {
		Status struct{ ResourceRules, NonResourceRules []rule }
	}
	a := lab.Holder(token).Ask(t, http.MethodPost,
		"/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", map[string]any{
			"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview",
			"spec": map[string]any{"namespace": namespace}})
	if err := json.Unmarshal(a.Body, &review); err != nil || a.Code != http.StatusCreated {
		t.Fatalf("asking about %s: %d %v", namespace, a.Code, err)
	}
	for _, r := range slices.Concat(review.Status.ResourceRules,
		review.Status.NonResourceRules) {
		list = append(list, fmt.Sprintf("%+v", r))
	}
	slices.Sort(list)
	return list
}

func TestTheBootstrapCredentialIsRefusedWhateverElseItTries(t *testing.T) {
	t.Parallel()
	m, namespace := newMachine(t), lab.Namespace()
	p := m.Ready(namespace, "it", "--duration", "20m", "--bootstrap-duration", "2h")
	_, bootstrap := m.Tokens(p)
	for _, path := range []string{"/api/v1/namespaces/" + namespace + "/secrets",
		"/api/v1/namespaces/" + namespace + "/serviceaccounts/ci",
		"/api/v1/namespaces/" + namespace + "/secrets/" + p.Device.Name,
		"/api/v1/namespaces", "/metrics", "/logs/"} {
		if code := lab.Status(t, bootstrap, path); code != http.StatusForbidden {
			t.Errorf("GET %s is answered with %d", path, code)
		}
	}
	if a := lab.Holder(bootstrap).Ask(t, http.MethodPost, lab.In(namespace, "pods"),
		lab.Object{}); a.Code != http.StatusForbidden {
		t.Errorf("making a pod is answered with %d", a.Code)
	}
	for _, c := range []struct {
		name, account string
		seconds       int
		bound         string
		code          int
	}{
		{"the longest token", "ci", 1200, p.Device.Name, http.StatusCreated},
		{"a longer token", "ci", 1201, p.Device.Name, http.StatusForbidden},
		{"an unbound token", "ci", 600, "", http.StatusForbidden},
		{"the longest bootstrap token", p.Device.Name, 7200, p.Device.Name, http.StatusCreated},
		{"a longer bootstrap token", p.Device.Name, 7201, p.Device.Name, http.StatusForbidden},
		{"an unbound bootstrap token", p.Device.Name, 600, "", http.StatusForbidden},
		{"a token of another account", "default", 600, p.Device.Name, http.StatusForbidden},
	} {
		if a := lab.Holder(bootstrap).Ask(t, http.MethodPost, lab.TokenOf(namespace, c.account),
			lab.TokenRequest(c.seconds, c.bound)); a.Code != c.code {
			t.Errorf("%s is answered with %d, want %d", c.name, a.Code, c.code)
		}
	}
}
