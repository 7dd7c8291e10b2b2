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

	"k8s.io/client-go/rest"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/connect"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// TestManifests compares with what people reviewed: a change of who can do what in a cluster has to
// be seen in the file, and not only in code.
func TestManifests(t *testing.T) {
	objects, err := Objects(wish(func(w *Wanted) {
		w.Roles, w.ClusterRoles, w.In = []string{"deployer"}, []string{"view"},
			[]string{"build", "prod"}
		w.Verbs, w.Resources = []string{"get", "list"}, []string{"pods", "nodes"}
	}), cluster)
	if err != nil {
		t.Fatal(err)
	}
	for _, asDevice := range []bool{true, false} {
		objects = append(objects, mintingObjects(deviceOf("build", Minting{AsDevice: asDevice,
			Minters: profile.Minters{Users: []string{"alice"}, Groups: []string{"ci, all"},
				Accounts: []string{"runners/runner"}}}))...)
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

// deviceOf is a device of the account ci.
func deviceOf(namespace string, m Minting) DeviceSpec {
	return DeviceSpec{Namespace: namespace, Account: "ci", Name: deviceX, Minting: m,
		Owner: Owner{Host: "laptop\x1b[2J", User: "jane"}}
}

// pairOfObjects are a role and its binding.
func pairOfObjects() []Object {
	pods := map[string]any{"apiGroups": []any{""}, "resources": []any{"pods"},
		"verbs": []any{"get"}}
	return wish(func(*Wanted) {}).created(grants{namespaced: []any{pods}})
}

func TestWhatIsThereAlready(t *testing.T) {
	minter := pairOfObjects()
	role, binding, device := minter[0], minter[1], DeviceObjects(deviceOf("build", Minting{}))[1]
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
		{"an account as it should be is left alone", device, func(map[string]any) {}, nil,
			false},
		{"fields that the server added are left alone", role,
			func(c map[string]any) { metadataOf(c)["generation"] = 3 }, nil, false},
		{"an account with a mounted token is corrected", device,
			func(c map[string]any) { c["automountServiceAccountToken"] = true }, nil,
			true},
		{"a role with other rules is corrected", role,
			func(c map[string]any) { c["rules"] = []any{} }, nil, true},
		{"a binding of others is corrected", binding,
			func(c map[string]any) { c["subjects"] = []any{} }, nil, true},
		{"an account that others own is refused", device,
			func(c map[string]any) { delete(metadataOf(c), "labels") }, is(ErrForeign),
			false},
		{"an account that is being deleted is refused", device,
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
			warnings, err := Apply(t.Context(), client, []Object{tt.object}, ignore)
			if tt.err == nil && err != nil || tt.err != nil && !tt.err(err) ||
				len(warnings) > 0 {
				t.Errorf("error %v, warnings %v", err, warnings)
			}
			if wrote := requests.wrote(); (len(wrote) > 0) != tt.writes {
				t.Errorf("it wrote %q", wrote.lines())
			}
		})
	}
}

// TestOfManyEachIsLookedAtOnce: what was not there is written without a second look, unless that is
// what tells why it cannot be.
func TestOfManyEachIsLookedAtOnce(t *testing.T) {
	binding := pairOfObjects()[1]
	path := binding.Ref().path()
	other := live(t, binding, func(c map[string]any) {
		c["roleRef"] = map[string]any{"kind": "ClusterRole", "name": "edit"}
	})
	for _, test := range []struct {
		name    string
		answer  answer // to the write
		refused bool
		lines   []string
	}{
		{"nobody else has created it", answer{201, "{}"}, false,
			[]string{"GET " + path, "PATCH " + path}},
		{"somebody else has, with another role", answer{422, status(422, "cannot change")},
			true, []string{"GET " + path, "PATCH " + path, "GET " + path}},
	} {
		t.Run(test.name, func(t *testing.T) {
			client, requests := serve(t, map[string]answer{
				"1 GET " + path: {404, status(404, "not found")}, "GET " + path: other,
				"PATCH " + path: test.answer})
			client.Share(&api.Memo{})
			objects := []Object{binding}
			if err := review(t.Context(), client, objects); err != nil {
				t.Fatal(err)
			}
			_, err := Apply(t.Context(), client, objects, ignore)
			if (err != nil) != test.refused || err != nil && !errors.As(err,
				new(*RoleRefError)) {
				t.Errorf("error %v", err)
			}
			if got := requests.lines(); !slices.Equal(got, test.lines) {
				t.Errorf("asked %q, want %q", got, test.lines)
			}
		})
	}
}

