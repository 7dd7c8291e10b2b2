//go:build linux

package setup_test

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/discovery"
	"k8s.io/client-go/rest"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/cluster"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// apiResource is one that client-go's discovery lists: the judge of ours.
type apiResource struct{ group, version, name string }

func (p plane) apiResources() []apiResource {
	p.Helper()
	client, err := discovery.NewDiscoveryClientForConfig(p.config)
	if err != nil {
		p.Fatal(err)
	}
	_, lists, err := client.ServerGroupsAndResources()
	if err != nil {
		p.Fatal(err)
	}
	var resources []apiResource
	for _, list := range lists {
		group, version, found := strings.Cut(list.GroupVersion, "/")
		if !found {
			group, version = "", group
		}
		for _, r := range list.APIResources {
			resources = append(resources, apiResource{group, version, r.Name})
		}
	}
	if len(resources) < 100 {
		p.Fatalf("discovery lists only %d resources", len(resources))
	}
	return resources
}

func (p plane) checkDiscovery() {
	plainOnly := rest.CopyConfig(p.config)
	plainOnly.Wrap(func(next http.RoundTripper) http.RoundTripper { return plain{next} })
	var spellings [2][]string
	for i, client := range []*api.Client{p.client, p.connect(plainOnly)} {
		resources, err := cluster.Discover(p.Context(), client)
		if err != nil {
			p.Fatal(err)
		}
		for _, r := range resources {
			spellings[i] = append(spellings[i], fmt.Sprintf("%v %v %v %v", r,
				r.Singular, r.ShortNames, r.Namespaced))
		}
		slices.Sort(spellings[i])
	}
	if !slices.Equal(spellings[0], spellings[1]) {
		p.Errorf("aggregated discovery: %q\none by one: %q", spellings[0], spellings[1])
	}
	listed := map[string]bool{}
	for _, r := range p.apiResources() {
		listed[r.group+" "+r.name] = true
	}
	if len(spellings[0]) != len(listed) {
		p.Errorf("found %d resources, client-go %d", len(spellings[0]), len(listed))
	}
}

// plain is a proxy on the way that knows nothing of aggregated discovery.
type plain struct{ next http.RoundTripper }

func (p plain) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context())
	request.Header.Set("Accept", "application/json")
	return p.next.RoundTrip(request)
}

func (p plane) checkTypos() {
	for _, c := range []struct {
		name    string
		change  func(*cluster.Wanted)
		nearest string
	}{
		{"a resource", func(w *cluster.Wanted) { w.Resources = []string{"deploymets"} },
			"deployments.apps"},
		{"a resource with its group", func(w *cluster.Wanted) { w.Resources = []string{"deployment.app"} }, "deployments.apps"},
		{"a resource in a group of the past", func(w *cluster.Wanted) { w.Resources = []string{"deployments.extensions"} }, "deployments.apps"},
		{"a subresource", func(w *cluster.Wanted) { w.Resources = []string{"pods/logs"} },
			"pods/log"},
		{"a verb", func(w *cluster.Wanted) {
			w.Resources, w.Verbs = []string{"pods"},
				[]string{"get,lsit"}
		}, "list"},
		{"a cluster role", func(w *cluster.Wanted) {
			w.Verbs, w.ClusterRoles = nil,
				[]string{"veiw"}
		}, "view"},
	} {
		p.Run(c.name, func(t *testing.T) {
			w := cluster.Wanted{Namespace: "typos", ServiceAccount: "ci",
				Verbs: []string{"get"}}
			c.change(&w)
			_, err := cluster.Plan(t.Context(), p.client, w)
			var unknown *cluster.UnknownError
			if !errors.As(err, &unknown) || len(unknown.Nearest) == 0 ||
				unknown.Nearest[0] != c.nearest {
				t.Errorf("got %v, want %q as the nearest", err, c.nearest)
			}
		})
	}
}

func (p plane) checkAdminRole() {
	p.AsAdmin("create", "clusterrole", "disguised", "--verb=*", "--resource=*.*")
	w := cluster.Wanted{Namespace: "admins", ServiceAccount: "ci",
		ClusterRoles: []string{"disguised"}}
	if _, err := cluster.Plan(p.Context(), p.client, w); !errors.Is(err, cluster.ErrAdmin) {
		p.Errorf("binding a role with everything in it: %v, want %v", err, cluster.ErrAdmin)
	}
	w.AllowAdmin = true
	p.apply(p.plan(w))
}

func (p plane) checkMadeRole() {
	w := cluster.Wanted{Namespace: "made", ServiceAccount: "ci", Verbs: []string{"get", "list"},
		Resources: []string{"deploy", "pods/log,nodes"}}
	p.apply(p.plan(w))
	p.answers("made", map[string]bool{
		"list deployments.apps -n made": true, "list deployments.apps -n default": false,
		"list nodes":                         true,
		"get pods --subresource=log -n made": true, "get pods -n made": false,
		"delete nodes": false,
	})
	wide := cluster.Wanted{Namespace: "made-wide", ServiceAccount: "ci", ClusterWide: true,
		Verbs:     []string{"get"},
		Resources: []string{"configmaps"}, ResourceNames: []string{"one"}}
	p.apply(p.plan(wide))
	p.answers("made-wide", map[string]bool{
		"get configmaps/one -n default": true, "get configmaps/two -n default": false,
		"get configmaps -n made-wide": false,
	})
}

