package cluster

import (
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
)

// TestManifests compares with what people reviewed: a change of who can do what in a cluster has to
// be seen in the file, and not only in code.
func TestManifests(t *testing.T) {
	objects, err := Objects(wish(func(w *Wanted) {
		w.Roles, w.ClusterRoles = []string{"deployer"}, []string{"view"}
		w.Verbs, w.Resources = []string{"get", "list"}, []string{"pods", "nodes"}
		w.Minter = &Subject{Namespace: "runners", Name: "runner"}
	}), cluster)
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/manifests.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if got := string(Manifests(objects)); got != string(want) {
		t.Errorf("testdata/manifests.yaml is not what setup creates:\n%s", got)
	}
}

// live is an object as the server has it, with an edit.
func live(t *testing.T, object Object, edit func(content map[string]any)) answer {
	t.Helper()
	content := object.normalised().content
	content["metadata"].(map[string]any)["uid"] = "u-1"
	edit(content)
	body, err := json.Marshal(content)
	if err != nil {
		t.Fatal(err)
	}
	return answer{200, string(body)}
}

func metadataOf(content map[string]any) map[string]any { return content["metadata"].(map[string]any) }

func TestWhatIsThereAlready(t *testing.T) {
	bootstrap := wish(func(*Wanted) {}).bootstrap()
	account, role, binding := bootstrap[0], bootstrap[1], bootstrap[2]
	var otherRole *RoleRefError
	isOtherRole := func(err error) bool { return errors.As(err, &otherRole) }
	is := func(want error) func(error) bool {
		return func(err error) bool { return errors.Is(err, want) }
	}
	tests := []struct {
		name   string
		object Object
		edit   func(content map[string]any)
		err    func(error) bool // nil: none
		writes bool
	}{
		{"an account as it should be is left alone", account, func(map[string]any) {}, nil, false},
		{"fields that the server added are left alone", role,
			func(c map[string]any) { metadataOf(c)["generation"] = 3 }, nil, false},
		{"an account with a mounted token is corrected", account,
			func(c map[string]any) { c["automountServiceAccountToken"] = true }, nil, true},
		{"a role with other rules is corrected", role,
			func(c map[string]any) { c["rules"] = []any{} }, nil, true},
		{"a binding of others is corrected", binding,
			func(c map[string]any) { c["subjects"] = []any{} }, nil, true},
		{"an account that others own is refused", account,
			func(c map[string]any) { delete(metadataOf(c), "labels") }, is(ErrForeign), false},
		{"an account that is being deleted is refused", account,
			func(c map[string]any) {
				metadataOf(c)["deletionTimestamp"] = "2026-03-01T12:00:00Z"
			}, is(ErrTerminating), false},
		{"a role that is being deleted is refused", role,
			func(c map[string]any) {
				metadataOf(c)["deletionTimestamp"] = "2026-03-01T12:00:00Z"
			}, is(ErrTerminating), false},
		{"a binding of another role is refused", binding,
			func(c map[string]any) {
				c["roleRef"] = map[string]any{"kind": "ClusterRole", "name": "edit"}
			}, isOtherRole, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := tt.object.Ref().path()
			client, requests := serve(t,
				map[string]answer{"GET " + path: live(t, tt.object, tt.edit),
					"PATCH " + path: {200, "{}"}})
			warnings, err := Apply(t.Context(), client, []Object{tt.object}, func(string) {})
			if tt.err == nil && err != nil || tt.err != nil && !tt.err(err) || len(warnings) > 0 {
				t.Errorf("error %v, warnings %v", err, warnings)
			}
			if wrote := requests.wrote(); (len(wrote) > 0) != tt.writes {
				t.Errorf("it wrote %q", wrote.lines())
			}
		})
	}
}