func TestApplyOwnsItsFieldsAndForcesNobody(t *testing.T) {
	role := pairOfObjects()[0]
	client, requests := serve(t, map[string]answer{"PATCH " + role.Ref().path(): {201, "{}"}})
	if _, err := Apply(t.Context(), client, []Object{role}, ignore); err != nil {
		t.Fatal(err)
	}
	patch := requests.wrote()[0]
	if patch.contentType != applyPatch || patch.query.Get("fieldManager") != fieldManager ||
		patch.query.Get("fieldValidation") != "Strict" || patch.query.Has("force") {
		t.Errorf("sent %q with %v", patch.contentType, patch.query)
	}
}

// TestPoliciesOfOtherVersions: what a newer version protects is not taken away by an older one;
// what anybody else changed is put right.
func TestPoliciesOfOtherVersions(t *testing.T) {
	policy, binding := policyObjects()[0], policyObjects()[1]
	versioned := func(version string) func(map[string]any) {
		return func(c map[string]any) {
			metadataOf(c)["annotations"] = map[string]any{versionAnnotation: version}
			c["spec"].(map[string]any)["validations"] = []any{}
		}
	}
	tests := []struct {
		name   string
		object Object
		edit   func(content map[string]any)
		writes bool
	}{
		{"our own is left alone", policy, func(map[string]any) {}, false},
		{"a changed one is put right", policy, versioned("1"), true},
		{"one of a newer version stays", policy, versioned("3"), false},
		{"one of an older version is replaced", policy, versioned("0"), true},
		{"one of no version is replaced", policy, versioned("latest"), true},
		{"a policy that fails open is put right", policy, func(c map[string]any) {
			c["spec"].(map[string]any)["failurePolicy"] = "Ignore"
		}, true},
		{"a binding that only warns is put right", binding, func(c map[string]any) {
			c["spec"].(map[string]any)["validationActions"] = []any{"Warn"}
		}, true},
		{"a binding has no version of its own", binding, func(c map[string]any) {
			metadataOf(c)["annotations"] = map[string]any{versionAnnotation: "3"}
			c["spec"].(map[string]any)["validationActions"] = []any{"Warn"}
		}, true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			path := tt.object.Ref().path()
			client, requests := serve(t, map[string]answer{"GET " +
				path: live(t, tt.object, tt.edit),
				"PATCH " + path: {200, "{}"}})
			warnings, err := Apply(t.Context(), client, []Object{tt.object}, ignore)
			if err != nil || len(warnings) > 0 {
				t.Errorf("error %v, warnings %v", err, warnings)
			}
			wrote := requests.wrote()
			if (len(wrote) > 0) != tt.writes {
				t.Errorf("it wrote %q", wrote.lines())
			}
			for _, r := range wrote {
				if r.query.Get("force") != "true" {
					t.Errorf("it asks who owns the fields: %v", r.query)
				}
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

func TestTheNamespacesOfTheRightsExist(t *testing.T) {
	const prod = "GET /api/v1/namespaces/prod"
	for _, tt := range []struct {
		name  string
		there answer
		want  error
	}{
		{"one that is there", found("n-1", ""), nil},
		{"one that is not there", answer{404, status(404, "not found")}, &UnknownError{}},
		{"one that cannot be read", answer{403, status(403, "cannot get")}, nil},
		{"a server that fails", answer{500, status(500, "etcd")}, api.ErrServer},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client, _ := serve(t, map[string]answer{prod: tt.there})
			_, err := Plan(t.Context(), client, wish(func(w *Wanted) { w.In = []string{"prod"} }))
			var unknown *UnknownError
			if errors.As(tt.want, &unknown) {
				if !errors.As(err, &unknown) || unknown.What != "namespace" ||
					unknown.Given != "prod" {
					t.Errorf("got %v, want that there is no such namespace",
						err)
				}
			} else if !errors.Is(err, tt.want) {
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

// TestRisksCountInTheAccountsOwnNamespace: elsewhere an account can become others, but not its
// devices.
func TestRisksCountInTheAccountsOwnNamespace(t *testing.T) {
	const impersonate = `{"rules":[{"verbs":["impersonate"],"resources":["serviceaccounts"]}]}`
	for _, tt := range []struct {
		name   string
		change func(*Wanted)
		want   []string
	}{
		{"there", func(w *Wanted) {}, []string{"impersonate accounts"}},
		{"elsewhere", func(w *Wanted) { w.In = []string{"prod"} }, nil},
		{"there and elsewhere", func(w *Wanted) { w.In = []string{"prod", "build"} },
			[]string{"impersonate accounts"}},
		{"everywhere", func(w *Wanted) { w.ClusterWide = true },
			[]string{"impersonate accounts"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client, _ := serve(t, map[string]answer{
				"GET /api/v1/namespaces/prod":  found("n-1", ""),
				"GET /api/v1/namespaces/build": found("n-2", ""),
				"GET /apis/rbac.authorization.k8s.io/v1/clusterroles/edit": {200,
					impersonate}})
			planned, err := Plan(t.Context(), client, wish(func(w *Wanted) {
				w.ClusterRoles = []string{"edit"}
				tt.change(w)
			}))
			if err != nil || !slices.Equal(planned.Risks, tt.want) {
				t.Errorf("got %q, %v, want %q", planned.Risks, err, tt.want)
			}
		})
	}
}

// TestSuperseded has bindings of the account, and those of an account of that name in another
// namespace.
func TestSuperseded(t *testing.T) {
	const rbac = "GET /apis/rbac.authorization.k8s.io/v1/"
	w := wish(func(w *Wanted) {
		w.Roles, w.In = []string{"deployer"}, []string{"build",
			"prod"}
	})
	objects, err := Objects(w, cluster)
	if err != nil {
		t.Fatal(err)
	}
	in := func(namespace, name string) string {
		return item(name, "u-1",
			`,"namespace":"`+namespace+`"`)
	}
	inBuild := []string{in("build", "sa-exec-credential:ci:role:deployer"),
		in("build", "sa-exec-credential:ci:role:old"),
		in("build", "sa-exec-credential:prod:ci:role:x")} // of ci in prod
	inProd := []string{in("prod", "sa-exec-credential:build:ci:role:deployer"),
		in("prod", "sa-exec-credential:build:ci:cluster-role:old"),
		in("prod", "sa-exec-credential:ci:role:x")} // of ci in prod, too
	answers := map[string]answer{
		rbac + "rolebindings": listed(slices.Concat(inBuild, inProd, []string{
			in("gone", "sa-exec-credential:build:ci"),
			in("gone", "sa-exec-credential:build:ci2")})...),
		rbac + "namespaces/build/rolebindings": listed(inBuild...),
		rbac + "namespaces/prod/rolebindings":  listed(inProd...),
		rbac + "clusterrolebindings": listed(item("sa-exec-credential:build:ci", "u-1", ""),
			item("sa-exec-credential:build:ci:cluster-role:view", "u-1", ""),
			item("sa-exec-credential:build:ci2", "u-1", ""),
			item("sa-exec-credential:other:ci:cluster-role:view", "u-1", "")),
	}
	client, requests := serve(t, answers)
	got, err := Superseded(t.Context(), client, w, objects)
	want := []Ref{{"ClusterRoleBinding", "", "sa-exec-credential:build:ci"},
		{"ClusterRoleBinding", "", "sa-exec-credential:build:ci:cluster-role:view"},
		{"RoleBinding", "build", "sa-exec-credential:ci:role:old"},
		{"RoleBinding", "prod", "sa-exec-credential:build:ci:cluster-role:old"},
		{"RoleBinding", "gone", "sa-exec-credential:build:ci"}}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("got %v, %v, want %v", got, err, want)
	}
	for _, r := range *requests {
		if r.query.Get("labelSelector") != "sa-exec-credential/account=ci,app.kubernetes.io/component=access" {
			t.Errorf("%s asks for %v", r.line, r.query)
		}
	}
	forbidden := answer{403, status(403, "cannot list")}
	answers[rbac+"clusterrolebindings"], answers[rbac+"rolebindings"] = forbidden, forbidden
	if got, err = Superseded(t.Context(), client, w, objects); err != nil || len(got) != 2 {
		t.Errorf("without the right to list those of the cluster: %v, %v", got, err)
	}
}

func TestSupersededOfAnAccountNamedLikeItsNamespace(t *testing.T) {
	w := wish(func(w *Wanted) { w.ServiceAccount, w.Roles = "build", []string{"deployer"} })
	const old = "sa-exec-credential:build:role:old"
	client, _ := serve(t, map[string]answer{
		"GET /apis/rbac.authorization.k8s.io/v1/namespaces/build/rolebindings": listed(
			item(old, "u-1", `,"namespace":"build"`)),
		"GET /apis/rbac.authorization.k8s.io/v1/rolebindings": {403, status(403,
			"cannot list")},
		"GET /apis/rbac.authorization.k8s.io/v1/clusterrolebindings": listed()})
	got, err := Superseded(t.Context(), client, w, nil)
	if err != nil || !slices.Equal(got, []Ref{{"RoleBinding", "build", old}}) {
		t.Errorf("got %v, %v", got, err)
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
	client, err := connect.To(config)
	if err != nil {
		t.Fatal(err)
	}
	_, readErr := read(t.Context(), client, Ref{Kind: "Secret", Namespace: "n", Name: "s"})
	writeErr := write(t.Context(), client, pairOfObjects()[0])
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
