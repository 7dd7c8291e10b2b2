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
	code, answer := lab.Ask(t, token, http.MethodPost,
		"/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", map[string]any{
			"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview",
			"spec": map[string]any{"namespace": namespace}})
	if err := json.Unmarshal(answer, &review); err != nil || code != http.StatusCreated {
		t.Fatalf("asking about %s: %d %v", namespace, code, err)
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
	if code, _ := lab.Ask(t, bootstrap, http.MethodPost,
		"/api/v1/namespaces/"+namespace+"/pods",
		map[string]any{}); code != http.StatusForbidden {
		t.Errorf("making a pod is answered with %d", code)
	}
	device := map[string]any{"apiVersion": "v1", "kind": "Secret", "name": p.Device.Name,
		"uid": p.Device.SecretUID}
	for _, c := range []struct {
		name, account string
		seconds       int
		bound         any
		code          int
	}{
		{"the longest token", "ci", 1200, device, http.StatusCreated},
		{"a longer token", "ci", 1201, device, http.StatusForbidden},
		{"an unbound token", "ci", 600, nil, http.StatusForbidden},
		{"the longest bootstrap token", p.Device.Name, 7200, device, http.StatusCreated},
		{"a longer bootstrap token", p.Device.Name, 7201, device, http.StatusForbidden},
		{"an unbound bootstrap token", p.Device.Name, 600, nil, http.StatusForbidden},
		{"a token of another account", "default", 600, device, http.StatusForbidden},
	} {
		if code := m.mintStatus(bootstrap, namespace, c.account, c.seconds,
			c.bound); code != c.code {
			t.Errorf("%s is answered with %d, want %d", c.name, code, c.code)
		}
	}
}

// mintStatus makes a TokenRequest and throws the token away.
func (m *machine) mintStatus(token, namespace, account string, seconds int, bound any) int {
	m.Helper()
	spec := map[string]any{"expirationSeconds": seconds}
	if bound != nil {
		spec["boundObjectRef"] = bound
	}
	code, _ := lab.Ask(m.T, token, http.MethodPost,
		"/api/v1/namespaces/"+namespace+"/serviceaccounts/"+account+"/token",
		map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
			"spec": spec})
	return code
}
