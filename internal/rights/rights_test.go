package rights

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/cluster"
	"github.com/sa-exec-credential/sa-exec-credential/internal/connect"
)

// holder is somebody with rules, by the namespaces in which they count; "" is everywhere.
type holder map[string][]cluster.Rule

func rule(verbs, group, resources string, names ...string) cluster.Rule {
	return cluster.Rule{Verbs: strings.Split(verbs, ","), APIGroups: []string{group},
		Resources: strings.Split(resources, ","), ResourceNames: names}
}

func (h holder) in(namespace string) []cluster.Rule {
	return append(append([]cluster.Rule{}, h[""]...), h[namespace]...)
}

// serve answers the two reviews for the holder, and counts them.
func serve(t *testing.T, h holder) (*api.Client, *atomic.Int32) {
	t.Helper()
	var count atomic.Int32
	answer := func(w http.ResponseWriter, r *http.Request) {
		count.Add(1)
		var review struct {
			Kind string `json:"kind"`
			Spec struct {
				Namespace  string `json:"namespace"`
				Attributes struct {
					Verb, Group, Resource, Subresource, Namespace, Name string
				} `json:"resourceAttributes"`
			} `json:"spec"`
		}
		if err := json.NewDecoder(r.Body).Decode(&review); err != nil {
			t.Error(err)
		}
		w.Header().Set("Content-Type", "application/json")
		status := map[string]any{"resourceRules": h.in(review.Spec.Namespace)}
		if a := review.Spec.Attributes; review.Kind == "SelfSubjectAccessReview" {
			asked := Right{a.Verb, a.Group, a.Resource, a.Namespace, a.Name}
			if a.Subresource != "" {
				asked.Resource += "/" + a.Subresource
			}
			allowed := false
			for _, rule := range h.in(a.Namespace) {
				allowed = allowed || asked.isIn(rule)
			}
			status = map[string]any{"allowed": allowed}
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"kind": review.Kind, "status": status})
	}
	server := httptest.NewServer(http.HandlerFunc(answer))
	t.Cleanup(server.Close)
	client, err := connect.To(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return client, &count
}

func TestMissing(t *testing.T) {
	secrets := Right{"create", "", "secrets", "build", ""}
	token := Right{"create", "", "serviceaccounts/token", "build", ""}
	one := Right{"delete", "", "secrets", "build", "one"}
	two := Right{"delete", "", "secrets", "build", "two"}
	list := []Right{secrets, token, one, two, one}
	tests := []struct {
		name      string
		holder    holder
		missing   []Right
		questions int32
	}{
		{"who has everything is asked once", holder{"": {rule("*", "*", "*")}}, nil, 1},
		{"who has nothing is told all of it", holder{},
			[]Right{secrets, token, one, two}, 6},
		{"who has a whole resource is asked for no name",
			holder{"build": {rule("create,delete", "", "secrets")}}, []Right{token}, 4},
		{"a right to one object", holder{"build": {
			rule("create", "", "secrets,serviceaccounts/token"),
			rule("delete", "", "secrets", "two")}}, []Right{one}, 6},
		{"a right in another namespace does not count",
			holder{"other": {rule("create,delete", "", "*")}},
			[]Right{secrets, token, one, two}, 6},
		{"all subresources of a name", holder{"build": {
			rule("create", "", "*/token,secrets"),
			rule("delete", "", "secrets")}}, nil, 4},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client, count := serve(t, tt.holder)
			missing, err := Missing(t.Context(), client, list)
			if err != nil || fmt.Sprint(missing) != fmt.Sprint(tt.missing) {
				t.Errorf("missing %v, want %v; error %v", missing, tt.missing, err)
			}
			if count.Load() != tt.questions {
				t.Errorf("%d questions, want %d", count.Load(), tt.questions)
			}
		})
	}
}

func TestMissingWhereNothingIsTold(t *testing.T) {
	for code, want := range map[int]error{403: nil, 404: nil, 401: api.ErrUnauthorized,
		500: api.ErrServer} {
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter,
			_ *http.Request) {
			w.WriteHeader(code)
		}))
		client, err := connect.To(&rest.Config{Host: server.URL})
		if err != nil {
			t.Fatal(err)
		}
		missing, err := Missing(t.Context(), client, ForDevice("build"))
		if len(missing) != 0 || !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%d: missing %v, error %v", code, missing, err)
		}
		server.Close()
	}
}

