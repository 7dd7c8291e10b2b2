//go:build linux

package setup_test

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/yaml"

	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

func TestADryRunTouchesNothingAndItsManifestsMakeTheSame(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	before := s.Files()
	printed := s.Plugin(append(s.arguments(), "--dry-run")...).Succeeds().Stdout
	for _, request := range s.Gate.Requests() {
		// A token that is tried and forgotten changes nothing.
		if lab.Writes(request) && !strings.HasSuffix(request, "/token") {
			t.Errorf("the dry run made the request %s", request)
		}
	}
	if files := s.Files(); !slices.Equal(files, before) {
		t.Errorf("the dry run left the files %q", files)
	}
	if keys := s.StoreKeys(); len(keys) > 0 {
		t.Errorf("the dry run left %q in the store", keys)
	}
	manifests, client, found := strings.Cut(printed, "---\n# For the client:")
	if !found || !strings.Contains(client, "kind: Config") {
		t.Fatalf("the dry run printed\n%s", printed)
	}
	s.AsAdminWith(manifests, "apply", "-f", "-")
	byKubectl := s.objectsWithoutManagers()
	s.Plugin(s.arguments()...).Succeeds()
	if bySetup := s.objectsWithoutManagers(); bySetup != byKubectl {
		t.Errorf("setup changed what kubectl had applied:\n%s", difference(byKubectl,
			bySetup))
	}
}

// objectsWithoutManagers leaves out the device, which only setup creates, and who wrote the rest.
func (s *site) objectsWithoutManagers() string {
	s.Helper()
	var b strings.Builder
	for _, path := range objectPaths(s.Namespace) {
		if strings.HasSuffix(path, "/secrets") {
			continue
		}
		var value map[string]any
		if err := yaml.Unmarshal([]byte(object(s.T, path)), &value); err != nil {
			s.Fatal(err)
		}
		if items, isList := value["items"].([]any); isList {
			value["items"] = slices.DeleteFunc(items, isOfDevice)
		}
		encoded, err := yaml.Marshal(withoutManagers(value))
		if err != nil {
			s.Fatal(err)
		}
		fmt.Fprintf(&b, "%s\n%s\n", path, encoded)
	}
	return b.String()
}

func isOfDevice(item any) bool {
	metadata, _ := item.(map[string]any)["metadata"].(map[string]any)
	name, _ := metadata["name"].(string)
	return strings.HasPrefix(name, "ci-device-")
}

