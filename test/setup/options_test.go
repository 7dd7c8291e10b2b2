//go:build linux

package journeys_test

import (
	"encoding/base64"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"
)

func TestADryRunTouchesNothingAndItsManifestsMakeTheSame(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	before := s.files()
	printed := s.start("", append(s.arguments(), "--dry-run")...).succeeds().stdout
	for _, request := range s.gate.requests() {
		if writes(request) {
			t.Errorf("the dry run made the request %s", request)
		}
	}
	if files := s.files(); !slices.Equal(files, before) {
		t.Errorf("the dry run left the files %q", files)
	}
	if keys := s.storeKeys(); len(keys) > 0 {
		t.Errorf("the dry run left %q in the store", keys)
	}
	manifests, client, found := strings.Cut(printed, "---\n# For the client:")
	if !found || !strings.Contains(client, "kind: Config") {
		t.Fatalf("the dry run printed\n%s", printed)
	}
	s.asAdmin(manifests, "apply", "-f", "-")
	byKubectl := s.objectsWithoutManagers()
	s.start("", s.arguments()...).succeeds()
	if bySetup := s.objectsWithoutManagers(); bySetup != byKubectl {
		t.Errorf("setup changed what kubectl had applied:\n%s", difference(byKubectl, bySetup))
	}
}

// objectsWithoutManagers leaves out the device Secret, which only setup makes, and who wrote the rest.
func (s *site) objectsWithoutManagers() string {
	s.Helper()
	var b strings.Builder
	for _, path := range objectPaths(s.namespace) {
		if strings.HasSuffix(path, "/secrets") {
			continue
		}
		var object any
		if err := yaml.Unmarshal([]byte(s.object(path)), &object); err != nil {
			s.Fatal(err)
		}
		encoded, err := yaml.Marshal(withoutManagers(object))
		if err != nil {
			s.Fatal(err)
		}
		fmt.Fprintf(&b, "%s\n%s\n", path, encoded)
	}
	return b.String()
}

func withoutManagers(value any) any {
	switch value := value.(type) {
	case map[string]any:
		delete(value, "managedFields")
		delete(value, "kubectl.kubernetes.io/last-applied-configuration")
		if annotations, found := value["annotations"].(map[string]any); found && len(withoutManagers(annotations).(map[string]any)) == 0 {
			delete(value, "annotations")
		}
		for key, field := range value {
			value[key] = withoutManagers(field)
		}
	case []any:
		for i, item := range value {
			value[i] = withoutManagers(item)
		}
	}
	return value
}

func TestAnotherMachineGetsItsOwnDeviceWithoutTouchingRBAC(t *testing.T) {
	t.Parallel()
	first, second, namespace := newMachine(t), newMachine(t), newNamespace()
	one := first.ready(namespace, "it")
	second.admin = second.preparer(namespace)
	r := second.setup("ci", "-n", namespace, "--profile", "it", "--no-rbac").succeeds()
	has(t, "setup", r.stderr, "not checked")
	second.kubectl("it", "get", "pods").succeeds()
	if two := second.profile("it"); two.Device.UID == one.Device.UID || two.Device.Secret == one.Device.Secret {
		t.Errorf("both machines are %v", two.Device)
	}
	if devices := first.devices(namespace); len(devices) != 2 {
		t.Errorf("the devices are %+v", devices)
	}
}

// preparer is the kubeconfig of somebody who may make Secrets and tokens in a namespace, and nothing else.
func (m *machine) preparer(namespace string) string {
	m.Helper()
	name := "preparer-" + namespace
	m.asAdmin(`{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"preparer","namespace":"`+namespace+`"},"rules":[
		{"apiGroups":[""],"resources":["secrets"],"verbs":["get","create","patch"]},
		{"apiGroups":[""],"resources":["serviceaccounts/token"],"verbs":["create"]}]}`, "apply", "-f", "-")
	m.asAdmin("", "create", "rolebinding", "preparer", "-n", namespace, "--role=preparer", "--user="+name)
	kubeconfig := m.user(name)
	eventually(m.T, "the role counts", func() bool {
		r := m.start("", shared.plane.Kubectl, "--kubeconfig", kubeconfig, "auth", "can-i", "create", "secrets", "-n", namespace)
		return r.code == 0
	})
	return kubeconfig
}

