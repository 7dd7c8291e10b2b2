package cluster

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/util/validation"
	"sigs.k8s.io/yaml"
)

func wish(change func(*Wanted)) Wanted {
	w := Wanted{Namespace: "build", ServiceAccount: "ci", Limits: true}
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
		{"a namespace does not leave its place in a path",
			func(w *Wanted) { w.Namespace = "../x" },
			ErrUsage},
		{"a namespace has at most 63 letters",
			func(w *Wanted) { w.Namespace = strings.Repeat("n", 64) }, ErrUsage},
		{"an account is needed", func(w *Wanted) { w.ServiceAccount = "" }, ErrUsage},
		{"an account may have dots", func(w *Wanted) { w.ServiceAccount = "a.b" }, nil},
		{"an account is in lower case", func(w *Wanted) { w.ServiceAccount = "CI" },
			ErrUsage},
		{"an account leaves room for its devices",
			func(w *Wanted) { w.ServiceAccount = strings.Repeat("a", maxAccount) },
			nil},
		{"an account that leaves none is too long",
			func(w *Wanted) { w.ServiceAccount = strings.Repeat("a", maxAccount+1) },
			ErrUsage},
		{"a device's name is no account's", func(w *Wanted) { w.ServiceAccount = deviceX },
			ErrUsage},
		{"no account contains what is a device's",
			func(w *Wanted) { w.ServiceAccount = "my-device-account" }, ErrUsage},
		{"no account ends with what is a device's",
			func(w *Wanted) { w.ServiceAccount = "my-device" }, ErrUsage},
		{"devices can be what an account is for",
			func(w *Wanted) { w.ServiceAccount = "my-devices" }, nil},
		{"an account can begin so", func(w *Wanted) { w.ServiceAccount = "device-manager" },
			nil},
		{"the namespaces of the rights are names", func(w *Wanted) {
			w.In = []string{"ok",
				"../x"}
		},
			ErrUsage},
		{"the whole cluster is no namespace", func(w *Wanted) {
			w.In, w.ClusterWide = []string{"prod"}, true
		}, ErrUsage},
		{"without RBAC there is nothing to grant anywhere", func(w *Wanted) {
			w.In, w.NoRBAC = []string{"prod"}, true
		}, ErrUsage},
		{"the default account is refused", func(w *Wanted) { w.ServiceAccount = "default" },
			ErrDefaultAccount},
		{"the default account needs a word",
			func(w *Wanted) {
				w.ServiceAccount, w.AllowDefaultAccount = "default",
					true
			}, nil},
		{"cluster-admin is refused",
			func(w *Wanted) { w.ClusterRoles = []string{"view", "cluster-admin"} },
			ErrAdmin},
		{"cluster-admin is found in a list",
			func(w *Wanted) { w.ClusterRoles = []string{"view,cluster-admin"} },
			ErrAdmin},
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
		{"resources need verbs", func(w *Wanted) { w.Resources = []string{"pods"} },
			ErrUsage},
		{"resource names need both", func(w *Wanted) { w.ResourceNames = []string{"one"} },
			ErrUsage},
		{"no RBAC and a role contradict each other",
			func(w *Wanted) { w.NoRBAC, w.Roles = true, []string{"r"} }, ErrUsage},
		{"a role's name stays in its place in a path",
			func(w *Wanted) { w.Roles = []string{"../x"} }, ErrUsage},
		{"a role's name may have a colon",
			func(w *Wanted) { w.ClusterRoles = []string{"system:discovery"} }, nil},
		{"the namespace of the limits is for no account",
			func(w *Wanted) { w.Namespace = limitsNamespace }, ErrUsage},
		{"a minter has a name", func(w *Wanted) { w.Minting.Minters.Users = []string{""} },
			ErrUsage},
		{"everybody is no minter", func(w *Wanted) {
			w.Minting.Minters.Groups = []string{"system:authenticated"}
		}, ErrUsage},
		{"a name and its namespace leave room for whom minters act as", func(w *Wanted) {
			w.ServiceAccount = strings.Repeat("a", maxActing-len("build"))
			w.Minting.AsDevice = true
		}, nil},
		{"those that leave none are too long", func(w *Wanted) {
			w.ServiceAccount = strings.Repeat("a", maxActing-len("build")+1)
			w.Minting.AsDevice = true
		}, ErrUsage},
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
	bare := func(w *Wanted) { w.Limits = false }
	for _, c := range []struct {
		name   string
		change func(*Wanted)
		want   []string
	}{
		{"an account alone", bare, []string{namespace, account}},
		{"what limits need", func(w *Wanted) {}, []string{namespace, account,
			`Namespace "sa-exec-credential"`, `ValidatingAdmissionPolicy "sa-exec-credential"`,
			`ValidatingAdmissionPolicyBinding "sa-exec-credential"`}},
		{"no RBAC leaves the account out", func(w *Wanted) {
			w.NoRBAC, w.Limits = true,
				false
		}, nil},
		{"rights in other namespaces", func(w *Wanted) {
			bare(w)
			w.In, w.Verbs, w.Resources = []string{"prod", "test"}, []string{"get"},
				[]string{"po", "no"}
			w.Roles, w.ClusterRoles = []string{"a"}, []string{"view"}
		}, []string{namespace, account,
			`Role "prod/sa-exec-credential:build:ci"`,
			`RoleBinding "prod/sa-exec-credential:build:ci"`,
			`Role "test/sa-exec-credential:build:ci"`,
			`RoleBinding "test/sa-exec-credential:build:ci"`,
			`ClusterRole "sa-exec-credential:build:ci"`,
			`ClusterRoleBinding "sa-exec-credential:build:ci"`,
			`RoleBinding "prod/sa-exec-credential:build:ci:role:a"`,
			`RoleBinding "test/sa-exec-credential:build:ci:role:a"`,
			`RoleBinding "prod/sa-exec-credential:build:ci:cluster-role:view"`,
			`RoleBinding "test/sa-exec-credential:build:ci:cluster-role:view"`}},
		{"rights in the account's namespace and another", func(w *Wanted) {
			bare(w)
			w.In, w.ClusterRoles = []string{"build,prod"}, []string{"view"}
		}, []string{namespace, account,
			`RoleBinding "build/sa-exec-credential:ci:cluster-role:view"`,
			`RoleBinding "prod/sa-exec-credential:build:ci:cluster-role:view"`}},
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
			`ClusterRole "sa-exec-credential:build:ci"`,
			`ClusterRoleBinding "sa-exec-credential:build:ci"`}},
		{"a created role for the whole cluster", func(w *Wanted) {
			bare(w)
			w.Verbs, w.Resources, w.ClusterWide = []string{"get"}, []string{"po"}, true
		}, []string{namespace, account,
			`ClusterRole "sa-exec-credential:build:ci"`,
			`ClusterRoleBinding "sa-exec-credential:build:ci"`}},
		{"existing roles", func(w *Wanted) {
			bare(w)
			w.Roles, w.ClusterRoles = []string{"a,b"}, []string{"a"}
		}, []string{namespace, account,
			`RoleBinding "build/sa-exec-credential:ci:role:a"`,
			`RoleBinding "build/sa-exec-credential:ci:role:b"`,
			`RoleBinding "build/sa-exec-credential:ci:cluster-role:a"`}},
		{"existing roles for the whole cluster", func(w *Wanted) {
			bare(w)
			w.Roles, w.ClusterRoles, w.ClusterWide = []string{"a"}, []string{"a"}, true
		}, []string{namespace, account,
			`RoleBinding "build/sa-exec-credential:ci:role:a"`,
			`ClusterRoleBinding "sa-exec-credential:build:ci:cluster-role:a"`}},
		{"the namespace that minters act in", func(w *Wanted) {
			bare(w)
			w.Minting.AsDevice = true
		}, []string{namespace, account, `Namespace "sa-exec-credential"`}},
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
				t.Errorf("got:\n%s\nwant:\n%s", strings.Join(got, "\n"),
					strings.Join(c.want, "\n"))
			}
		})
	}
}

