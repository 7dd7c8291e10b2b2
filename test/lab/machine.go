//go:build linux

package lab

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring/secretservicetest"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/sealed/swtpmtest"
	"github.com/sa-exec-credential/sa-exec-credential/test/controlplane"
)

// Account is the service account that machines mint tokens for, each in a namespace of its own.
const Account = "ci"

// Machine is a person's machine: a home, a store, a way to the API server.
type Machine struct {
	*testing.T
	Home      string
	Service   *secretservicetest.Service // nil: another store, and no D-Bus at all
	IsSealed  bool                       // the store is
	TPM       *swtpmtest.TPM             // nil: there is none
	TPMPlace  string                     // where the program is told that it is
	Admin     string                     // the administrator's kubeconfig, which is elsewhere
	Server    string
	Namespace string
	Profile   string   // name
	Variables []string // of the environment, which overrule all others
}

// NewMachine makes one on which nothing is set up, with a keyring of its own.
func NewMachine(t *testing.T, kind keyring.Kind) *Machine {
	t.Helper()
	m := &Machine{T: t, Home: Dir(t, "home"), Admin: Plane.AdminKubeconfig,
		Server: Plane.Server, Namespace: Namespace()}
	m.Profile = profile.DefaultName(Account, m.Namespace, "test")
	for _, dir := range []string{"tmp", "run"} {
		if err := os.Mkdir(m.Path(dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if kind == keyring.Keyring {
		m.Service = startService(t)
	}
	if kind == keyring.Sealed {
		m.IsSealed = true
		m.TPM = startTPM(t)
		m.TPMPlace = m.TPM.Place()
	}
	t.Cleanup(m.clean)
	return m
}

// startTPM starts a simulator of a TPM.
func startTPM(t *testing.T) *swtpmtest.TPM {
	t.Helper()
	tpm, err := swtpmtest.Start(ShortDir(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tpm.Stop)
	return tpm
}

// startService starts gnome-keyring. What it has written is searched before it is gone.
func startService(t *testing.T) *secretservicetest.Service {
	t.Helper()
	service, err := secretservicetest.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, leak := range newFinder(shared.tokens.all()).inFiles(service.Dir()) {
			t.Error(leak)
		}
		service.Stop()
	})
	return service
}

// Behind has the machine reach the API server through a door, when there is one.
func (m *Machine) Behind(d *Door) *Machine {
	if d != nil {
		m.Admin, m.Server = d.Kubeconfig, d.URL
	}
	return m
}

// In is the machine for a subtest.
func (m *Machine) In(t *testing.T) *Machine {
	c := *m
	c.T = t
	return &c
}

// Path names a file below the home.
func (m *Machine) Path(parts ...string) string {
	return filepath.Join(append([]string{m.Home}, parts...)...)
}

// Kubeconfig is the user's own, the default of kubectl.
func (m *Machine) Kubeconfig() string { return m.Path(".kube", "config") }

// Username is how the API server calls the service account.
func (m *Machine) Username() string {
	return "system:serviceaccount:" + m.Namespace + ":" + Account
}

// Kind is the store that a machine has.
func (m *Machine) Kind() keyring.Kind {
	switch {
	case m.IsSealed:
		return keyring.Sealed
	case m.Service == nil:
		return keyring.Kernel
	}
	return keyring.Keyring
}

// Env is the environment of every program on the machine.
func (m *Machine) Env() []string {
	env := append(coverage(), "HOME="+m.Home, "TMPDIR="+m.Path("tmp"), "USER=jane",
		"PATH="+filepath.Dir(Plugin)+":"+filepath.Dir(Plane.Kubectl)+":/usr/bin:/bin")
	if m.Service == nil {
		env = append(env, "XDG_RUNTIME_DIR=")
	} else {
		env = append(env, "XDG_RUNTIME_DIR="+m.Path("run"),
			"DBUS_SESSION_BUS_ADDRESS="+m.Service.Address())
	}
	return append(env, m.Variables...) // of a variable given twice the last counts
}

// Command is a program on the machine.
func (m *Machine) Command(args ...string) Command {
	return Command{Args: args, Env: m.Env(), Dir: m.Home}
}

// Exec runs a program.
func (m *Machine) Exec(args ...string) Result {
	m.Helper()
	return m.Command(args...).Run(m.T)
}

// plugin is a command of the program under test.
func (m *Machine) plugin(args ...string) Command {
	c := m.Command(append([]string{Plugin}, args...)...)
	c.PrintsToken = len(args) > 0 && (args[0] == "token" || args[0] == "invite")
	return c
}

// Plugin runs the program under test.
func (m *Machine) Plugin(args ...string) Result {
	m.Helper()
	return m.plugin(args...).Run(m.T)
}

// Setup runs setup with the administrator's kubeconfig.
func (m *Machine) Setup(args ...string) Result {
	m.Helper()
	r := m.Plugin(append([]string{"setup", "--kubeconfig", m.Admin}, args...)...)
	m.NoteEntries()
	return r
}

// Prepare sets up the machine's own profile, for an account that is allowed to view its namespace.
func (m *Machine) Prepare(args ...string) Result {
	m.Helper()
	words := []string{Account, "-n", m.Namespace, "--store", string(m.Kind()),
		"--cluster-role", "view", "--use-context"}
	if m.TPMPlace != "" {
		words = append(words, "--tpm", m.TPMPlace)
	}
	return m.Setup(append(words, args...)...).Succeeds()
}

// Ready sets up a profile of that name, uses it, and returns it.
func (m *Machine) Ready(namespace, name string, more ...string) Profile {
	m.Helper()
	m.Setup(append([]string{Account, "-n", namespace, "--profile", name, "--cluster-role",
		"view"}, more...)...).Succeeds()
	m.Kubectl("--context", name, "get", "pods").Succeeds()
	return m.Load(name)
}

// Forget removes the cached token.
func (m *Machine) Forget() {
	m.Helper()
	m.Plugin("logout", "--profile", m.Profile).Succeeds().Silent()
}

// Kubectl runs kubectl with the user's own kubeconfig.
func (m *Machine) Kubectl(args ...string) Result {
	m.Helper()
	r := m.Exec(append([]string{Plane.Kubectl}, args...)...)
	m.NoteEntries()
	return r
}

// AsAdmin runs kubectl as the administrator.
func (m *Machine) AsAdmin(args ...string) string {
	m.Helper()
	return m.AsAdminWith("", args...)
}

// AsAdminWith does it with a standard input.
func (m *Machine) AsAdminWith(stdin string, args ...string) string {
	m.Helper()
	return strings.TrimSpace(asAdmin(stdin, args).Run(m.T).Succeeds().Stdout)
}

// AdminsToken does it for what prints a token.
func (m *Machine) AdminsToken(args ...string) string {
	m.Helper()
	c := asAdmin("", args)
	c.PrintsToken = true
	return strings.TrimSpace(c.Run(m.T).Succeeds().Stdout)
}

// AsAdmin runs kubectl as the administrator, where there is no machine or it can fail.
func AsAdmin(t *testing.T, stdin string, args ...string) Result {
	t.Helper()
	return asAdmin(stdin, args).Run(t)
}

func asAdmin(stdin string, args []string) Command {
	env := []string{"KUBECONFIG=" + Plane.AdminKubeconfig, "HOME=" + shared.root}
	return Command{Args: append([]string{Plane.Kubectl}, args...), Env: env, Stdin: stdin}
}

// Mints are the requests for a token of an account of the machine's namespace that the API server
// has answered with one, in the words of its audit log.
func (m *Machine) Mints(account string) []controlplane.AuditEvent {
	m.Helper()
	return m.Events(func(event controlplane.AuditEvent) bool {
		return event.IsTokenRequest(m.Namespace, account) && event.ResponseStatus.Code == 201
	})
}

// Minted counts them.
func (m *Machine) Minted(account string) int {
	m.Helper()
	return len(m.Mints(account))
}

// Events are those of the audit log that a test is about.
func (m *Machine) Events(about func(controlplane.AuditEvent) bool) []controlplane.AuditEvent {
	m.Helper()
	var events []controlplane.AuditEvent
	all, err := Plane.AuditEvents()
	if err != nil {
		m.Fatal(err)
	}
	for _, event := range all {
		if about(event) {
			events = append(events, event)
		}
	}
	return events
}

// Read reads a file that has to be there.
func (m *Machine) Read(path string) string {
	m.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		m.Fatal(err)
	}
	return string(data)
}

// Write writes a file, and the directories above it.
func (m *Machine) Write(path, content string) string {
	m.Helper()
	return WriteFile(m.T, path, content, 0o600)
}

// Replace changes text in a file that holds it.
func (m *Machine) Replace(path, old, changed string) {
	m.Helper()
	data := m.Read(path)
	if !strings.Contains(data, old) {
		m.Fatalf("%q does not hold %q:\n%s", path, old, data)
	}
	m.Write(path, strings.ReplaceAll(data, old, changed))
}

// CallCluster gives the user a kubeconfig in which the cluster has another name: the administrator's.
func (m *Machine) CallCluster(name string) {
	m.Helper()
	m.Write(m.Kubeconfig(), strings.NewReplacer("@test", "@"+name, "cluster: test",
		"cluster: "+name, "name: test", "name: "+name).Replace(m.Read(m.Admin)))
}

// WriteKubeconfig writes one, and returns its path.
func (m *Machine) WriteKubeconfig(path string, config *clientcmdapi.Config) string {
	m.Helper()
	data, err := clientcmd.Write(*config)
	if err != nil {
		m.Fatal(err)
	}
	return m.Write(path, string(data))
}

// AdminWith gives the machine an administrator's kubeconfig of its own, with something changed.
func (m *Machine) AdminWith(change func(*clientcmdapi.Config)) {
	m.Helper()
	config := LoadKubeconfig(m.T, m.Admin)
	change(config)
	m.Admin = m.WriteKubeconfig(filepath.Join(Dir(m.T, "admin"), "kubeconfig"), config)
}

// AddUser adds the context NAME@test of somebody with a client certificate to it.
func (m *Machine) AddUser(name string, groups ...string) {
	m.Helper()
	own := LoadKubeconfig(m.T, User(m.T, name, groups...))
	m.AdminWith(func(config *clientcmdapi.Config) {
		maps.Copy(config.AuthInfos, own.AuthInfos)
		maps.Copy(config.Contexts, own.Contexts)
	})
}

// ChangeAdmin changes the administrator's kubeconfig that setup will use.
func (m *Machine) ChangeAdmin(old, replacement string) {
	m.Helper()
	path := filepath.Join(Dir(m.T, "admin"), "kubeconfig")
	m.Write(path, m.Read(m.Admin))
	m.Replace(path, old, replacement)
	m.Admin, m.Server = path, strings.ReplaceAll(m.Server, old, replacement)
}

// User makes a kubeconfig for somebody with a client certificate.
func User(t *testing.T, name string, groups ...string) (path string) {
	t.Helper()
	certificate, err := Plane.CA.IssueClientCert(name, groups...)
	if err != nil {
		t.Fatal(err)
	}
	return WriteFile(t, filepath.Join(Dir(t, "user"), "kubeconfig"),
		string(Plane.Kubeconfig(name, certificate)), 0o600)
}

// Wrapper is a script between a client and the plugin, which runs itself until there are count of
// it, and then the plugin.
func (m *Machine) Wrapper(count int) (path string) {
	m.Helper()
	script := fmt.Sprintf("#!/bin/sh\nexport n=$((n + 1))\nif [ $n -lt %d ]; then \"$0\" "+
		"\"$@\"; else '%s' \"$@\"; fi\nexit $?\n",
		count, Plugin)
	return WriteFile(m.T, m.Path(fmt.Sprintf("wrapper-%d", count)), script, 0o700)
}

// WriteFile writes a file, and the directories above it.
func WriteFile(t *testing.T, path, content string, mode fs.FileMode) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	return path
}

// FilesBelow lists all that is no directory, by its name below the directory.
func FilesBelow(t *testing.T, dir string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			names = append(names, strings.TrimPrefix(path, dir+"/"))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

var strange = regexp.MustCompile(`[^A-Za-z0-9]+`)

func fileName(name string) string {
	name = strange.ReplaceAllString(name, "-")
	return name[:min(len(name), 60)]
}