func TestNotHeld(t *testing.T) {
	held := holder{
		"build": {rule("get,list", "", "pods"),
			rule("create", "", "serviceaccounts/token", "ci")},
		"": {rule("*", "apps", "*"), rule("get", "", "configmaps", "a", "b")},
	}
	tests := []struct {
		name, namespace string
		rule            cluster.Rule
		lacking         []string // verb, resource and name
	}{
		{"what is held", "build", rule("list,get", "", "pods"), nil},
		{"one verb of two", "build", rule("get,delete", "", "pods"),
			[]string{"delete pods "}},
		{"another namespace", "other", rule("get", "", "pods"), []string{"get pods "}},
		{"the whole cluster", "", rule("get", "", "pods"), []string{"get pods "}},
		{"all of a group", "", rule("delete", "apps", "deployments"), nil},
		{"all names where some are held", "build", rule("get", "", "configmaps"),
			[]string{"get configmaps "}},
		{"a name that is held", "build", rule("get", "", "configmaps", "b"), nil},
		{"one name of two", "build", rule("create", "", "serviceaccounts/token", "ci", "x"),
			[]string{"create serviceaccounts/token x"}},
		{"a wildcard is more than its parts", "build", rule("*", "", "pods"),
			[]string{"* pods "}},
	}
	client, _ := serve(t, held)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			lacking, err := notHeld(t.Context(), client, tt.namespace,
				[]cluster.Rule{tt.rule})
			var got []string
			for _, r := range lacking {
				got = append(got, r.Verb+" "+r.Resource+" "+r.Name)
			}
			if err != nil || !reflect.DeepEqual(got, tt.lacking) {
				t.Errorf("lacking %q, want %q; error %v", got, tt.lacking, err)
			}
		})
	}
}

func TestErrorNamesAllAndHowToGrantIt(t *testing.T) {
	bind := On("bind", cluster.Ref{Kind: "ClusterRole", Namespace: "build", Name: "view"})
	account := cluster.Ref{Kind: "ServiceAccount", Namespace: "build", Name: "ci"}
	e := &Error{Missing: append(ForDevice("build"), bind, On("patch", account),
		On("create", account), On("create", cluster.Ref{Kind: "Namespace", Name: "build"}),
		On("patch", cluster.Ref{Kind: "Namespace", Name: "build"}),
		On("create", cluster.Ref{Kind: "ClusterRoleBinding", Name: "x"})),
		NotHeld: []Right{{"get", "", "nodes", "", ""}, {"list", "", "nodes", "", ""}},
		User:    "jane o'neill", Absent: []string{"build"}}
	for _, part := range []string{
		`create rolebindings, roles, secrets, serviceaccounts, serviceaccounts/token in ` +
			`namespace "build"`,
		`bind clusterroles "view" in namespace "build"`,
		"nor to grant what you do not hold yourself: get, list nodes",
		`create, patch namespaces "build"`, `create clusterrolebindings "x"`} {
		if !strings.Contains(e.Error(), part) {
			t.Errorf("%q is not in %q", part, e)
		}
	}
	if !errors.Is(e, api.ErrForbidden) {
		t.Error("it is no ErrForbidden")
	}
	commands := strings.Split(e.Commands(), " && ")
	if commands[0] != "kubectl create namespace build" {
		t.Errorf("first %q", commands[0])
	}
	for _, part := range []string{
		"-n build create role sa-exec-credential-setup-",
		"--verb=bind --resource=clusterroles.rbac.authorization.k8s.io " +
			"--resource-name=view",
		"--verb=get,list --resource=nodes", "create clusterrole ",
		"--verb=create --resource=clusterrolebindings.rbac.authorization.k8s.io",
		`'--user=jane o'\''neill'`, "--verb=create,patch --resource=serviceaccounts"} {
		if !strings.Contains(e.Commands(), part) {
			t.Errorf("%q is not in %q", part, e.Commands())
		}
	}
	for _, part := range []string{"resource=namespaces", "USER"} {
		if strings.Contains(e.Commands(), part) {
			t.Errorf("%q is in %q", part, e.Commands())
		}
	}
	e.User = "system:serviceaccount:ops:deployer"
	if !strings.Contains(e.Commands(), "--serviceaccount=ops:deployer") {
		t.Errorf("commands %q", e.Commands())
	}
	if e.User = ""; !strings.Contains(e.Commands(), "--user=USER") {
		t.Errorf("commands %q", e.Commands())
	}
}
