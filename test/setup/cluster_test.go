//go:build linux

package setup_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/bootstrap"
	"github.com/sa-exec-credential/sa-exec-credential/internal/cluster"
	"github.com/sa-exec-credential/sa-exec-credential/internal/connect"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// plane is the control plane with what the tests of internal/cluster do to it.
type plane struct {
	*lab.Machine
	config *rest.Config // the administrator's
	client *api.Client
}

// TestCluster tries internal/cluster through the same REST client as the plugin, and looks at the
// outcome with kubectl. Each test has a namespace of its own.
func TestCluster(t *testing.T) {
	t.Parallel()
	p := plane{Machine: newMachine(t).Machine, config: lab.Config()}
	p.client = p.connect(p.config)
	for name, test := range map[string]func(plane){
		"a second run changes nothing":                       plane.checkTwice,
		"manifests applied by kubectl give the same objects": plane.checkManifests,
		"a conflict names the owner":                         plane.checkConflict,
		"existing namespaces and accounts are left alone":    plane.checkExisting,
		"a namespace that is being deleted is an error":      plane.checkTerminating,
		"a binding for another role is an error":             plane.checkRoleRef,
		"without the right to set limits setup goes on":      plane.checkNoLimits,
		"eight setups at once do not fail":                   plane.checkTogether,
		"bindings of earlier setups are listed":              plane.checkSuperseded,
		"escalation is explained":                            plane.checkEscalation,
		"both ways of discovery find the same":               plane.checkDiscovery,
		"a typo gets the nearest names":                      plane.checkTypos,
		"roles that give everything away are noticed":        plane.checkAdminRole,
		"a made role counts where it was asked for":          plane.checkMadeRole,
		"existing roles are bound":                           plane.checkExistingRoles,
		"devices come and go":                                plane.checkDevices,
		"the objects of a device are made whole":             plane.checkDeviceObjects,
		"legacy Secrets are found and deleted by uid":        plane.checkLegacySecrets,
		"what an account can do is summed up":                plane.checkAccess,
		"a made role is brought up to date":                  plane.checkMadeRoleTwice,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(p.with(t))
		})
	}
}

func (p plane) with(t *testing.T) plane {
	p.Machine = p.In(t)
	return p
}

func (p plane) connect(config *rest.Config) *api.Client {
	p.Helper()
	client, err := connect.To(config)
	if err != nil {
		p.Fatal(err)
	}
	return client
}

// clientOf is that of a kubeconfig.
func (p plane) clientOf(kubeconfig string) *api.Client {
	p.Helper()
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		p.Fatal(err)
	}
	return p.connect(config)
}

// withToken is the administrator's way to the server, with a token in place of the certificate.
func (p plane) withToken(grant mint.Grant) *rest.Config {
	config := rest.AnonymousClientConfig(p.config)
	config.BearerToken = grant.Token.Reveal()
	return config
}

func (p plane) minter(config *rest.Config) *mint.Client {
	p.Helper()
	minter, err := bootstrap.Minter(config, time.Now)
	if err != nil {
		p.Fatal(err)
	}
	return minter
}

// canI asks for a service account.
func (p plane) canI(namespace, account string, question ...string) bool {
	p.Helper()
	args := append([]string{"auth", "can-i", "--as=system:serviceaccount:" + namespace + ":" +
		account}, question...)
	return lab.AsAdmin(p.T, "", args...).Stdout == "yes\n"
}

func (p plane) plan(w cluster.Wanted) []cluster.Object {
	p.Helper()
	planned, err := cluster.Plan(p.Context(), p.client, w)
	if err != nil {
		p.Fatal(err)
	}
	return planned.Objects
}

// apply returns the progress lines.
func (p plane) apply(objects []cluster.Object) ([]string, []cluster.Warning) {
	p.Helper()
	var steps []string
	warnings, err := cluster.Apply(p.Context(), p.client, objects, func(ref cluster.Ref,
		result cluster.Result) {
		steps = append(steps, fmt.Sprintf("%v: %s", ref, result))
	})
	if err != nil {
		p.Fatal(err)
	}
	return steps, warnings
}

// applyAs expects an error of somebody else's setup.
func (p plane) applyAs(client *api.Client, objects []cluster.Object) ([]cluster.Warning, error) {
	return cluster.Apply(p.Context(), client, objects, func(cluster.Ref, cluster.Result) {})
}

func (p plane) device(namespace, account, name string) profile.Device {
	p.Helper()
	device, err := cluster.EnsureDevice(p.Context(), p.client, cluster.DeviceSpec{
		Namespace: namespace, Account: account, Name: name,
		Owner: cluster.Owner{Host: "laptop", User: "jane"}})
	if err != nil {
		p.Fatal(err)
	}
	return device
}

// get returns an object as the API server has it.
func (p plane) get(ref cluster.Ref) map[string]any {
	p.Helper()
	args := []string{"get", ref.Kind, ref.Name, "-o", "json", "--show-managed-fields"}
	if ref.Namespace != "" {
		args = append(args, "-n", ref.Namespace)
	}
	var object map[string]any
	p.Decode(lab.AsAdmin(p.T, "", args...), &object)
	return object
}

