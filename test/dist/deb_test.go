//go:build linux

package dist_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// inPackages are what each package has, wherever its distribution wants the rest.
var inPackages = []string{"/usr/bin/sa-exec-credential", "/usr/bin/sa-exec-credential-get",
	"/usr/share/man/man1/sa-exec-credential.1.gz",
	"/usr/share/man/man1/sa-exec-credential-setup.1.gz",
	"/usr/share/bash-completion/completions/sa-exec-credential",
	"/usr/share/fish/vendor_completions.d/sa-exec-credential.fish",
	"/usr/share/doc/sa-exec-credential/third-party-licenses.txt"}

// dpkg works on the packages of a root.
func (r root) dpkg(args ...string) string {
	r.Helper()
	return lab.Command{Args: append([]string{"/usr/bin/dpkg", "--root=" + r.dir, "--log=/dev/null"},
		args...), Env: []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin"}}.Run(r.T).Succeeds().Stdout
}

// TestTheDebInACleanRoot installs it where there is nothing else, sets up from there, has kubectl call
// what is installed, and removes it.
func TestTheDebInACleanRoot(t *testing.T) {
	m := lab.NewMachine(t, keyring.Kernel)
	r := newRoot(m)
	r.Write(filepath.Join(r.dir, "var/lib/dpkg/status"), "")
	for _, dir := range []string{"updates", "info"} {
		r.Write(filepath.Join(r.dir, "var/lib/dpkg", dir, ".keep"), "")
	}
	r.dpkg("-i", one(t, "Linux Package", ".deb").file())
	lab.Has(t, "dpkg -L", r.dpkg("-L", program), append(inPackages,
		"/usr/share/zsh/vendor-completions/_sa-exec-credential",
		"/usr/share/doc/sa-exec-credential/copyright")...)
	if said := r.dpkg("-V", program); said != "" {
		t.Errorf("dpkg -V: %s", said)
	}
	lab.Has(t, "version", r.runs("/usr/bin/"+program, "version", "-o",
		"json").Succeeds().Silent().Stdout, `"commit": "`, `"date": "`, `"version": "v`)

	r.put(lab.Plane.AdminKubeconfig, "etc/admin.kubeconfig", 0o600)
	r.put(lab.Plane.Kubectl, "usr/local/bin/kubectl", 0o755)
	r.runs("/usr/bin/"+program, "setup", lab.Account, "-n", m.Namespace, "--store", "kernel",
		"--cluster-role", "view", "--kubeconfig", "/etc/admin.kubeconfig", "--use-context").Succeeds()
	lab.Has(t, "the kubeconfig", m.Read(filepath.Join(r.dir, "root/.kube/config")),
		`command: "/usr/bin/`+program+`-get"`)
	lab.Has(t, "kubectl", r.runs("/usr/local/bin/kubectl", "auth", "whoami").Succeeds().Silent().Stdout,
		m.Username())
	r.runs("/usr/bin/"+program, "revoke", "--profile", m.Profile, "--kubeconfig",
		"/etc/admin.kubeconfig").Succeeds()

	r.dpkg("--purge", program)
	for _, name := range lab.FilesBelow(t, filepath.Join(r.dir, "usr")) {
		if !strings.HasSuffix(name, "kubectl") {
			t.Errorf("removing it has left /usr/%s", name)
		}
	}
}