func withoutManagers(value any) any {
	switch value := value.(type) {
	case map[string]any:
		delete(value, "managedFields")
		delete(value, "kubectl.kubernetes.io/last-applied-configuration")
		if annotations, found := value["annotations"].(map[string]any); found &&
			len(withoutManagers(annotations).(map[string]any)) == 0 {
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
	first, second, namespace := newMachine(t), newMachine(t), lab.Namespace()
	one := first.Ready(namespace, "it")
	second.Admin = preparer(t, namespace, `"secrets","serviceaccounts"`)
	r := second.Setup("ci", "-n", namespace, "--profile", "it", "--no-rbac").Succeeds()
	lab.Has(t, "setup", r.Stderr, "limits: in force, as others have set them")
	second.Kubectl("--context", "it", "get", "pods").Succeeds()
	if two := second.Load("it"); two.Device.SecretUID == one.Device.SecretUID ||
		two.Device.Name == one.Device.Name {
		t.Errorf("both machines are %v", two.Device)
	}
	if devices := first.Devices(namespace); len(devices) != 2 {
		t.Errorf("the devices are %+v", devices)
	}
}

// preparer is the kubeconfig of somebody who may prepare accounts in a namespace, and nothing else:
// with Secrets among the resources also machines of theirs.
func preparer(t *testing.T, namespace, resources string) (kubeconfig string) {
	t.Helper()
	name := "preparer-" + namespace
	lab.AsAdmin(t, `{"apiVersion":"rbac.authorization.k8s.io/v1","kind":"Role","metadata":{"name":"preparer","namespace":"`+namespace+`"},"rules":[
		{"apiGroups":[""],"resources":[`+resources+`],"verbs":["get","create","patch"]},
		{"apiGroups":[""],"resources":["serviceaccounts/token"],"verbs":["create"]},
		{"apiGroups":["rbac.authorization.k8s.io"],"resources":["roles","rolebindings"],"verbs":["get","create","patch"]}]}`,
		"apply", "-f", "-").Succeeds()
	lab.AsAdmin(t, "", "create", "rolebinding", "preparer", "-n", namespace, "--role=preparer",
		"--user="+name).Succeeds()
	lab.Eventually(t, "the role counts", func() bool {
		return lab.AsAdmin(t, "", "auth", "can-i", "patch", "roles", "-n", namespace,
			"--as="+name).Code == 0
	})
	return lab.User(t, name)
}

func TestAKubeconfigCanBePrinted(t *testing.T) {
	t.Parallel()
	m, namespace := newMachine(t), lab.Namespace()
	r := m.Setup("ci", "-n", namespace, "--cluster-role", "view", "-o", "-").Succeeds()
	file := m.Write(m.Path("printed"), r.Stdout)
	m.Exec(lab.Plane.Kubectl, "--kubeconfig", file, "get", "pods").Succeeds()
	lab.Has(t, "the kubeconfig", r.Stdout, "provideClusterInfo: true", "interactiveMode: Never",
		"installHint:", `command: "`+lab.Plugin)
	lab.Has(t, "standard error", r.Stderr, "It works.")
	if _, err := os.Stat(m.Kubeconfig()); err == nil {
		t.Error("the user's own kubeconfig was written, too")
	}
}

func TestTheCurrentContextChangesOnlyOnDemand(t *testing.T) {
	t.Parallel()
	m, namespace := newMachine(t), lab.Namespace()
	m.Write(m.Kubeconfig(), m.Read(m.Admin))
	m.Ready(namespace, "it")
	if config := m.LoadKubeconfig(); config.CurrentContext != "admin@test" {
		t.Errorf("the current context is %q", config.CurrentContext)
	}
	m.Ready(namespace, "it", "--use-context")
	if config := m.LoadKubeconfig(); config.CurrentContext != "it" {
		t.Errorf("the current context is %q", config.CurrentContext)
	}
}

func TestGuardRailsStopWhatGivesTooMuch(t *testing.T) {
	t.Parallel()
	m, namespace := newMachine(t), lab.Namespace()
	for i, c := range []struct {
		name string
		args []string
		word string
		flag string
	}{
		{"the account that all pods have", []string{"default"},
			"every pod of the namespace", "--allow-default-account"},
		{"the role that may do everything", []string{"ci", "--cluster-role",
			"cluster-admin"}, "cluster-admin", "--allow-admin"},
		{"every verb", []string{"ci", "--verb", "*", "--resource", "pods"}, `verb "*"`,
			"--allow-admin"},
		{"every resource", []string{"ci", "--verb", "get", "--resource", "*"},
			`resource "*"`, "--allow-admin"},
		{"every resource of a group", []string{"ci", "--verb", "get", "--resource",
			"*.apps"}, `resource "*.apps"`, "--allow-admin"},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := m.in(t)
			args := append(c.args, "-n", namespace, "--profile", fmt.Sprintf("it-%d",
				i))
			m.Setup(args...).Fails(2, c.word, c.flag)
			m.Setup(append(args, c.flag)...).Succeeds()
		})
	}
}

func TestMistakesAreExplained(t *testing.T) {
	t.Parallel()
	m, namespace := newMachine(t), lab.Namespace()
	m.Setup("ci", "-n", namespace, "--verb", "get", "--resource", "deploymets").Fails(2,
		"deploymets", "deployments.apps")
	m.Setup("ci", "-n", namespace, "--verb", "gte", "--resource", "pods").Fails(2, "gte",
		"did you mean get")
	m.Setup("ci", "-n", namespace, "--cluster-role", "veiw").Fails(2, "veiw",
		"did you mean view")
	m.Setup("ci", "-n", namespace, "--context", "amdin@test").Fails(2, "amdin@test",
		"get-contexts")
	m.Setup("ci", "-n", namespace, "--verb", "get", "--resource", "pods").Succeeds()
	m.AsAdmin("patch", "role", madeRole, "-n", namespace, "--field-manager=alice",
		"--type=merge", "-p",
		`{"rules":[{"apiGroups":[""],"resources":["secrets"],"verbs":["get"]}]}`)
	m.Setup("ci", "-n", namespace, "--verb", "get", "--resource", "pods").Fails(7,
		`owned by "alice"`, madeRole)
}