func (p plane) resourceVersions(objects []cluster.Object) map[cluster.Ref]string {
	p.Helper()
	versions := map[cluster.Ref]string{}
	for _, object := range objects {
		metadata := p.get(object.Ref())["metadata"].(map[string]any)
		versions[object.Ref()] = metadata["resourceVersion"].(string)
	}
	return versions
}

// everything is a wish that needs every kind of object.
func everything(namespace, account string) cluster.Wanted {
	return cluster.Wanted{Namespace: namespace, ServiceAccount: account,
		ClusterRoles: []string{"view"},
		Verbs:        []string{"get,list"}, Resources: []string{"po,deployments.apps",
			"pods/log",
			"nodes"},
		Limits: true}
}

// madeRole is the name of the role that minimal wants, and of its binding.
const madeRole = "sa-exec-credential:ci"

func minimal(namespace, account string) cluster.Wanted {
	return cluster.Wanted{Namespace: namespace, ServiceAccount: account, Verbs: []string{"get"},
		Resources: []string{"pods"}}
}

func (p plane) checkTwice() {
	objects := p.plan(everything("twice", "ci"))
	first, warnings := p.apply(objects)
	if len(warnings) > 0 {
		p.Errorf("warnings: %v", warnings)
	}
	for _, step := range first {
		// the policy of all accounts
		isShared := strings.Contains(step, `"sa-exec-credential"`)
		if !strings.HasSuffix(step, ": created") && !isShared {
			p.Errorf("first run: %s", step)
		}
	}
	before := p.resourceVersions(objects)
	second, _ := p.apply(p.plan(everything("twice", "ci")))
	for _, step := range second {
		if !strings.HasSuffix(step, ": unchanged") && !strings.HasSuffix(step,
			": left as it is") {
			p.Errorf("second run: %s", step)
		}
	}
	for ref, version := range p.resourceVersions(objects) {
		if before[ref] != version {
			p.Errorf("%v was written to by the second run", ref)
		}
	}
}

// checkMadeRoleTwice changes a made role, which is ours to change.
func (p plane) checkMadeRoleTwice() {
	w := minimal("change", "ci")
	w.Verbs, w.Resources = []string{"get"}, []string{"pods"}
	p.apply(p.plan(w))
	w.Verbs = []string{"list"}
	p.apply(p.plan(w))
	if p.canI("change", "ci", "get", "pods", "-n", "change") || !p.canI("change", "ci", "list",
		"pods", "-n", "change") {
		p.Error("the second run's verbs are not those of the role")
	}
}

func (p plane) checkManifests() {
	objects := p.plan(everything("gitops", "ci"))
	p.AsAdminWith(string(cluster.Manifests(objects)), "apply", "-f", "-")
	byKubectl := p.functions(objects)
	before := p.resourceVersions(objects)
	p.apply(objects)
	for ref, version := range p.resourceVersions(objects) {
		if before[ref] != version {
			p.Errorf("%v was written to by setup although kubectl had applied it", ref)
		}
	}
	for _, object := range slices.Backward(objects) {
		ref := object.Ref()
		if ref.Kind == "Namespace" || ref.IsPolicy() {
			continue // one would take its time, the others are everybody's
		}
		if ref.Namespace != "" {
			p.AsAdmin("delete", ref.Kind, ref.Name, "-n", ref.Namespace)
		} else {
			p.AsAdmin("delete", ref.Kind, ref.Name)
		}
	}
	p.apply(objects)
	for ref, ours := range p.functions(objects) {
		if ours != byKubectl[ref] {
			p.Errorf("%v differs:\nkubectl %s\nsetup   %s", ref, byKubectl[ref], ours)
		}
	}
}

// functions are what objects are for, and their labels.
func (p plane) functions(objects []cluster.Object) map[cluster.Ref]string {
	p.Helper()
	functions := map[cluster.Ref]string{}
	for _, object := range objects {
		live := p.get(object.Ref())
		live["labels"] = live["metadata"].(map[string]any)["labels"]
		delete(live, "metadata")
		delete(live, "status")
		encoded, err := json.Marshal(live)
		if err != nil {
			p.Fatal(err)
		}
		functions[object.Ref()] = string(encoded)
	}
	return functions
}

func (p plane) checkConflict() {
	w := minimal("conflict", "ci")
	p.apply(p.plan(w))
	p.AsAdmin("patch", "role", madeRole, "-n", "conflict", "--field-manager=alice",
		"--type=merge",
		"-p", `{"rules":[{"apiGroups":[""],"resources":["secrets"],"verbs":["get"]}]}`)
	_, err := p.applyAs(p.client, p.plan(w))
	var conflict *cluster.ConflictError
	if !errors.As(err, &conflict) || !errors.Is(err, api.ErrConflict) {
		p.Fatalf("applying over another manager's change: %v", err)
	}
	if want := (cluster.OwnedField{Field: ".rules",
		Manager: "alice"}); !slices.Contains(conflict.Fields, want) {
		p.Errorf("conflict %v, want %v", conflict.Fields, want)
	}
	var object *cluster.ObjectError
	if !errors.As(err, &object) || object.Object.Name != madeRole ||
		object.Object.Kind != "Role" {
		p.Errorf("the error is not about the role: %v", err)
	}
}