func TestApplyOwnsItsFieldsAndForcesNobody(t *testing.T) {
	role := wish(func(*Wanted) {}).bootstrap()[1]
	client, requests := serve(t, map[string]answer{"PATCH " + role.Ref().path(): {201, "{}"}})
	if _, err := Apply(t.Context(), client, []Object{role}, func(string) {}); err != nil {
		t.Fatal(err)
	}
	patch := requests.wrote()[0]
	if patch.contentType != applyPatch || patch.query.Get("fieldManager") != fieldManager ||
		patch.query.Get("fieldValidation") != "Strict" || patch.query.Has("force") {
		t.Errorf("sent %q with %v", patch.contentType, patch.query)
	}
}

// TestCapsOfEarlierSetups: another machine was set up with what they allow, and its next mint would
// fail.
func TestCapsOfEarlierSetups(t *testing.T) {
	policy := wish(func(*Wanted) {}).caps()[0]
	tests := []struct {
		name, seconds string // that a token can live by the cap that is there
		want          time.Duration
		kept          bool
	}{
		{"one that allowed more is kept", "7200", 2 * time.Hour, true},
		{"one that allowed less is raised", "600", time.Hour, false},
		{"one that allowed the same stays", "3600", time.Hour, false},
		{"one that is no number is replaced", "7200 + 1", time.Hour, false},
		{"one that is negative is replaced", "-1", time.Hour, false},
		{"one that nobody can ask for is replaced", "4294967297", time.Hour, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			there := live(t, policy, func(c map[string]any) {
				c["spec"].(map[string]any)["variables"].([]any)[0].(map[string]any)["expression"] = tt.seconds
				// so that there is something to write
				c["spec"].(map[string]any)["failurePolicy"] = "Ignore"
			})
			path := policy.Ref().path()
			client, requests := serve(t,
				map[string]answer{"GET " + path: there, "PATCH " + path: {200, "{}"}})
			warnings, err := Apply(t.Context(), client, []Object{policy}, func(string) {})
			if err != nil {
				t.Fatal(err)
			}
			var sent map[string]any
			if err := json.Unmarshal([]byte(requests.wrote()[0].body), &sent); err != nil {
				t.Fatal(err)
			}
			if got := limitOf(sent, tokenSeconds); got != tt.want {
				t.Errorf("tokens can live %v, want %v", got, tt.want)
			}
			kept := slices.ContainsFunc(warnings,
				func(w Warning) bool { return w.Kind == CapKept && w.Token == tt.want })
			if kept != tt.kept {
				t.Errorf("warnings %v", warnings)
			}
		})
	}
}

func TestARoleThatGivesEverythingAway(t *testing.T) {
	const path = "GET /apis/rbac.authorization.k8s.io/v1/clusterroles/root"
	for rules, want := range map[string]error{
		`{"rules":[{"verbs":["get"],"resources":["*"]},{"verbs":["get","*"],"resources":["pods","*"]}]}`: ErrAdmin,
		`{"rules":[{"verbs":["get"],"resources":["*"]},{"verbs":["*"],"resources":["pods"]}]}`:           nil,
	} {
		client, _ := serve(t, map[string]answer{path: {200, rules}})
		_, err := Plan(t.Context(), client,
			wish(func(w *Wanted) { w.ClusterRoles = []string{"root"} }))
		if !errors.Is(err, want) {
			t.Errorf("%s: error %v, want %v", rules, err, want)
		}
	}
	client, _ := serve(t, map[string]answer{path: {403, status(403, "cannot get")}})
	if _, err := Plan(t.Context(), client,
		wish(func(w *Wanted) { w.ClusterRoles = []string{"root"} })); err != nil {
		t.Errorf("a role that cannot be read: %v", err)
	}
}

