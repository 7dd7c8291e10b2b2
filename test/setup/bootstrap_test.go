//go:build linux

package setup_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/discovery"

	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// everybodys is what the roles system:basic-user and system:discovery, and Kubernetes itself,
// give to all who are authenticated: to ask about oneself. Everything else that the bootstrap
// credential may do counts.
var everybodys = []string{
	"create selfsubjectaccessreviews.authorization.k8s.io",
	"create selfsubjectrulesreviews.authorization.k8s.io",
	"create selfsubjectreviews.authentication.k8s.io",
	// of every service account, since Kubernetes 1.37
	"get clustertrustbundles.certificates.k8s.io",
	"list clustertrustbundles.certificates.k8s.io",
	"watch clustertrustbundles.certificates.k8s.io",
}

var verbs = []string{"get", "list", "watch", "create", "update", "patch", "delete",
	"deletecollection", "proxy", "connect",
	"use", "bind", "escalate", "impersonate", "approve", "sign", "attest", "*"}

// TestTheBootstrapCredentialInTheKeyringCanDoTwoThings takes the credential that setup has stored
// and asks with it about every resource and verb of the cluster, in its namespace, in another and
// in none.
func TestTheBootstrapCredentialInTheKeyringCanDoTwoThings(t *testing.T) {
	t.Parallel()
	m, namespace := newMachine(t), lab.Namespace()
	p := m.Ready(namespace, "it")
	_, token := m.Tokens(p)
	questions := m.questions(namespace, p.Device.Name)
	if len(questions) < 5000 {
		t.Fatalf("there are only %d questions", len(questions))
	}
	var allowed []string
	var mu sync.Mutex
	inTurns(questions, func(q question) {
		if q.allowed(t, token) && !slices.Contains(everybodys,
			q.verb+" "+q.resource+"."+q.group) {
			mu.Lock()
			defer mu.Unlock()
			allowed = append(allowed, fmt.Sprintf("%s %s/%s %s/%s", q.verb, q.resource,
				q.subresource, q.namespace, q.name))
		}
	})
	slices.Sort(allowed)
	want := []string{"create serviceaccounts/token " + namespace + "/ci",
		"create serviceaccounts/token " + namespace + "/" + p.Device.Name}
	if got := slices.Compact(allowed); !slices.Equal(got, want) {
		t.Errorf("it may %q, want %q", got, want)
	}
}

type question struct{ verb, group, resource, subresource, namespace, name string }

func (m *machine) questions(namespace, device string) (questions []question) {
	m.Helper()
	client, err := discovery.NewDiscoveryClientForConfig(lab.Config())
	if err != nil {
		m.Fatal(err)
	}
	_, lists, err := client.ServerGroupsAndResources()
	if err != nil {
		m.Fatal(err)
	}
	names := map[string]bool{" * ": true, " users ": true, " groups ": true}
	for _, list := range lists {
		group, _, grouped := strings.Cut(list.GroupVersion, "/")
		if !grouped {
			group = ""
		}
		for _, r := range list.APIResources {
			main, sub, _ := strings.Cut(r.Name, "/")
			names[group+" "+main+" "+sub] = true
		}
	}
	places := [][2]string{{"", ""}, {"kube-system", ""}, {namespace, ""}, {namespace, "ci"},
		{namespace, device}, {namespace, "default"}}
	for name := range names {
		part := strings.Split(name, " ")
		for _, verb := range verbs {
			for _, place := range places {
				questions = append(questions, question{verb, part[0], part[1],
					part[2], place[0], place[1]})
			}
		}
	}
	return questions
}

// inTurns asks a few at a time.
func inTurns(questions []question, ask func(question)) {
	var wait sync.WaitGroup
	next := make(chan question)
	for range 8 {
		wait.Go(func() {
			for q := range next {
				ask(q)
			}
		})
	}
	for _, q := range questions {
		next <- q
	}
	close(next)
	wait.Wait()
}

// allowed asks about itself, with the credential.
func (q question) allowed(t *testing.T, token string) bool {
	var review struct{ Status struct{ Allowed bool } }
	code, answer := lab.Ask(t, token, http.MethodPost,
		"/apis/authorization.k8s.io/v1/selfsubjectaccessreviews", map[string]any{
			"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview",
			"spec": map[string]any{
				"resourceAttributes": map[string]any{"verb": q.verb,
					"group":       q.group,
					"resource":    q.resource,
					"subresource": q.subresource, "namespace": q.namespace,
					"name": q.name}}})
	if err := json.Unmarshal(answer, &review); err != nil || code != http.StatusCreated {
		t.Errorf("asking about %v: %d %v", q, code, err)
	}
	return review.Status.Allowed
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
