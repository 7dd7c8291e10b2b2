//go:build linux

package lab

import (
	"os"
	"slices"
	"strings"

	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
)

// Snapshot is all that setup has made.
func (m *Machine) Snapshot() map[string]string {
	m.Helper()
	const versions = `jsonpath={range .items[*]}{.kind} {.metadata.name} {.metadata.resourceVersion}{"\n"}{end}`
	s := map[string]string{
		"the namespace": m.AsAdmin("get", "namespace", m.Namespace, "-o",
			"jsonpath={.metadata.resourceVersion}"),
		"the objects in the namespace": m.AsAdmin("get",
			"serviceaccounts,secrets,roles,rolebindings", "-n", m.Namespace,
			"-o", versions),
		"the policies": m.ownLines(m.AsAdmin("get",
			"validatingadmissionpolicies,validatingadmissionpolicybindings,clusterroles,clusterrolebindings",
			"-o", versions)),
		"the bootstrap credential": mint.ParseClaims(m.Entry(m.Configuration().BootstrapKey()).Token.Reveal()).ID,
	}
	for what, path := range map[string]string{"the kubeconfig": ".kube/config",
		"the profile": ".config/sa-exec-credential/profiles/" + m.Profile + ".yaml",
		"the device": ".config/sa-exec-credential/devices/" +
			m.Configuration().Profile.Device + ".yaml"} {
		data, err := os.ReadFile(m.Path(path))
		if err != nil {
			m.Fatal(err)
		}
		s[what] = string(data)
	}
	return s
}

// ownLines are those that name the namespace: what is outside of it carries its name.
func (m *Machine) ownLines(text string) string {
	lines := slices.DeleteFunc(strings.Split(text, "\n"), func(line string) bool {
		return !strings.Contains(line+".", m.Namespace+".") && !strings.Contains(line+" ",
			m.Namespace+" ")
	})
	return strings.Join(lines, "\n")
}

// Files lists what the program keeps on the machine: neither locks nor what kubectl has made.
func (m *Machine) Files() (files []string) {
	m.Helper()
	for _, name := range FilesBelow(m.T, m.Home) {
		top, _, _ := strings.Cut(name, "/")
		ours := slices.Contains([]string{".config", ".kube", "run"}, top) &&
			!strings.HasPrefix(name, ".kube/cache/")
		if ours && !strings.HasSuffix(name, ".calls") && !strings.HasSuffix(name, ".lock") {
			files = append(files, name)
		}
	}
	return files
}