// TestSuperseded has bindings of the account, and those of an account of that name in another
// namespace.
func TestSuperseded(t *testing.T) {
	const rbac = "GET /apis/rbac.authorization.k8s.io/v1/"
	w := wish(func(w *Wanted) { w.Roles = []string{"deployer"} })
	objects, err := Objects(w, cluster)
	if err != nil {
		t.Fatal(err)
	}
	answers := map[string]answer{
		rbac + "namespaces/build/rolebindings": {200, `{"items":[{"metadata":{"name":"sa-exec-credential:ci:role:deployer"}},
			{"metadata":{"name":"sa-exec-credential:ci:role:old"}}]}`},
		rbac + "clusterrolebindings": {200, `{"items":[{"metadata":{"name":"sa-exec-credential:build:ci"}},
			{"metadata":{"name":"sa-exec-credential:build:ci:cluster-role:view"}},
			{"metadata":{"name":"sa-exec-credential:build:ci2"}},
			{"metadata":{"name":"sa-exec-credential:other:ci:cluster-role:view"}}]}`},
	}
	client, requests := serve(t, answers)
	got, err := Superseded(t.Context(), client, w, objects)
	want := []Ref{{"RoleBinding", "build", "sa-exec-credential:ci:role:old"},
		{"ClusterRoleBinding", "", "sa-exec-credential:build:ci"},
		{"ClusterRoleBinding", "", "sa-exec-credential:build:ci:cluster-role:view"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	for _, r := range *requests {
		if r.query.Get("labelSelector") != "sa-exec-credential/account=ci,app.kubernetes.io/component=access" {
			t.Errorf("%s asks for %v", r.line, r.query)
		}
	}
	answers[rbac+"clusterrolebindings"] = answer{403, status(403, "cannot list")}
	if got, err = Superseded(t.Context(), client, w, objects); err != nil || len(got) != 1 {
		t.Errorf("without the right to list those of the cluster: %v, %v", got, err)
	}
}

func TestRules(t *testing.T) {
	const reviews = "POST /apis/authorization.k8s.io/v1/selfsubject"
	for incomplete, want := range map[string]bool{`,"incomplete":true`: true,
		`,"incomplete":false`: false, "": false} {
		client, requests := serve(t, map[string]answer{
			reviews + "rulesreviews": {201, `{"status":{"resourceRules":[{"verbs":["get"],"apiGroups":[""],
				"resources":["pods"]}],"nonResourceRules":[{"verbs":["get"],"nonResourceURLs":["/metrics"]}]` + incomplete + `}}`},
			reviews + "accessreviews": {201, `{"status":{"allowed":false}}`}})
		access, err := Rules(t.Context(), client, "build")
		if err != nil {
			t.Fatal(err)
		}
		if access.Incomplete != want || len(access.Can) != 1 || len(access.Cannot) != 5 {
			t.Errorf("%q: got %+v", incomplete, access)
		}
		if !strings.Contains((*requests)[0].body, `"namespace":"build"`) {
			t.Errorf("asked %s", (*requests)[0].body)
		}
	}
}

// TestCallsHaveTenSeconds looks at the deadline of each request, which is not waited for.
func TestCallsHaveTenSeconds(t *testing.T) {
	config := &rest.Config{Host: "https://127.0.0.1:1",
		Transport: transport(func(r *http.Request) (*http.Response, error) {
			if deadline, bounded := r.Context().Deadline(); !bounded ||
				time.Until(deadline) > 10*time.Second {
				t.Errorf("%s: deadline %v, %v", r.Method, deadline, bounded)
			}
			return nil, errors.New("not sent")
		})}
	client, err := api.New(config, runtime.NewScheme())
	if err != nil {
		t.Fatal(err)
	}
	_, readErr := read(t.Context(), client, Ref{Kind: "Secret", Namespace: "n", Name: "s"})
	writeErr := write(t.Context(), client, wish(func(*Wanted) {}).bootstrap()[0])
	for _, err := range []error{readErr, writeErr} {
		if !errors.Is(err, api.ErrUnreachable) {
			t.Errorf("error %v", err)
		}
	}
}

// transport is a function that answers requests.
type transport func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (f transport) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }
