//go:build linux

package clients_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/test/docs"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// blocks are those of docs/controllers.md that say what they are, by that.
func blocks(t *testing.T) map[string]string {
	t.Helper()
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "controllers.md"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for _, block := range docs.Blocks(string(page)) {
		if len(block.Words) > 0 {
			all[block.Words[0]] = block.Text
		}
	}
	return all
}

// controllers are those that the page has patches for, as far as the patches depend on them: those
// of Argo CD v3.5, manifests/install.yaml, and of Flux v2.7, gotk-components.yaml.
var controllers = map[string]struct{ account, namespace, file, workload string }{
	"argocd": {"argocd-application-controller", "argocd", "install.yaml", `
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: argocd-application-controller, namespace: argocd}
spec:
  serviceName: argocd-application-controller
  selector: {matchLabels: {app: x}}
  template:
    metadata: {labels: {app: x}}
    spec:
      serviceAccountName: argocd-application-controller
      containers:
      - name: argocd-application-controller
        image: quay.io/argoproj/argocd:v3.5.0
        args: [/usr/local/bin/argocd-application-controller]
        env: [{name: KUBECACHEDIR, value: /tmp/kubecache}]
        securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]},
          readOnlyRootFilesystem: true, runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
        volumeMounts:
        - {name: argocd-home, mountPath: /home/argocd}
        - {name: argocd-application-controller-tmp, mountPath: /tmp}
      volumes:
      - {name: argocd-home, emptyDir: {}}
      - {name: argocd-application-controller-tmp, emptyDir: {}}
`},
	"flux": {"kustomize-controller", "flux-system", "gotk-components.yaml", `
apiVersion: apps/v1
kind: Deployment
metadata: {name: kustomize-controller, namespace: flux-system}
spec:
  selector: {matchLabels: {app: kustomize-controller}}
  template:
    metadata: {labels: {app: kustomize-controller}}
    spec:
      serviceAccountName: kustomize-controller
      securityContext: {fsGroup: 1337}
      containers:
      - name: manager
        image: ghcr.io/fluxcd/kustomize-controller:v1.7.0
        args: [--watch-all-namespaces, --log-level=info]
        env:
        - name: RUNTIME_NAMESPACE
          valueFrom: {fieldRef: {fieldPath: metadata.namespace}}
        securityContext: {allowPrivilegeEscalation: false, capabilities: {drop: [ALL]},
          readOnlyRootFilesystem: true, runAsNonRoot: true, seccompProfile: {type: RuntimeDefault}}
        volumeMounts: [{name: temp, mountPath: /tmp}]
      volumes: [{name: temp, emptyDir: {}}]
`},
}

// TestWhatThePageShowsForControllersWorks patches each controller as the page does, has the API
// server check it, runs the init containers, and then what the controller would, with the token of
// the controller's own account and nothing else.
func TestWhatThePageShowsForControllersWorks(t *testing.T) {
	t.Parallel()
	for name, controller := range controllers {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := &pod{Machine: lab.NewMachine(t, keyring.Kernel), blocks: blocks(t)}
			p.invite(controller.namespace, controller.account)
			manifest := p.apply(name, controller.file, controller.workload)
			p.run(manifest)
			if name == "flux" {
				p.checkFlux()
			} else {
				p.checkArgo()
			}
		})
	}
}

// pod is a machine that has what the volumes of a pod have, at other places.
type pod struct {
	*lab.Machine
	blocks map[string]string
}

// here are the places of the page on this machine.
func (p *pod) here(text string) string {
	return strings.NewReplacer("/home/argocd", p.Home, "/home/flux", p.Home,
		"/invitations/", p.Path("invitations")+"/", "/var/run/secrets/hub", p.Path("hub"),
		"/plugins", p.Path("plugins"), "https://prod.example.com:6443", p.Server,
		"BASE64", base64Of(lab.Plane.CAPEM), "delivery/argocd", p.Namespace+"/argocd").
		Replace(text)
}

// invite fills the volumes. Here the other cluster is the controller's own, and knows it without a
// prefix.
func (p *pod) invite(namespace, controller string) {
	p.Helper()
	for _, args := range [][]string{{"namespace", namespace},
		{"serviceaccount", controller, "-n", namespace}} {
		lab.AsAdmin(p.T, "", append([]string{"create"}, args...)...) // or it is there
	}
	r := p.Plugin("invite", "argocd", "-n", p.Namespace, "--cluster-role", "view", "--for",
		"hub", "--kubeconfig", p.Admin, "--bootstrap", "token-file=/var/run/secrets/hub/token",
		"--minter-user", "system:serviceaccount:"+namespace+":"+controller).Succeeds()
	p.Write(p.Path("invitations", "prod.invitation"), r.Stdout)
	token := p.AdminsToken("create", "token", controller, "-n", namespace)
	lab.Permit(token)
	p.Write(p.Path("hub", "token"), token)
	if err := os.Mkdir(p.Path("plugins"), 0o777); err != nil {
		p.Fatal(err)
	}
}

// apply builds what the page's kustomization makes of a controller, and has it checked. It returns
// the manifests.
func (p *pod) apply(name, file, workload string) (manifests string) {
	p.Helper()
	dir := lab.Dir(p.T, "kustomization")
	write := func(name, text string) { p.Write(filepath.Join(dir, name), text) }
	write("kustomization.yaml", p.blocks["kustomization="+name])
	write("plugin.yaml", p.blocks["patch="+name])
	write(file, workload)
	namespace := controllers[name].namespace
	write("invitations.yaml", lab.AsAdmin(p.T, "", "create", "configmap", "invitations", "-n",
		namespace, "--from-file="+p.Path("invitations"), "--dry-run=client", "-o",
		"yaml").Succeeds().Stdout)
	manifests = lab.AsAdmin(p.T, "", "kustomize", dir).Succeeds().Stdout
	p.AsAdmin("label", "--overwrite", "namespace", namespace,
		"pod-security.kubernetes.io/warn=restricted")
	for _, text := range []string{manifests, p.blocks["secret="+name]} {
		r := lab.AsAdmin(p.T, text, "apply", "--dry-run=server", "--validate=strict", "-f",
			"-").Succeeds()
		if r.Stderr != "" {
			p.Errorf("the API server warns: %s", r.Stderr)
		}
	}
	return manifests
}

// run runs the init containers.
func (p *pod) run(manifests string) {
	p.Helper()
	var template corev1.PodTemplateSpec
	for _, text := range strings.Split(manifests, "\n---\n") {
		var workload appsv1.Deployment // a StatefulSet has the template in the same place
		if err := yaml.Unmarshal([]byte(text), &workload); err != nil {
			p.Fatal(err)
		}
		if len(workload.Spec.Template.Spec.Containers) > 0 {
			template = workload.Spec.Template
		}
	}
	if len(template.Spec.InitContainers) != 2 {
		p.Fatalf("the init containers are %+v", template.Spec.InitContainers)
	}
	for _, container := range template.Spec.InitContainers {
		c := p.Command()
		for _, word := range container.Command {
			c.Args = append(c.Args, p.here(word))
		}
		c.Args[0] = lab.Plugin
		c.Run(p.T).Succeeds()
	}
}

// checkArgo runs a controller with the Secret.
func (p *pod) checkArgo() {
	p.Helper()
	var secret corev1.Secret
	p.decode(p.blocks["secret=argocd"], &secret)
	f := &fleet{Machine: p.Machine, namespaces: []string{secret.StringData["name"]}}
	answers := f.controller(inventory{Secrets: []argoSecret{{secret.StringData["name"],
		secret.StringData["server"], secret.StringData["config"]}}})
	p.check(answers[0])
}

// checkFlux has kubectl use the kubeconfig, which is as Flux does for all that the plugin sees.
func (p *pod) checkFlux() {
	p.Helper()
	var secret corev1.Secret
	p.decode(p.blocks["secret=flux"], &secret)
	p.Write(p.Kubeconfig(), secret.StringData["value.yaml"])
	r := p.Kubectl("auth", "whoami").Succeeds().Silent()
	lab.Has(p.T, "whoami", r.Stdout, "system:serviceaccount:"+p.Namespace+":argocd")
}

func (p *pod) check(answer seen) {
	p.Helper()
	if answer.User != "system:serviceaccount:"+p.Namespace+":argocd" {
		p.Errorf("the controller is %+v", answer)
	}
}

func (p *pod) decode(text string, into any) {
	p.Helper()
	if err := yaml.UnmarshalStrict([]byte(p.here(text)), into); err != nil {
		p.Fatal(err)
	}
}

// TestTheClusterProfileThatThePageShowsWorks, with the file of providers.
func TestTheClusterProfileThatThePageShowsWorks(t *testing.T) {
	t.Parallel()
	p := &pod{Machine: lab.NewMachine(t, keyring.Kernel), blocks: blocks(t)}
	p.Setup("argocd", "-n", p.Namespace, "--store", "kernel").Succeeds()
	p.Setup("other", "-n", p.Namespace, "--store", "kernel").Succeeds()
	if err := os.Mkdir(p.Path("plugins"), 0o700); err != nil {
		t.Fatal(err)
	}
	p.Plugin("copy-binary", p.Path("plugins")).Succeeds()
	var told inventory
	var shown struct {
		metav1.TypeMeta
		clusterProfile
		Spec any
	}
	p.decode(p.blocks["clusterprofile"], &shown)
	decoder := json.NewDecoder(strings.NewReader(p.here(p.blocks["providers"])))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&told); err != nil {
		t.Fatal(err)
	}
	told.Profiles = []clusterProfile{shown.clusterProfile}
	f := &fleet{Machine: p.Machine, namespaces: []string{shown.Name}}
	p.check(f.controller(told)[0])
}

// TestEveryRowOfThePageNamesATest that there is, or says why there is none.
func TestEveryRowOfThePageNamesATest(t *testing.T) {
	page, err := os.ReadFile("../../docs/clients.md")
	if err != nil {
		t.Fatal(err)
	}
	sources := sources(t)
	rows := 0
	for line := range strings.Lines(string(page)) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		if !strings.HasPrefix(line, "| ") || len(cells) != 4 ||
			strings.Contains(line, "---") || strings.Contains(line, "| shown by |") {
			continue
		}
		rows++
		named := testName.FindAllString(cells[3], -1)
		for _, name := range named {
			if !isTest(sources, name) {
				t.Errorf("%s: there is no test %s", cells[0], name)
			}
		}
		if len(named) == 0 && !reason.MatchString(cells[2]+cells[3]) {
			t.Errorf("%s: neither a test nor a reason: %q", cells[0], cells[3])
		}
	}
	if rows < 15 {
		t.Errorf("the table has %d rows", rows)
	}
}

var (
	testName = regexp.MustCompile(`Test\w+(/[\w.-]+)*`)
	reason   = regexp.MustCompile(`not (run|supported), because \w+ \w+`)
)

// sources are the tests of both modules, and their scripts by name.
func sources(t *testing.T) (text string) {
	t.Helper()
	root := filepath.Join("..", "..")
	for _, dir := range []string{"test", "cmd", "internal"} {
		for _, name := range lab.FilesBelow(t, filepath.Join(root, dir)) {
			switch {
			case strings.HasPrefix(name, "bin/"):
			case strings.HasSuffix(name, "_test.go"):
				data, err := os.ReadFile(filepath.Join(root, dir, name))
				if err != nil {
					t.Fatal(err)
				}
				text += string(data)
			case strings.HasSuffix(name, ".txtar"):
				script := strings.TrimSuffix(filepath.Base(name), ".txtar")
				text += "\nscript " + script + "\n"
			}
		}
	}
	return text
}

// isTest looks for a test, and for the row or script that it is a subtest of.
func isTest(sources, name string) bool {
	test, sub, _ := strings.Cut(name, "/")
	if !strings.Contains(sources, "\nfunc "+test+"(t *testing.T)") {
		return false
	}
	script, isScript := strings.CutPrefix(sub, "scripts/")
	switch {
	case sub == "":
		return true
	case isScript:
		return strings.Contains(sources, "\nscript "+script+"\n")
	}
	return strings.Contains(sources, `{"`+sub+`", (*client).`)
}