func TestWhoMayNotGrantIsToldWhy(t *testing.T) {
	t.Parallel()
	m, namespace := newMachine(t), lab.Namespace()
	m.AsAdmin("create", "namespace", namespace)
	m.AsAdmin("create", "rolebinding", "climber", "-n", namespace, "--clusterrole=admin",
		"--user=climber-"+namespace)
	m.Admin = lab.User(m.T, "climber-"+namespace)
	r := m.Setup("ci", "-n", namespace, "--cluster-role", "admin", "--verb", "get",
		"--resource", "nodes")
	r.Fails(7, `create, patch clusterrolebindings, clusterroles "sa-exec-credential:`+namespace,
		"nor to grant what you do not hold yourself: get nodes\n", "hint: ")
	variables := m.Variables
	m.Variables = append(variables, "KUBECONFIG="+lab.Plane.AdminKubeconfig)
	m.Follow(r, "create role sa-exec-credential-setup-")
	m.Variables = variables
	m.Setup("ci", "-n", namespace, "--cluster-role", "admin", "--verb", "get", "--resource",
		"nodes").Succeeds()
	m.Admin = lab.User(m.T, "nobody-"+namespace)
	m.Setup("ci", "-n", namespace).Fails(7, "you are not allowed to create", "hint: ")
	m.Admin = preparer(t, namespace, `"serviceaccounts"`)
	m.Setup("ci", "-n", namespace, "--verb", "delete", "--resource", "secrets").Fails(7,
		"grant what you do not hold yourself: delete secrets", "gcloud")
}

// TestNoLimitsWritesNone: the limits that a cluster has for all accounts count all the same.
func TestNoLimitsWritesNone(t *testing.T) {
	t.Parallel()
	m, namespace := newMachine(t), lab.Namespace()
	m.Ready(lab.Namespace(), "limited")
	p := m.Ready(namespace, "it", "--no-limits")
	limits := m.AsAdmin("get", "configmap", "limits", "-n", "sa-exec-credential", "-o", "yaml")
	if strings.Contains(limits, namespace+".ci") {
		t.Errorf("there are limits:\n%s", limits)
	}
	_, bootstrap := m.Tokens(p)
	for seconds, want := range map[int]int{3600: http.StatusCreated,
		3601: http.StatusForbidden} {
		if a := lab.Holder(bootstrap).Ask(t, http.MethodPost, lab.TokenOf(namespace, "ci"),
			lab.TokenRequest(seconds, p.Device.Name)); a.Code != want {
			t.Errorf("a token of %d s is answered with %d, want %d", seconds, a.Code,
				want)
		}
	}
	m.Setup("ci", "-n", namespace, "--profile", "long", "--no-limits", "--duration",
		"2h").Fails(2, "limits of the cluster")
}

// TestEveryBootstrapSourceMints takes a token out of a file, a variable, a command whose
// arguments need quotes, and another context.
func TestEveryBootstrapSourceMints(t *testing.T) {
	t.Parallel()
	m, namespace := newMachine(t), lab.Namespace()
	outside := t.TempDir() // what a secret is in is not this program's
	m.Ready(namespace, "it")
	m.AsAdmin("create", "serviceaccount", "runner", "-n", namespace)
	m.AsAdmin("create", "role", "runner", "-n", namespace, "--verb=create",
		"--resource=serviceaccounts/token", "--resource-name=ci")
	m.AsAdmin("create", "rolebinding", "runner", "-n", namespace, "--role=runner",
		"--serviceaccount="+namespace+":runner")
	create := func() string {
		return m.AdminsToken("create", "token", "runner", "-n",
			namespace)
	}
	file, variable := m.Write(filepath.Join(outside, "the token"), create()+"\n"), create()
	lab.Permit(variable)
	for source, argument := range map[string]string{
		"file": "token-file=" + file, "env": "env=MINTER_TOKEN",
		"command": `command=cat "` + file + `"`, "context": "context=admin@test",
	} {
		t.Run(source, func(t *testing.T) {
			m := m.in(t)
			m.Variables = []string{"MINTER_TOKEN=" + variable}
			r := m.Setup("ci", "-n", namespace, "--profile", source, "--bootstrap",
				argument).Succeeds()
			lab.Has(t, "the proof", r.Stdout, "It works.",
				"system:serviceaccount:"+namespace+":ci")
			m.Plugin("logout", "--profile", source).Succeeds()
			m.Kubectl("--context", source, "get", "pods").Succeeds()
		})
	}
}