func (p plane) checkExisting() {
	p.AsAdmin("create", "namespace", "existing")
	p.AsAdmin("create", "serviceaccount", "ci", "-n", "existing")
	refs := []cluster.Ref{{Kind: "Namespace", Name: "existing"}, {Kind: "ServiceAccount",
		Namespace: "existing", Name: "ci"}}
	var before []map[string]any
	for _, ref := range refs {
		before = append(before, p.get(ref))
	}
	p.apply(p.plan(minimal("existing", "ci")))
	for i, ref := range refs {
		was, _ := json.Marshal(before[i])
		is, _ := json.Marshal(p.get(ref))
		if !bytes.Equal(was, is) {
			p.Errorf("%v was %s, is %s", ref, was, is)
		}
	}
}

func (p plane) checkTerminating() {
	p.AsAdmin("create", "namespace", "dying")
	p.AsAdminWith(`{"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"stays","namespace":"dying","finalizers":["example.com/stays"]}}`,
		"create", "-f", "-")
	p.AsAdmin("delete", "namespace", "dying", "--wait=false")
	if _, err := cluster.Plan(p.Context(), p.client, minimal("dying", "ci")); !errors.Is(err,
		cluster.ErrTerminating) {
		p.Errorf("planning in a dying namespace: %v, want %v", err,
			cluster.ErrTerminating)
	}
}

func (p plane) checkRoleRef() {
	p.AsAdmin("create", "namespace", "roleref")
	p.AsAdmin("create", "rolebinding", madeRole, "-n", "roleref", "--clusterrole=edit",
		"--user=jane")
	_, err := cluster.Plan(p.Context(), p.client, minimal("roleref", "ci"))
	var mismatch *cluster.RoleRefError
	if !errors.As(err, &mismatch) || mismatch.Has != `ClusterRole "edit"` ||
		mismatch.Wanted != `Role "`+madeRole+`"` {
		p.Errorf("applying over another binding: %v", err)
	}
}

// restricted returns a client for somebody who may prepare accounts in a new namespace, and nothing
// else.
func (p plane) restricted(namespace string) *api.Client {
	p.Helper()
	p.AsAdmin("create", "namespace", namespace)
	return p.clientOf(preparer(p.T, namespace, `"serviceaccounts","secrets"`))
}

func (p plane) checkNoLimits() {
	client := p.restricted("nolimits")
	w := cluster.Wanted{Namespace: "nolimits", ServiceAccount: "ci", Limits: true}
	planned, err := cluster.Plan(p.Context(), client, w)
	if err != nil {
		p.Fatal(err)
	}
	warnings, err := p.applyAs(client, planned.Objects)
	if err != nil {
		p.Fatal(err)
	}
	if len(warnings) != 1 || warnings[0].Kind != cluster.LimitsForbidden {
		p.Errorf("warnings %v, want one that limits are forbidden", warnings)
	}
}

// checkTogether runs several setups for one account at once, as machines do that are installed
// together.
func (p plane) checkTogether() {
	objects := p.plan(everything("together", "ci"))
	failures := make(chan error)
	const machines = 8
	for range machines {
		go func() {
			_, err := p.applyAs(p.client, objects)
			failures <- err
		}()
	}
	for range machines {
		if err := <-failures; err != nil {
			p.Error(err)
		}
	}
	steps, _ := p.apply(objects)
	for _, step := range steps {
		if !strings.HasSuffix(step, ": unchanged") && !strings.HasSuffix(step,
			": left as it is") {
			p.Errorf("one more run: %s", step)
		}
	}
}

func (p plane) checkEscalation() {
	client := p.restricted("escalation")
	w := minimal("escalation", "ci")
	w.Verbs, w.Resources = []string{"delete"}, []string{"secrets"}
	objects := p.plan(w)
	_, err := p.applyAs(client, objects)
	var escalation *cluster.EscalationError
	if !errors.As(err, &escalation) || !errors.Is(err, api.ErrForbidden) {
		p.Fatalf("granting what one does not hold: %v", err)
	}
	if len(escalation.Missing) != 1 || !strings.Contains(escalation.Missing[0], "secrets") {
		p.Errorf("missing rules %q", escalation.Missing)
	}
	nobody := p.clientOf(lab.User(p.T, "nobody"))
	if _, err := p.applyAs(nobody, objects); !errors.Is(err, api.ErrForbidden) ||
		errors.As(err, &escalation) {
		p.Errorf("preparing without any right: %v", err)
	}
}
