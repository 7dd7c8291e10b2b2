//go:build linux

package get_test

import (
	"encoding/json"
	"fmt"
	"net/url"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// pythonScript lists pods with Debian's python3-kubernetes, which is older than 32.
const pythonScript = `
import kubernetes, sys
assert int(kubernetes.__version__.split(".")[0]) < 32, kubernetes.__version__
kubernetes.config.load_kube_config()
print(len(kubernetes.client.CoreV1Api().list_namespaced_pod(sys.argv[1]).items))
`

// csharp is the exec info of C#'s client: github.com/kubernetes-client/csharp,
// KubernetesClientConfiguration.ConfigFile.cs, CreateRunnableExternalProcess.
const csharp = `{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredentials","spec":{"interactive":false}}`

// TestClientsThatSayNothingOfTheirClusterAreToldWhatAllowsThem runs what the hint says, as a
// reader would, and then the same clients again.
func TestClientsThatSayNothingOfTheirClusterAreToldWhatAllowsThem(t *testing.T) {
	bothStores(t, func(t *testing.T, kind keyring.Kind) {
		m := newMachine(t, kind, nil)
		m.Prepare("--duration", "30m")
		python := m.Exec("/usr/bin/python3", "-c", pythonScript, m.Namespace)
		if python.Code == 0 {
			t.Error("Python's client got a token")
		}
		// Python's client logs what the plugin says on one line, and goes on without a
		// token.
		lab.Has(t, "Python's client", python.Stderr,
			"the client sent no cluster information", "Python before 32",
			"if it is there, the client cannot send cluster information")
		m.getWith(csharp).OneError(exitProfile, "C#")
		silent := m.asClient("", "get", "--profile", m.Profile).OneError(exitProfile,
			"JavaScript of every version", "Ruby", "Java")
		m.Follow(silent, "sa-exec-credential token")
		command := m.Follow(m.getWith(csharp), "--duration 30m",
			"--allow-missing-cluster-info")
		if p := m.Configuration(); !p.AllowMissingClusterInfo ||
			p.Duration.String() != "30m0s" || p.Store != kind {
			t.Errorf("after %s the profile is %+v", command, p)
		}
		if r := m.Exec("/usr/bin/python3", "-c", pythonScript,
			m.Namespace).Succeeds().Silent(); r.Stdout != "0\n" {
			t.Errorf("Python's client said %q", r.Stdout)
		}
		m.getWith(csharp).Silent().Token()
		m.asClient("", "get", "--profile", m.Profile).Silent().Token()
	})
}

// TestAClientWhoseAuthorityCameAsAFileIsToldHowToEmbedIt is about Python's client since 32, whose
// exec info holds the cluster as it stands in the kubeconfig.
func TestAClientWhoseAuthorityCameAsAFileIsToldHowToEmbedIt(t *testing.T) {
	m := newMachine(t, keyring.Kernel, nil)
	m.Prepare()
	cluster := m.LoadKubeconfig().Contexts[m.Profile].Cluster
	file := m.Write(m.Path("the ca.crt"), string(lab.Plane.CAPEM))
	m.Kubectl("config", "set-cluster", cluster, "--certificate-authority="+file).Succeeds()
	m.Kubectl("config", "unset", "clusters."+cluster+".certificate-authority-data").Succeeds()
	m.Kubectl("get", "pods").Succeeds() // it reads the file for the plugin

	r := m.getWith(m.PythonExecInfo(m.Kubeconfig(), m.Profile))
	r.OneError(exitProfile, "as a file (certificate-authority)")
	m.Follow(r, "set-cluster")
	if m.getWith(m.PythonExecInfo(m.Kubeconfig(), m.Profile)).Silent().Token() == "" {
		t.Error("no token")
	}
	m.Kubectl("get", "pods").Succeeds()
}

// TestAStoreThatCannotBeUsedIsReplacedByTheKernel: what is in front of it keeps the token, once there
// is one, so no client notices.
func TestAStoreThatCannotBeUsedIsReplacedByTheKernel(t *testing.T) {
	m := newMachine(t, keyring.Keyring, nil)
	m.Prepare("--bootstrap", "context=admin@test")
	m.Forget()
	broken := &machine{m.In(t)}
	broken.Variables = []string{"DBUS_SESSION_BUS_ADDRESS=unix:path=" + m.Path("no bus")}
	want := fmt.Sprintf("No resources found in %s namespace.\n", m.Namespace)
	before := m.Minted(lab.Account)
	for range 2 {
		r := broken.Kubectl("get", "pods").Succeeds()
		if r.Stdout+r.Stderr != want {
			t.Errorf("kubectl said %q", r.Stdout+r.Stderr)
		}
	}
	broken.get().Silent().Token()
	if n := m.Minted(lab.Account) - before; n != 1 {
		t.Errorf("it has requested %d tokens", n)
	}
	broken.Plugin("token", "--profile", m.Profile).Succeeds().Silent()
	if r := broken.Plugin("status").Succeeds().Silent(); strings.Contains(r.Stdout, "warning") {
		t.Errorf("status warns:\n%s", r.Stdout)
	}
	lab.Has(t, "doctor", broken.Plugin("doctor").Stdout, "start the keyring service")
}

// TestAClientsProxyMintsWhereTheProfilesOwnWayIsGone has the API server move behind a proxy that
// the kubeconfig names.
func TestAClientsProxyMintsWhereTheProfilesOwnWayIsGone(t *testing.T) {
	door := lab.NewDoor(t)
	m := newMachine(t, keyring.Kernel, door)
	m.Prepare()
	m.Forget()
	real, err := url.Parse(lab.Plane.Server)
	if err != nil {
		t.Fatal(err)
	}
	proxy := lab.NewTunnel(t, real.Host)
	door.Lead(lab.Reset)
	m.get().OneError(exitServer)
	minted := m.Minted(account)
	cluster := m.LoadKubeconfig().Contexts[m.Profile].Cluster
	m.Kubectl("config", "set", "clusters."+cluster+".proxy-url", proxy.URL).Succeeds()
	m.Kubectl("get", "pods").Succeeds()
	if minted := m.Minted(account) - minted; minted != 1 {
		t.Errorf("%d tokens were minted", minted)
	}
	if got := m.Configuration().Cluster.ProxyURL; got != "" {
		t.Errorf("the profile has got the proxy %q", got)
	}
	// An impostor behind the proxy gets nothing.
	m.Forget()
	impostor, err := url.Parse(newImpostor(t, lab.Authority(t, time.Now().AddDate(1, 0, 0))))
	if err != nil {
		t.Fatal(err)
	}
	proxy.LeadTo(impostor.Host)
	m.Kubectl("get", "pods").Fails(1, "the API server's certificate is not trusted")
}

// TestAPluginThatKubectlsPolicyForbidsIsNotRunForUsEither has the context that mints authenticate
// with a plugin, which the policy allows or not.
func TestAPluginThatKubectlsPolicyForbidsIsNotRunForUsEither(t *testing.T) {
	m := newMachine(t, keyring.Kernel, nil)
	login := m.adminWithPlugin()
	m.Prepare("--bootstrap", "context=admin@test")
	m.Kubectl("get", "pods").Succeeds()
	kuberc := m.Path(".kube", "kuberc")
	allow := func(commands ...string) {
		text := "apiVersion: kubectl.config.k8s.io/v1beta1\nkind: " +
			"Preference\ncredentialPluginPolicy: " +
			"Allowlist\ncredentialPluginAllowlist:\n"
		for _, command := range commands {
			text += "- command: " + command + "\n"
		}
		m.Write(kuberc, text)
	}
	allow(lab.Client)
	m.Forget()
	m.Kubectl("--kubeconfig", m.Admin, "get", "pods").Fails(1, "not permitted")
	r := m.get()
	r.OneError(exitBootstrap, "kubectl's plugin policy", kuberc,
		"credentialPluginPolicy: Allowlist", login, "credentialPluginAllowlist")
	m.Follow(r, "kuberc view")
	m.Kubectl("get", "pods").Fails(1, "kubectl's plugin policy", kuberc)
	lab.Has(t, "doctor", m.Plugin("doctor", "--profile", m.Profile).Stdout,
		"kubectl's plugin policy does not allow it", kuberc)
	m.Plugin("rotate", "--profile", m.Profile, "--kubeconfig", m.Admin).Fails(exitBootstrap,
		"kubectl's plugin policy", kuberc)

	allow(lab.Client, login)
	m.Kubectl("--kubeconfig", m.Admin, "get", "pods").Succeeds()
	m.Kubectl("get", "pods").Succeeds()
}

// adminWithPlugin gives the administrator's context a plugin that hands out its certificate.
func (m *machine) adminWithPlugin() (command string) {
	m.Helper()
	admin, err := lab.Plane.CA.IssueClientCert("admin", "system:masters")
	if err != nil {
		m.Fatal(err)
	}
	answer, err := json.Marshal(map[string]any{"kind": "ExecCredential",
		"apiVersion": "client.authentication.k8s.io/v1",
		"status": map[string]any{"clientCertificateData": string(admin.CertPEM),
			"clientKeyData": string(admin.KeyPEM)}})
	if err != nil {
		m.Fatal(err)
	}
	dir := lab.Dir(m.T, "admin")
	command = lab.WriteFile(m.T, filepath.Join(dir, "login"),
		"#!/bin/sh\ncat <<'END'\n"+string(answer)+"\nEND\n", 0o700)
	text, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "Config",
		"current-context": "admin@test",
		"clusters": []any{map[string]any{"name": "test",
			"cluster": map[string]any{"server": m.Server,
				"certificate-authority-data": lab.Plane.CAPEM}}},
		"users": []any{map[string]any{"name": "admin",
			"user": map[string]any{"exec": map[string]any{"command": command,
				"apiVersion":      "client.authentication.k8s.io/v1",
				"interactiveMode": "Never"}}}},
		"contexts": []any{map[string]any{"name": "admin@test",
			"context": map[string]any{"cluster": "test", "user": "admin"}}}})
	if err != nil {
		m.Fatal(err)
	}
	m.Admin = m.Write(filepath.Join(dir, "kubeconfig"), string(text))
	return command
}