func TestSetupsSideBySideDoNotLoseEachOthersContexts(t *testing.T) {
	t.Parallel()
	m, namespace := newMachine(t), lab.Namespace()
	const many = 8
	results := make([]lab.Result, many)
	var wait sync.WaitGroup
	for i := range many {
		wait.Go(func() {
			results[i] = m.Setup("ci", "-n", namespace, "--profile",
				fmt.Sprintf("it-%d", i))
		})
	}
	wait.Wait()
	for i, r := range results {
		r.Succeeds()
		m.Kubectl("--context", fmt.Sprintf("it-%d", i), "auth", "whoami").Succeeds()
	}
	if config := m.LoadKubeconfig(); len(config.Contexts) != many {
		t.Errorf("the kubeconfig has %d contexts, want %d", len(config.Contexts), many)
	}
}

func TestKubectlRefusesThePluginUntilSetupHasAllowedIt(t *testing.T) {
	t.Parallel()
	m, namespace := newMachine(t), lab.Namespace()
	m.Ready(namespace, "it")
	kuberc := m.Write(m.Path(".kube", "kuberc"),
		"# mine\napiVersion: kubectl.config.k8s.io/v1beta1\nkind: Preference\n"+
			"credentialPluginPolicy: Allowlist\ncredentialPluginAllowlist:\n- "+
			"command: "+
			"/usr/bin/other-plugin\n")
	if r := m.Kubectl("--context", "it", "get", "pods"); r.Code == 0 ||
		!strings.Contains(r.Stderr, "not permitted") && !strings.Contains(r.Stderr,
			"allowlist") {
		t.Errorf("kubectl does not refuse: exit code %d\n%s", r.Code, r.Stderr)
	}
	m.Ready(namespace, "it", "--allowlist")
	lab.Has(t, "kuberc", m.Read(kuberc), "# mine", "/usr/bin/other-plugin", lab.Plugin)
}

// TestAKubeconfigOfThreeHundredContextsKeepsAllThatIsInIt has fields that no client knows, and
// paths relative to the file.
func TestAKubeconfigOfThreeHundredContextsKeepsAllThatIsInIt(t *testing.T) {
	t.Parallel()
	m, namespace := newMachine(t), lab.Namespace()
	text := m.strangeKubeconfig(300)
	m.Write(m.Kubeconfig(), text)
	m.Write(m.Path(".kube", "pki", "ca.crt"), string(lab.Plane.CAPEM))
	if err := os.Chmod(m.Kubeconfig(), 0o600); err != nil {
		t.Fatal(err)
	}
	m.Plugin("setup", "ci", "-n", namespace, "--profile", "it", "--cluster-role", "view",
		"--context", "context-7").Succeeds()
	m.Kubectl("--context", "it", "get", "pods").Succeeds()
	if info, err := os.Stat(m.Kubeconfig()); err != nil || info.Mode() != 0o600 {
		t.Errorf("its mode is %v, %v", info.Mode(), err)
	}
	before, after := document(t, text), document(t, m.Read(m.Kubeconfig()))
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
	if _, err := clientcmd.Load([]byte(m.Read(m.Kubeconfig()))); err != nil {
		t.Error(err)
	}
	if lines := removedLines(text, m.Read(m.Kubeconfig())); len(lines) > 0 {
		t.Errorf("these lines are not there any more: %q", lines)
	}
}

// strangeKubeconfig has contexts of the test cluster with much that this program does not know.
func (m *machine) strangeKubeconfig(contexts int) string {
	m.Helper()
	user := lab.LoadKubeconfig(m.T, m.Admin).AuthInfos["admin"]
	encode := base64.StdEncoding.EncodeToString
	var clusters, names strings.Builder
	for i := range contexts {
		fmt.Fprintf(&clusters, "- cluster:\n    certificate-authority: pki/ca.crt\n    "+
			"server: %s\n    x-team: \"%d\"\n  name: cluster-%d\n", lab.Plane.Server, i,
			i)
		fmt.Fprintf(&names, "- context:\n    cluster: cluster-%d\n    extensions:\n    - "+
			"extension:\n        last-update: Mon\n        n: %d\n      name: "+
			"context_info\n    user: admin\n  name: context-%d\n", i, i, i)
	}
	return "# the head comment stays\napiVersion: v1\nclusters:\n" + clusters.String() +
		"contexts:\n" + names.String() +
		"current-context: context-0\nkind: Config\npreferences:\n  colors: " +
		"true\nusers:\n- name: admin\n  user:\n    client-certificate-data: " +
		encode(user.ClientCertificateData) + "\n    client-key-data: " +
		encode(user.ClientKeyData) + "\nx-unknown:\n- {a: 1}\n"
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