func TestAKubeconfigCanBePrinted(t *testing.T) {
	t.Parallel()
	m, namespace := newMachine(t), newNamespace()
	r := m.setup("ci", "-n", namespace, "--cluster-role", "view", "-o", "-").succeeds()
	file := m.write(m.path("printed"), r.stdout)
	m.start("", shared.plane.Kubectl, "--kubeconfig", file, "get", "pods").succeeds()
	has(t, "the kubeconfig", r.stdout, "provideClusterInfo: true", "interactiveMode: Never", "installHint:", `command: "`+shared.plugin)
	has(t, "standard error", r.stderr, "It works.")
	if _, err := os.Stat(m.kubeconfig()); err == nil {
		t.Error("the user's own kubeconfig was written, too")
	}
}

func TestTheCurrentContextChangesOnlyOnDemand(t *testing.T) {
	t.Parallel()
	m, namespace := newMachine(t), newNamespace()
	m.write(m.kubeconfig(), m.read(m.admin))
	m.ready(namespace, "it")
	if config := m.loadKubeconfig(); config.CurrentContext != "admin@test" {
		t.Errorf("the current context is %q", config.CurrentContext)
	}
	m.ready(namespace, "it", "--use-context")
	if config := m.loadKubeconfig(); config.CurrentContext != "it" {
		t.Errorf("the current context is %q", config.CurrentContext)
	}
}

func TestGuardRailsStopWhatGivesTooMuch(t *testing.T) {
	t.Parallel()
	m, namespace := newMachine(t), newNamespace()
	for i, c := range []struct {
		name string
		args []string
		word string
		flag string
	}{
		{"the account that all pods have", []string{"default"}, "every pod of the namespace", "--allow-default-account"},
		{"the role that may do everything", []string{"ci", "--cluster-role", "cluster-admin"}, "cluster-admin", "--allow-admin"},
		{"every verb", []string{"ci", "--verb", "*", "--resource", "pods"}, `verb "*"`, "--allow-admin"},
		{"every resource", []string{"ci", "--verb", "get", "--resource", "*"}, `resource "*"`, "--allow-admin"},
		{"every resource of a group", []string{"ci", "--verb", "get", "--resource", "*.apps"}, `resource "*.apps"`, "--allow-admin"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := *m
			m.T = t
			args := append(c.args, "-n", namespace, "--profile", fmt.Sprintf("it-%d", i))
			m.setup(args...).fails(2, c.word, c.flag)
			m.setup(append(args, c.flag)...).succeeds()
		})
	}
}

func TestMistakesAreExplained(t *testing.T) {
	t.Parallel()
	m, namespace := newMachine(t), newNamespace()
	m.setup("ci", "-n", namespace, "--verb", "get", "--resource", "deploymets").fails(2, "deploymets", "deployments.apps")
	m.setup("ci", "-n", namespace, "--verb", "gte", "--resource", "pods").fails(2, "gte", "did you mean get")
	m.setup("ci", "-n", namespace, "--cluster-role", "veiw").fails(2, "veiw", "did you mean view")
	m.setup("ci", "-n", namespace, "--context", "amdin@test").fails(2, "amdin@test", "get-contexts")
	m.ready(namespace, "it")
	m.asAdmin("", "patch", "role", "ci-bootstrap", "-n", namespace, "--field-manager=alice", "--type=merge", "-p",
		`{"rules":[{"apiGroups":[""],"resources":["secrets"],"verbs":["get"]}]}`)
	m.setup("ci", "-n", namespace, "--profile", "it").fails(7, `owned by "alice"`, "ci-bootstrap")
}

func TestWhoMayNotGrantIsToldWhy(t *testing.T) {
	t.Parallel()
	m, namespace := newMachine(t), newNamespace()
	m.asAdmin("", "create", "namespace", namespace)
	m.asAdmin("", "create", "rolebinding", "climber", "-n", namespace, "--clusterrole=admin", "--user=climber-"+namespace)
	m.admin = m.user("climber-" + namespace)
	r := m.setup("ci", "-n", namespace, "--cluster-role", "admin", "--verb", "get", "--resource", "nodes")
	r.fails(7, "forbidden", "hint: ")
	m.admin = m.user("nobody-" + namespace)
	m.setup("ci", "-n", namespace).fails(7, "forbidden", "hint: ")
	m.admin = m.preparerOfRoles(namespace)
	m.setup("ci", "-n", namespace, "--verb", "delete", "--resource", "secrets").fails(7, "permissions that you do not hold", "gcloud")
}