func TestLongNamesFitAndStayApart(t *testing.T) {
	seen := map[string]bool{}
	for _, last := range []string{"x", "y"} {
		account := strings.Repeat("a", maxAccount-1) + last
		objects, err := Objects(wish(func(w *Wanted) {
			w.Namespace, w.ServiceAccount = strings.Repeat("n", 63), account
			w.In, w.Limits = []string{w.Namespace, "elsewhere"}, false
			if key := limitsKey(w.Namespace, account); len(key) > maxName {
				t.Errorf("%q is too long for a key", key)
			}
			w.Roles, w.Verbs, w.Resources = []string{strings.Repeat("r",
				253)}, []string{"get"}, []string{"pods"}
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
		if name := NewDeviceName(account, strings.Repeat("d", 99)); len(name) > maxName {
			t.Errorf("a device has a name of %d letters", len(name))
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
		{"a short name and a singular are the same", []string{"get"}, []string{"po", "pod",
			"Pods"},
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
		{"the same in two groups", "get", "evens", []string{"events",
			"events.events.k8s.io"}},
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
		{"the server may add fields", map[string]any{"a": "1",
			"m": map[string]any{"x": true}},
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
		{"a plain host", "laptop", "ci-device-laptop-"},
		{"only the first part counts", "Jane-Laptop.corp.example",
			"ci-device-jane-laptop-"},
		{"what a name cannot hold is replaced", "Jänes_Rechner!",
			"ci-device-j-nes-rechner-"},
		{"a long host is cut", strings.Repeat("h", 90), "ci-device-" + strings.Repeat("h",
			40) + "-"},
		{"a host of nothing", "...", "ci-device-machine-"},
		{"dashes at the ends", "--x--", "ci-device-x-"},
		{"a host that is called device", "my-device-1", "ci-device-my-device-1-"},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := NewDeviceName("ci", c.host)
			random, cut := strings.CutPrefix(got, c.want)
			if !cut || len(random) != 16 || len(validation.IsDNS1123Subdomain(got)) > 0 {
				t.Errorf("got %q, want %q and 64 bits", got, c.want)
			}
			if !IsDeviceOf("ci", got) || IsDeviceOf("c", got) || IsDeviceOf("cd", got) {
				t.Errorf("%q does not tell its account", got)
			}
			if NewDeviceName("ci", c.host) == got {
				t.Error("the same name twice")
			}
		})
	}
}

func TestSumUp(t *testing.T) {
	rules := []Rule{
		{Verbs: []string{"create"}, APIGroups: []string{"authorization.k8s.io"},
			Resources: []string{"selfsubjectaccessreviews"}},
		{Verbs: []string{"get", "list", "watch"}, APIGroups: []string{"certificates.k8s.io"},
			Resources: []string{"clustertrustbundles"}},
		{Verbs: []string{"get"},
			NonResourceURLs: []string{"/api", "/apis/*", "/healthz",
				"/.well-known/openid-configuration/", "/openid/v1/jwks/"}},
		{Verbs: []string{"list"}, APIGroups: []string{""},
			Resources: []string{"pods", "pods/log", "secrets"}},
		{Verbs: []string{"get"}, APIGroups: []string{""},
			Resources: []string{"pods", "pods/log", "secrets"}},
		{Verbs: []string{"*"}, APIGroups: []string{"apps"},
			Resources: []string{"deployments"}},
		{Verbs: []string{"update"}, APIGroups: []string{""},
			Resources:     []string{"configmaps"},
			ResourceNames: []string{"one", "two"}},
		{Verbs: []string{"get"}, NonResourceURLs: []string{"/metrics"}},
	}
	want := []string{"get, list: pods, secrets, pods/log", "*: deployments.apps",
		"get: /metrics",
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