func (p plane) checkExistingRoles() {
	p.AsAdmin("create", "namespace", "bound")
	p.AsAdmin("create", "role", "local", "-n", "bound", "--verb=get", "--resource=secrets")
	p.AsAdmin("create", "clusterrole", "global", "--verb=list", "--resource=pods")
	w := cluster.Wanted{Namespace: "bound", ServiceAccount: "ci", Roles: []string{"local"},
		ClusterRoles: []string{"global"}}
	p.apply(p.plan(w))
	p.answers("bound", map[string]bool{
		"get secrets -n bound": true, "list pods -n bound": true,
		"list pods -n default": false,
	})
	w.ClusterWide = true
	p.apply(p.plan(w))
	p.answers("bound", map[string]bool{"list pods -n default": true,
		"get secrets -n default": false})
}

func (p plane) checkSuperseded() {
	earlier := cluster.Wanted{Namespace: "superseded", ServiceAccount: "ci",
		ClusterRoles: []string{"edit"}, ClusterWide: true,
		Verbs: []string{"get"}, Resources: []string{"pods"}}
	p.apply(p.plan(earlier))
	neighbour := earlier
	neighbour.Namespace = "superseded-not"
	p.apply(p.plan(neighbour))
	later := cluster.Wanted{Namespace: "superseded", ServiceAccount: "ci",
		ClusterRoles: []string{"view"}}
	objects := p.plan(later)
	p.apply(objects)
	got, err := cluster.Superseded(p.Context(), p.client, later, objects)
	want := []cluster.Ref{
		{Kind: "ClusterRoleBinding", Name: "sa-exec-credential:superseded:ci"},
		{Kind: "ClusterRoleBinding", Name: "sa-exec-credential:superseded:ci:cluster-role:edit"},
	}
	if err != nil || !slices.Equal(got, want) {
		p.Errorf("got %v, %v, want %v", got, err, want)
	}
	unspecific := cluster.Wanted{Namespace: "superseded", ServiceAccount: "ci"}
	if got, err := cluster.Superseded(p.Context(), p.client, unspecific,
		p.plan(unspecific)); err != nil || len(got) > 0 {
		p.Errorf("got %v, %v for a wish without rights", got, err)
	}
}

// answers compares what ci may do.
func (p plane) answers(namespace string, want map[string]bool) {
	p.Helper()
	for question, want := range want {
		if got := p.canI(namespace, "ci", strings.Fields(question)...); got != want {
			p.Errorf("may %s/ci %s? %v, want %v", namespace, question, got, want)
		}
	}
}

func (p plane) checkDevices() {
	p.AsAdmin("create", "namespace", "devices")
	name := cluster.NewDeviceName("ci", "laptop.example.com")
	first := p.device("devices", "ci", name)
	if again := p.device("devices", "ci", name); again != first {
		p.Errorf("the second time the device is %v, not %v", again, first)
	}
	p.device("devices", "other", cluster.NewDeviceName("other", "laptop"))
	issued := time.Now().Truncate(time.Second)
	if err := cluster.NoteBootstrap(p.Context(), p.client, "devices", first, issued,
		issued.Add(time.Hour)); err != nil {
		p.Error(err)
	}
	devices, err := cluster.Devices(p.Context(), p.client, "devices", "ci")
	if err != nil || len(devices) != 1 {
		p.Fatalf("devices %+v, %v", devices, err)
	}
	d := devices[0]
	if d.Device != first || d.Owner != (cluster.Owner{Host: "laptop", User: "jane"}) ||
		len(d.Odd) > 0 {
		p.Errorf("device %+v", d)
	}
	if time.Since(d.Created).Abs() > lab.Limit || !d.Issued.Equal(issued) ||
		!d.Expires.Equal(issued.Add(time.Hour)) {
		p.Errorf("times of device %+v", d)
	}
	p.Run("it stays empty", func(t *testing.T) {
		if r := lab.AsAdmin(t, "", "patch", "secret", name, "-n", "devices", "-p",
			`{"stringData":{"a":"b"}}`); r.Code == 0 {
			t.Errorf("somebody can fill it: %s", r.Stdout)
		}
	})
	p.Run("deleting", func(t *testing.T) { p.with(t).checkDeleteDevice(first) })
}

// checkDeviceObjects has others change what makes a device able to mint, and no more: it can
// create tokens for its account and for itself.
func (p plane) checkDeviceObjects() {
	p.AsAdmin("create", "namespace", "whole")
	name := cluster.NewDeviceName("ci", "laptop")
	p.device("whole", "ci", name)
	p.AsAdmin("patch", "role", name, "-n", "whole", "--type=merge", "-p",
		`{"rules":[{"apiGroups":[""],"resources":["secrets"],"verbs":["get"]}]}`)
	p.AsAdmin("patch", "rolebinding", name, "-n", "whole", "--type=merge", "-p",
		`{"subjects":[{"kind":"ServiceAccount","name":"default","namespace":"whole"}]}`)
	p.device("whole", "ci", name)
	for account, want := range map[string]bool{"ci": true, name: true, "default": false} {
		lab.Eventually(p.T, fmt.Sprintf("it can mint for %s: %v", account, want),
			func() bool {
				return p.canI("whole", name, "create", "serviceaccounts/"+account,
					"--subresource=token", "-n", "whole") == want
			})
	}
	if p.canI("whole", name, "get", "secrets", "-n", "whole") {
		p.Error("it can still read Secrets")
	}
}

func (p plane) checkDeleteDevice(device profile.Device) {
	remade := device
	remade.SecretUID = "3f2b0c1e-0000-4000-8000-000000000000"
	for _, c := range []struct {
		name   string
		device profile.Device
		want   []cluster.Deletion // of the account, the Secret
	}{
		{"one whose Secret was made again", remade, []cluster.Deletion{cluster.Deleted,
			cluster.Namesake}},
		{"one that is gone", device, []cluster.Deletion{cluster.Gone, cluster.Gone}},
	} {
		var got []cluster.Deletion
		err := cluster.DeleteDevice(p.Context(), p.client, "devices", c.device,
			func(_ cluster.Ref, result cluster.Deletion) { got = append(got, result) })
		if err != nil || !slices.Equal(got, c.want) {
			p.Errorf("deleting %s: %q, %v, want %q", c.name, got, err, c.want)
		}
	}
	for _, kind := range []string{"secret", "serviceaccount", "role", "rolebinding"} {
		if r := lab.AsAdmin(p.T, "", "get", kind, device.Name, "-n",
			"devices"); r.Code == 0 {
			p.Errorf("its %s is still there", kind)
		}
	}
}

func (p plane) checkLegacySecrets() {
	p.AsAdmin("create", "namespace", "legacy")
	p.AsAdmin("create", "serviceaccount", "ci", "-n", "legacy")
	p.AsAdminWith(`{"apiVersion":"v1","kind":"Secret","metadata":{"name":"ci-token","namespace":"legacy",
		"annotations":{"kubernetes.io/service-account.name":"ci"}},"type":"kubernetes.io/service-account-token"}`, "create", "-f", "-")
	found, err := cluster.ListLegacySecrets(p.Context(), p.client, "legacy", "ci")
	if err != nil || len(found) != 1 || found[0].Name != "ci-token" {
		p.Fatalf("found %+v, %v", found, err)
	}
	if others, err := cluster.ListLegacySecrets(p.Context(), p.client, "legacy",
		"other"); err != nil || len(others) != 0 {
		p.Errorf("found %+v, %v for another account", others, err)
	}
	replaced := found[0]
	replaced.UID = "3f2b0c1e-0000-4000-8000-000000000000"
	if err := cluster.DeleteLegacySecret(p.Context(), p.client, "legacy",
		replaced); !errors.Is(err, api.ErrConflict) {
		p.Errorf("deleting another Secret: %v, want %v", err, api.ErrConflict)
	}
	if err := cluster.DeleteLegacySecret(p.Context(), p.client, "legacy",
		found[0]); err != nil {
		p.Error(err)
	}
	if r := lab.AsAdmin(p.T, "", "get", "secret", "ci-token", "-n", "legacy"); r.Code == 0 {
		p.Errorf("it is still there: %s", r.Stdout)
	}
}

func (p plane) checkAccess() {
	w := cluster.Wanted{Namespace: "access", ServiceAccount: "ci", Verbs: []string{"list,get"},
		Resources: []string{"pods,services,deploy"}}
	p.apply(p.plan(w))
	grant, err := p.minter(p.config).Mint(p.Context(), mint.Request{Namespace: "access",
		ServiceAccount: "ci", Duration: time.Hour})
	if err != nil {
		p.Fatal(err)
	}
	client := p.connect(p.withToken(grant))
	var access cluster.Access
	lab.Eventually(p.T, "the role counts", func() bool {
		access, err = cluster.Rules(p.Context(), client, "access")
		return err != nil || len(access.Can) > 0
	})
	if err != nil {
		p.Fatal(err)
	}
	if len(access.Can) != 1 || access.Can[0].String() != "get, list: pods, deployments.apps, "+
		"services" {
		p.Errorf("can %v", access.Can)
	}
	want := []string{"read secrets", "create pods", "read pods of other namespaces",
		"mint tokens", "do everything"}
	if !slices.Equal(access.Cannot, want) {
		p.Errorf("cannot %q, want %q", access.Cannot, want)
	}
}