// preparerOfRoles is the kubeconfig of somebody who may write roles and hold none of what is in them.
func (m *machine) preparerOfRoles(namespace string) string {
	m.Helper()
	name := "roles-" + namespace
	m.asAdmin(`{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"roles","namespace":"`+namespace+`"},"rules":[
		{"apiGroups":[""],"resources":["serviceaccounts"],"verbs":["get","create","patch"]},
		{"apiGroups":[""],"resources":["serviceaccounts/token"],"verbs":["create"]},
		{"apiGroups":["rbac.authorization.k8s.io"],"resources":["roles","rolebindings"],"verbs":["get","create","patch"]}]}`, "apply", "-f", "-")
	m.asAdmin("", "create", "rolebinding", "roles", "-n", namespace, "--role=roles", "--user="+name)
	kubeconfig := m.user(name)
	eventually(m.T, "the role counts", func() bool {
		r := m.start("", shared.plane.Kubectl, "--kubeconfig", kubeconfig, "auth", "can-i", "create", "roles", "-n", namespace)
		return r.code == 0
	})
	return kubeconfig
}

func TestWithoutACapNothingIsLimited(t *testing.T) {
	t.Parallel()
	m, namespace := newMachine(t), newNamespace()
	p := m.ready(namespace, "it", "--no-cap")
	_, bootstrap := m.tokens(p)
	if code := m.mintStatus(bootstrap, namespace, "ci", 100*3600, nil); code != 201 {
		t.Errorf("a long token without a cap is answered with %d", code)
	}
	out := m.asAdmin("", "get", "validatingadmissionpolicies", "-o", "name")
	if strings.Contains(out, "."+namespace+".") {
		t.Errorf("there is a cap:\n%s", out)
	}
}

// TestEveryBootstrapSourceMints takes the same token out of a file, a variable, a command whose arguments need quotes,
// and another context.
func TestEveryBootstrapSourceMints(t *testing.T) {
	t.Parallel()
	m, namespace := newMachine(t), newNamespace()
	outside := t.TempDir() // what a secret is in is not this program's
	m.ready(namespace, "it")
	token := m.asAdmin("", "create", "token", "ci-bootstrap", "-n", namespace)
	file := m.write(filepath.Join(outside, "the token"), token+"\n")
	for source, argument := range map[string]string{
		"file": "token-file=" + file, "env": "env=MINTER_TOKEN", "command": `command=cat "` + file + `"`, "context": "context=admin@test",
	} {
		t.Run(source, func(t *testing.T) {
			m := *m
			m.T = t
			m.more = []string{"MINTER_TOKEN=" + token}
			r := m.setup("ci", "-n", namespace, "--profile", source, "--bootstrap", argument).succeeds()
			has(t, "the proof", r.stdout, "It works.", "system:serviceaccount:"+namespace+":ci")
			m.run("logout", "--profile", source).succeeds()
			m.kubectl(source, "get", "pods").succeeds()
		})
	}
}

func TestSetupsSideBySideDoNotLoseEachOthersContexts(t *testing.T) {
	t.Parallel()
	m, namespace := newMachine(t), newNamespace()
	const many = 8
	results := make([]result, many)
	var wait sync.WaitGroup
	for i := range many {
		wait.Go(func() { results[i] = m.setup("ci", "-n", namespace, "--profile", fmt.Sprintf("it-%d", i)) })
	}
	wait.Wait()
	for i, r := range results {
		r.succeeds()
		m.kubectl(fmt.Sprintf("it-%d", i), "auth", "whoami").succeeds()
	}
	if config := m.loadKubeconfig(); len(config.Contexts) != many {
		t.Errorf("the kubeconfig has %d contexts, want %d", len(config.Contexts), many)
	}
}

