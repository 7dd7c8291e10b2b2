package cluster

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"
)

func wish(change func(*Wanted)) Wanted {
	w := Wanted{Namespace: "build", ServiceAccount: "ci", Bootstrap: true, Cap: true,
		Duration: time.Hour, BootstrapDuration: 720 * time.Hour}
	change(&w)
	return w
}

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		name   string
		change func(*Wanted)
		want   error
	}{
		{"an ordinary wish is granted", func(w *Wanted) {}, nil},
		{"a namespace is needed", func(w *Wanted) { w.Namespace = "" }, ErrUsage},
		{"a namespace has no dots", func(w *Wanted) { w.Namespace = "a.b" }, ErrUsage},
		{"a namespace does not leave its place in a path", func(w *Wanted) { w.Namespace = "../x" },
			ErrUsage},
		{"a namespace has at most 63 letters",
			func(w *Wanted) { w.Namespace = strings.Repeat("n", 64) }, ErrUsage},
		{"an account is needed", func(w *Wanted) { w.ServiceAccount = "" }, ErrUsage},
		{"an account may have dots", func(w *Wanted) { w.ServiceAccount = "a.b" }, nil},
		{"an account is in lower case", func(w *Wanted) { w.ServiceAccount = "CI" }, ErrUsage},
		{"an account leaves room for its bootstrap account",
			func(w *Wanted) { w.ServiceAccount = strings.Repeat("a", 243) }, nil},
		{"an account has its limit",
			func(w *Wanted) { w.ServiceAccount = strings.Repeat("a", 244) }, ErrUsage},
		{"the default account is refused", func(w *Wanted) { w.ServiceAccount = "default" },
			ErrDefaultAccount},
		{"the default account needs a word",
			func(w *Wanted) { w.ServiceAccount, w.AllowDefaultAccount = "default", true }, nil},
		{"cluster-admin is refused",
			func(w *Wanted) { w.ClusterRoles = []string{"view", "cluster-admin"} }, ErrAdmin},
		{"cluster-admin is found in a list",
			func(w *Wanted) { w.ClusterRoles = []string{"view,cluster-admin"} }, ErrAdmin},
		{"cluster-admin needs a word", func(w *Wanted) {
			w.ClusterRoles, w.AllowAdmin = []string{"cluster-admin"}, true
		}, nil},
		{"every verb is refused", func(w *Wanted) {
			w.Verbs, w.Resources = []string{"get,*"}, []string{"pods"}
		}, ErrAdmin},
		{"every resource is refused", func(w *Wanted) {
			w.Verbs, w.Resources = []string{"get"}, []string{"pods,*"}
		}, ErrAdmin},
		{"every resource of a group is refused", func(w *Wanted) {
			w.Verbs, w.Resources = []string{"get"}, []string{"*.apps"}
		}, ErrAdmin},
		{"every resource's scale is refused", func(w *Wanted) {
			w.Verbs, w.Resources = []string{"get"}, []string{"*/scale"}
		}, ErrAdmin},
		{"every resource needs a word", func(w *Wanted) {
			w.Verbs, w.Resources, w.AllowAdmin = []string{"get"}, []string{"*"}, true
		}, nil},
		{"verbs need resources", func(w *Wanted) { w.Verbs = []string{"get"} }, ErrUsage},
		{"resources need verbs", func(w *Wanted) { w.Resources = []string{"pods"} }, ErrUsage},
		{"resource names need both", func(w *Wanted) { w.ResourceNames = []string{"one"} },
			ErrUsage},
		{"no RBAC and a role contradict each other",
			func(w *Wanted) { w.NoRBAC, w.Roles = true, []string{"r"} }, ErrUsage},
		{"a role's name stays in its place in a path",
			func(w *Wanted) { w.Roles = []string{"../x"} }, ErrUsage},
		{"a role's name may have a colon",
			func(w *Wanted) { w.ClusterRoles = []string{"system:discovery"} }, nil},
		{"a token lives ten minutes", func(w *Wanted) { w.Duration = 10*time.Minute - time.Second },
			ErrUsage},
		{"a bootstrap token lives ten minutes", func(w *Wanted) { w.BootstrapDuration = 0 },
			ErrUsage},
		{"lifetimes are whole seconds", func(w *Wanted) { w.Duration += time.Millisecond },
			ErrUsage},
		{"a minter has a name", func(w *Wanted) { w.Minter = &Subject{Namespace: "n"} }, ErrUsage},
	} {
		t.Run(c.name, func(t *testing.T) {
			if err := wish(c.change).Check(); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

// cluster is a small one with resources that are easily mistaken for each other.
var cluster = Resources{
	{Name: "pods", Singular: "pod", ShortNames: []string{"po"}, Namespaced: true},
	{Name: "pods/log", Namespaced: true},
	{Name: "nodes", Singular: "node", ShortNames: []string{"no"}},
	{Name: "events", Singular: "event", ShortNames: []string{"ev"}, Namespaced: true},
	{Group: "apps", Name: "deployments", Singular: "deployment", ShortNames: []string{"deploy"},
		Namespaced: true},
	{Group: "apps", Name: "deployments/scale", Namespaced: true},
	{Group: "events.k8s.io", Name: "events", Singular: "event", ShortNames: []string{"ev"},
		Namespaced: true},
}

func TestRefs(t *testing.T) {
	const (
		namespace = `Namespace "build"`
		account   = `ServiceAccount "build/ci"`
	)
	bare := func(w *Wanted) { w.Bootstrap, w.Cap = false, false }
	for _, c := range []struct {
		name   string
		change func(*Wanted)
		want   []string
	}{
		{"an account alone", bare, []string{namespace, account}},
		{"what the bootstrap account needs", func(w *Wanted) {}, []string{namespace, account,
			`ServiceAccount "build/ci-bootstrap"`, `Role "build/ci-bootstrap"`, `RoleBinding "build/ci-bootstrap"`,
			`ValidatingAdmissionPolicy "sa-exec-credential.build.ci"`, `ValidatingAdmissionPolicyBinding "sa-exec-credential.build.ci"`}},
		{"no RBAC leaves the account out", func(w *Wanted) { w.NoRBAC, w.Cap = true, false },
			[]string{
				`ServiceAccount "build/ci-bootstrap"`, `Role "build/ci-bootstrap"`, `RoleBinding "build/ci-bootstrap"`}},
		{"a created role", func(w *Wanted) {
			bare(w)
			w.Verbs, w.Resources = []string{"get"}, []string{"po"}
		}, []string{namespace, account,
			`Role "build/sa-exec-credential:ci"`, `RoleBinding "build/sa-exec-credential:ci"`}},
		{"a created role with something outside of namespaces", func(w *Wanted) {
			bare(w)
			w.Verbs, w.Resources = []string{"get"}, []string{"po", "no"}
		}, []string{namespace, account,
			`Role "build/sa-exec-credential:ci"`, `RoleBinding "build/sa-exec-credential:ci"`,
			`ClusterRole "sa-exec-credential:build:ci"`, `ClusterRoleBinding "sa-exec-credential:build:ci"`}},
		{"a created role for the whole cluster", func(w *Wanted) {
			bare(w)
			w.Verbs, w.Resources, w.ClusterWide = []string{"get"}, []string{"po"}, true
		}, []string{namespace, account,
			`ClusterRole "sa-exec-credential:build:ci"`, `ClusterRoleBinding "sa-exec-credential:build:ci"`}},
		{"existing roles", func(w *Wanted) {
			bare(w)
			w.Roles, w.ClusterRoles = []string{"a,b"}, []string{"a"}
		}, []string{namespace, account,
			`RoleBinding "build/sa-exec-credential:ci:role:a"`, `RoleBinding "build/sa-exec-credential:ci:role:b"`,
			`RoleBinding "build/sa-exec-credential:ci:cluster-role:a"`}},
		{"existing roles for the whole cluster", func(w *Wanted) {
			bare(w)
			w.Roles, w.ClusterRoles, w.ClusterWide = []string{"a"}, []string{"a"}, true
		}, []string{namespace, account,
			`RoleBinding "build/sa-exec-credential:ci:role:a"`, `ClusterRoleBinding "sa-exec-credential:build:ci:cluster-role:a"`}},
		{"a minter that others created", func(w *Wanted) {
			bare(w)
			w.Minter = &Subject{Namespace: "other", Name: "runner"}
		}, []string{namespace, account,
			`Role "build/sa-exec-credential:ci:minter"`,
			`RoleBinding "build/sa-exec-credential:ci:minter:system:serviceaccount:other:runner"`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			objects, err := Objects(wish(c.change), cluster)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, o := range objects {
				got = append(got, o.Ref().String())
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(c.want, "\n"))
			}
		})
	}
}

func TestLongNamesFitAndStayApart(t *testing.T) {
	seen := map[string]bool{}
	for _, last := range []string{"x", "y"} {
		account := strings.Repeat("a", 242) + last
		objects, err := Objects(wish(func(w *Wanted) {
			w.Namespace, w.ServiceAccount = strings.Repeat("n", 63), account
			w.Roles, w.Verbs, w.Resources = []string{strings.Repeat("r",
				253)}, []string{"get"}, []string{"pods"}
			w.Minter = &Subject{Name: "https://login.example/jane"}
		}), cluster)
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range objects[1:] {
			if ref := o.Ref(); len(ref.Name) > maxName || seen[ref.String()] ||
				strings.ContainsAny(ref.Name, "/%") {
				t.Errorf("%v has %d letters, or is there twice", ref, len(ref.Name))
			}
			seen[o.Ref().String()] = true
		}
		if value := labelValue(account); len(validation.IsValidLabelValue(value)) > 0 ||
			seen[value] {
			t.Errorf("%q is no label's value, or is there twice", value)
		} else {
			seen[value] = true
		}
		if name := DeviceSecret(account, strings.Repeat("d", maxDeviceName)); len(name) > maxName {
			t.Errorf("device Secret has a name of %d letters", len(name))
		}
	}
}

func TestRulesOfARole(t *testing.T) {
	for _, c := range []struct {
		name                    string
		verbs, resources, names []string
		want                    string
	}{
		{"one of the core group", []string{"get"}, []string{"pods"}, nil,
			`[{apiGroups: [""], resources: [pods], verbs: [get]}]`},
		{"a short name and a singular are the same", []string{"get"}, []string{"po", "pod", "Pods"},
			nil, `[{apiGroups: [""], resources: [pods], verbs: [get]}]`},
		{"a subresource", []string{"get"}, []string{"po/log"}, nil,
			`[{apiGroups: [""], resources: [pods/log], verbs: [get]}]`},
		{"groups get a rule each", []string{"get", "list"},
			[]string{"deploy", "pods", "deployments.apps/scale"}, []string{"one"},
			`[{apiGroups: [""], resources: [pods], resourceNames: [one], verbs: [get, list]},
			  {apiGroups: [apps], resources: [deployments, deployments/scale], resourceNames: [one], verbs: [get, list]}]`},
		{"the first group has it", []string{"get"}, []string{"events"}, nil,
			`[{apiGroups: [""], resources: [events], verbs: [get]}]`},
		{"another group on demand", []string{"get"}, []string{"events.events.k8s.io"}, nil,
			`[{apiGroups: [events.k8s.io], resources: [events], verbs: [get]}]`},
		{"all of a group", []string{"get"}, []string{"*.apps"}, nil,
			`[{apiGroups: [apps], resources: ["*"], verbs: [get]}]`},
		{"every verb is all there is to say", []string{"get", "*"}, []string{"pods"}, nil,
			`[{apiGroups: [""], resources: [pods], verbs: ["*"]}]`},
		{"what only the authorizer knows", []string{"impersonate"}, []string{"users"}, nil,
			`[{apiGroups: [""], resources: [users], verbs: [impersonate]}]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := cluster.rules(c.verbs, c.resources, c.names)
			if err != nil {
				t.Fatal(err)
			}
			var want []any
			if err := yaml.Unmarshal([]byte(strings.ReplaceAll(c.want, "\t", "")),
				&want); err != nil {
				t.Fatal(err)
			}
			if !holds(any(got.all), any(want)) || !holds(any(want), any(got.all)) {
				t.Errorf("got %v, want %v", got.all, want)
			}
		})
	}
}

func TestUnknownNamesGetTheNearest(t *testing.T) {
	for _, c := range []struct {
		name, verb, resource string
		want                 []string
	}{
		{"a letter too few", "get", "deploymets", []string{"deployments.apps"}},
		{"two letters swapped", "get", "pdos", []string{"pods"}},
		{"another group", "get", "deployments.extensions", []string{"deployments.apps"}},
		{"the same in two groups", "get", "evens", []string{"events", "events.events.k8s.io"}},
		{"a subresource", "get", "deploy/scal", []string{"deployments.apps/scale"}},
		{"a subresource of another", "get", "pods/scale", nil},
		{"a verb", "wach", "pods", []string{"watch", "patch"}},
		{"nothing like it", "get", "refrigerators", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := cluster.rules([]string{c.verb}, []string{c.resource}, nil)
			var unknown *UnknownError
			if !errors.As(err, &unknown) || !slices.Equal(unknown.Nearest, c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

func TestHolds(t *testing.T) {
	live := map[string]any{"a": "1", "m": map[string]any{"x": true, "y": "added"},
		"l": []any{map[string]any{"k": "v", "d": "default"}}}
	for _, c := range []struct {
		name   string
		wanted map[string]any
		want   bool
	}{
		{"the server may add fields", map[string]any{"a": "1", "m": map[string]any{"x": true}},
			true},
		{"the server may add fields to what is in lists",
			map[string]any{"l": []any{map[string]any{"k": "v"}}}, true},
		{"another value", map[string]any{"a": "2"}, false},
		{"a missing field", map[string]any{"b": "1"}, false},
		{"a longer list", map[string]any{"l": []any{}}, false},
		{"another type", map[string]any{"m": "x"}, false},
		{"a map in place of a value", map[string]any{"a": map[string]any{}}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := holds(live, c.wanted); got != c.want {
				t.Errorf("got %v, want %v", got, c.want)
			}
		})
	}
}

func TestDeviceNames(t *testing.T) {
	for _, c := range []struct{ name, host, want string }{
		{"a plain host", "laptop", "laptop-"},
		{"only the first part counts", "Jane-Laptop.corp.example", "jane-laptop-"},
		{"what a name cannot hold is replaced", "Jänes_Rechner!", "j-nes-rechner-"},
		{"a long host is cut", strings.Repeat("h", 90), strings.Repeat("h", 40) + "-"},
		{"a host of nothing", "...", "device-"},
		{"dashes at the ends", "--x--", "x-"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := NewDeviceName(c.host)
			random, found := strings.CutPrefix(got, c.want)
			if !found || len(random) != 6 || len(validation.IsDNS1123Label(got)) > 0 {
				t.Errorf("got %q, want %q and six letters", got, c.want)
			}
			if DeviceName("ci", DeviceSecret("ci", got)) != got {
				t.Errorf("%q is not found in the Secret's name", got)
			}
			if NewDeviceName(c.host) == got {
				t.Error("the same name twice")
			}
		})
	}
}

func TestDeviceOfAnotherAccountHasNoName(t *testing.T) {
	if got := DeviceName("ci", "other-device-x"); got != "" {
		t.Errorf("a Secret of another account is device %q", got)
	}
}

func TestSumUp(t *testing.T) {
	rules := []reviewedRule{
		{Verbs: []string{"create"}, APIGroups: []string{"authorization.k8s.io"},
			Resources: []string{"selfsubjectaccessreviews"}},
		{Verbs: []string{"get"},
			NonResourceURLs: []string{"/api", "/apis/*", "/healthz",
				"/.well-known/openid-configuration/", "/openid/v1/jwks/"}},
		{Verbs: []string{"list"}, APIGroups: []string{""},
			Resources: []string{"pods", "pods/log", "secrets"}},
		{Verbs: []string{"get"}, APIGroups: []string{""},
			Resources: []string{"pods", "pods/log", "secrets"}},
		{Verbs: []string{"*"}, APIGroups: []string{"apps"}, Resources: []string{"deployments"}},
		{Verbs: []string{"update"}, APIGroups: []string{""}, Resources: []string{"configmaps"},
			ResourceNames: []string{"one", "two"}},
		{Verbs: []string{"get"}, NonResourceURLs: []string{"/metrics"}},
	}
	want := []string{"get, list: pods, secrets, pods/log", "*: deployments.apps", "get: /metrics",
		"update: configmaps named one, two"}
	var got []string
	for _, permission := range sumUp(rules) {
		got = append(got, permission.String())
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestPermissionStaysOneLine(t *testing.T) {
	p := Permission{Verbs: []string{"get"}, Resources: strings.Split("a b c d e f g h", " ")}
	if got, want := p.String(), "get: a, b, c, d, e, f and 2 more"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}