func TestKubectlRefusesThePluginUntilSetupHasAllowedIt(t *testing.T) {
	t.Parallel()
	m, namespace := newMachine(t), newNamespace()
	m.ready(namespace, "it")
	kuberc := m.write(m.path(".kube", "kuberc"), "# mine\napiVersion: kubectl.config.k8s.io/v1beta1\nkind: Preference\n"+
		"credentialPluginPolicy: Allowlist\ncredentialPluginAllowlist:\n- command: /usr/bin/other-plugin\n")
	if r := m.kubectl("it", "get", "pods"); r.code == 0 || !strings.Contains(r.stderr, "not permitted") && !strings.Contains(r.stderr, "allowlist") {
		t.Errorf("kubectl does not refuse: exit code %d\n%s", r.code, r.stderr)
	}
	m.ready(namespace, "it", "--allowlist")
	has(t, "kuberc", m.read(kuberc), "# mine", "/usr/bin/other-plugin", shared.plugin)
}

// TestAKubeconfigOfThreeHundredContextsKeepsAllThatIsInIt has fields that no client knows, and paths relative to the file.
func TestAKubeconfigOfThreeHundredContextsKeepsAllThatIsInIt(t *testing.T) {
	t.Parallel()
	m, namespace := newMachine(t), newNamespace()
	text := m.strangeKubeconfig(300)
	m.write(m.kubeconfig(), text)
	m.write(m.path(".kube", "pki", "ca.crt"), string(shared.plane.CAPEM))
	if err := os.Chmod(m.kubeconfig(), 0o600); err != nil {
		t.Fatal(err)
	}
	m.run("setup", "ci", "-n", namespace, "--profile", "it", "--cluster-role", "view", "--context", "context-7").succeeds()
	m.kubectl("it", "get", "pods").succeeds()
	if info, err := os.Stat(m.kubeconfig()); err != nil || info.Mode() != 0o600 {
		t.Errorf("its mode is %v, %v", info.Mode(), err)
	}
	before, after := document(t, text), document(t, m.read(m.kubeconfig()))
	for _, list := range []string{"clusters", "users", "contexts"} {
		items := after[list].([]any)
		after[list] = slices.DeleteFunc(items, func(item any) bool {
			return strings.HasPrefix(item.(map[string]any)["name"].(string), "it")
		})
		if len(items) != len(after[list].([]any))+1 {
			t.Errorf("not one of the %s is new", list)
		}
	}
	if !reflect.DeepEqual(before, after) {
		t.Error("something else than the new entries is different")
	}
	if _, err := clientcmd.Load([]byte(m.read(m.kubeconfig()))); err != nil {
		t.Error(err)
	}
	if lines := removedLines(text, m.read(m.kubeconfig())); len(lines) > 0 {
		t.Errorf("these lines are not there any more: %q", lines)
	}
}

// strangeKubeconfig has contexts of the test cluster with much that this program does not know.
func (m *machine) strangeKubeconfig(contexts int) string {
	m.Helper()
	config, err := clientcmd.LoadFromFile(m.admin)
	if err != nil {
		m.Fatal(err)
	}
	user := config.AuthInfos["admin"]
	encode := base64.StdEncoding.EncodeToString
	var clusters, names strings.Builder
	for i := range contexts {
		fmt.Fprintf(&clusters, "- cluster:\n    certificate-authority: pki/ca.crt\n    server: %s\n    x-team: \"%d\"\n  name: cluster-%d\n", shared.plane.Server, i, i)
		fmt.Fprintf(&names, "- context:\n    cluster: cluster-%d\n    extensions:\n    - extension:\n        last-update: Mon\n        n: %d\n      name: context_info\n    user: admin\n  name: context-%d\n", i, i, i)
	}
	return "# the head comment stays\napiVersion: v1\nclusters:\n" + clusters.String() + "contexts:\n" + names.String() +
		"current-context: context-0\nkind: Config\npreferences:\n  colors: true\nusers:\n- name: admin\n  user:\n    client-certificate-data: " +
		encode(user.ClientCertificateData) + "\n    client-key-data: " + encode(user.ClientKeyData) + "\nx-unknown:\n- {a: 1}\n"
}

func document(t *testing.T, text string) map[string]any {
	t.Helper()
	var value map[string]any
	if err := yaml.Unmarshal([]byte(text), &value); err != nil {
		t.Fatal(err)
	}
	return value
}

func removedLines(before, after string) (lines []string) {
	kept := map[string]bool{}
	for line := range strings.Lines(after) {
		kept[line] = true
	}
	for line := range strings.Lines(before) {
		if !kept[line] {
			lines = append(lines, line)
		}
	}
	return lines
}
