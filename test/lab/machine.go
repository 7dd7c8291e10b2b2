//go:build linux

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring/secretservicetest"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/test/controlplane"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// account is the service account that machines mint tokens for, each in a namespace of its own.
const account = "ci"

// machine is a person's machine: a home, a store, a way to the API server.
type machine struct {
	*testing.T
	home      string
	service   *secretservicetest.Service // nil: the kernel keyring, and no D-Bus at all
	admin     string                     // the administrator's kubeconfig, which is elsewhere
	server    string
	namespace string
	profile   string   // name
	variables []string // of the environment, which overrule all others
}

// newMachine makes one on which nothing is set up. It reaches the API server through door, or directly when that is nil.
func newMachine(t *testing.T, kind keyring.Kind, door *door) *machine {
	t.Helper()
	m := &machine{T: t, home: newFolder(t, "home"), admin: shared.plane.AdminKubeconfig, server: shared.plane.Server}
	m.namespace = fmt.Sprintf("e2e-%d", shared.count.Add(1))
	m.profile = profile.DefaultName(account, m.namespace, "test")
	if door != nil {
		m.admin, m.server = door.kubeconfig, door.url
	}
	for _, folder := range []string{"tmp", "run", ".config", ".cache"} {
		if err := os.Mkdir(filepath.Join(m.home, folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if kind == keyring.Keyring {
		m.service = m.startService()
	} else {
		m.Cleanup(m.clean)
	}
	return m
}

// in is the machine for a subtest.
func (m *machine) in(t *testing.T) *machine {
	c := *m
	c.T = t
	return &c
}

// clean removes the profiles' entries from the kernel keyring, which others may share.
func (m *machine) clean() {
	names, err := m.profiles().Names()
	if err != nil {
		m.Error(err)
	}
	for _, name := range names {
		p, err := lab.LoadProfile(filepath.Join(m.home, ".config"), name)
		if err != nil {
			continue
		}
		for _, key := range []string{p.TokenKey(), p.BootstrapKey()} {
			if err := m.store().Delete(context.Background(), key); err != nil {
				m.Error(err)
			}
		}
	}
}

// startService starts gnome-keyring. What it has written is searched before it is gone.
func (m *machine) startService() *secretservicetest.Service {
	m.Helper()
	service, err := secretservicetest.Start()
	if err != nil {
		m.Fatal(err)
	}
	m.Cleanup(func() {
		for _, leak := range newFinder(shared.secrets.all()).inFiles(service.Dir()) {
			m.Error(leak)
		}
		service.Stop()
	})
	return service
}

// newFolder makes a folder that stays until everything has been searched.
func newFolder(t *testing.T, name string) string {
	t.Helper()
	folder, err := os.MkdirTemp(shared.root, fileName(t.Name())+"-"+name)
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

var strange = regexp.MustCompile(`[^A-Za-z0-9]+`)

func fileName(name string) string {
	name = strange.ReplaceAllString(name, "-")
	return name[:min(len(name), 60)]
}

// kind is the store that a machine has.
func (m *machine) kind() keyring.Kind {
	if m.service == nil {
		return keyring.Kernel
	}
	return keyring.Keyring
}

// env is the environment of every program on the machine.
func (m *machine) env() []string {
	env := []string{"HOME=" + m.home, "TMPDIR=" + filepath.Join(m.home, "tmp"), "USER=jane",
		"PATH=" + filepath.Dir(shared.plugin) + ":" + filepath.Dir(shared.plane.Kubectl) + ":/usr/bin:/bin"}
	if m.service == nil {
		env = append(env, "XDG_RUNTIME_DIR=")
	} else {
		env = append(env, "XDG_RUNTIME_DIR="+filepath.Join(m.home, "run"), "DBUS_SESSION_BUS_ADDRESS="+m.service.Address())
	}
	return append(env, m.variables...) // of a variable given twice the last counts
}

// plugin runs the program under test.
func (m *machine) plugin(args ...string) result {
	m.Helper()
	printsToken := len(args) > 0 && args[0] == "token"
	return command{args: append([]string{shared.plugin}, args...), env: m.env(), printsToken: printsToken}.run(m.T)
}

// setup prepares the machine with the administrator's kubeconfig.
func (m *machine) setup(args ...string) result {
	m.Helper()
	args = append([]string{"setup", account, "-n", m.namespace, "--kubeconfig", m.admin, "--store", string(m.kind()),
		"--cluster-role", "view", "--use-context"}, args...)
	r := m.plugin(args...).succeeded(m.T)
	m.noteEntries()
	return r
}

// kubectl runs kubectl with the kubeconfig that setup wrote.
func (m *machine) kubectl(args ...string) result {
	m.Helper()
	r := command{args: append([]string{shared.plane.Kubectl}, args...), env: m.env()}.run(m.T)
	m.noteEntries()
	return r
}

// asAdmin runs kubectl as the administrator.
func (m *machine) asAdmin(args ...string) string {
	m.Helper()
	return m.asAdminWith("", args...)
}

func (m *machine) asAdminWith(stdin string, args ...string) string {
	m.Helper()
	env := []string{"KUBECONFIG=" + shared.plane.AdminKubeconfig, "HOME=" + m.home}
	kubectl := command{args: append([]string{shared.plane.Kubectl}, args...), env: env, stdin: stdin}
	return strings.TrimSpace(kubectl.run(m.T).succeeded(m.T).stdout)
}

// get runs the plugin as a client of its own would, which has not called before.
func (m *machine) get() result {
	m.Helper()
	return m.getWith(m.execInfo())
}

func (m *machine) getWith(execInfo string) result {
	m.Helper()
	return m.asClient("KUBERNETES_EXEC_INFO="+execInfo, "get", "--profile", m.profile)
}

// asClient runs the plugin below a shell, which makes the caller another process each time. The shell sets the variable as a
// client does, for the plugin alone.
func (m *machine) asClient(variable string, args ...string) result {
	m.Helper()
	script := ""
	if variable != "" {
		script = `export "$0"`
	}
	return m.clientCommand(script, variable, args...).run(m.T)
}

// clientCommand is a shell that runs the plugin after a script of its own, in which "$0" is name.
func (m *machine) clientCommand(script, name string, args ...string) command {
	shell := []string{"/bin/sh", "-c", script + "\n" + `"$@"; exit $?`, name, shared.plugin}
	return command{args: append(shell, args...), env: m.env(), printsToken: true}
}

// getFromClient is a get of a client that does something else first.
func (m *machine) getFromClient(before string, flags ...string) command {
	args := append([]string{"get", "--profile", m.profile}, flags...)
	return m.clientCommand(before+"\n"+`export "$0"`, "KUBERNETES_EXEC_INFO="+m.execInfo(), args...)
}

// execInfo is what client-go says of the cluster.
func (m *machine) execInfo() string {
	return execInfo(m.server, shared.plane.CAPEM)
}

func execInfo(server string, ca []byte) string {
	encoded, err := json.Marshal(map[string]any{
		"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1",
		"spec": map[string]any{"interactive": false, "cluster": map[string]any{"server": server, "certificate-authority-data": ca}},
	})
	if err != nil {
		panic(err) // maps of text always encode
	}
	return string(encoded)
}

// token takes the token out of the answer to a get.
func (r result) token(t *testing.T) string {
	t.Helper()
	var answer struct {
		Kind   string
		Status struct {
			Token               string
			ExpirationTimestamp time.Time
		}
	}
	if err := json.Unmarshal([]byte(r.succeeded(t).stdout), &answer); err != nil {
		t.Fatalf("%s: no JSON: %v", r, err)
	}
	if answer.Kind != "ExecCredential" || !tokenForm.MatchString(answer.Status.Token) || !answer.Status.ExpirationTimestamp.After(time.Now()) {
		t.Fatalf("%s: kind %q, a token of %d characters that expires at %v", r, answer.Kind, len(answer.Status.Token), answer.Status.ExpirationTimestamp)
	}
	return answer.Status.Token
}

// forget removes the cached token.
func (m *machine) forget() {
	m.Helper()
	m.plugin("logout", "--profile", m.profile).succeeded(m.T).silent(m.T)
}

// failed checks what every failure has in common: nothing on standard output, and on standard error one line that says
// what is wrong and one that says what to do.
func (r result) failed(t *testing.T, code int) result {
	t.Helper()
	if r.code != code {
		t.Errorf("%s: exit code %d, not %d\n%s", r, r.code, code, r.stderr)
	}
	if r.stdout != "" {
		t.Errorf("%s: standard output is not empty: %s", r, r.shown())
	}
	kinds := []string{}
	for line := range strings.Lines(r.stderr) {
		kind, _ := strings.CutPrefix(line, "sa-exec-credential: ")
		kind, _, _ = strings.Cut(kind, ":")
		kinds = append(kinds, kind)
	}
	if !slices.Equal(kinds, []string{"error", "hint"}) {
		t.Errorf("%s: not one error and one hint:\n%s", r, r.stderr)
	}
	return r
}

// configuration reads the profile.
func (m *machine) configuration() lab.Profile {
	m.Helper()
	p, err := lab.LoadProfile(filepath.Join(m.home, ".config"), m.profile)
	if err != nil {
		m.Fatal(err)
	}
	return p
}

func (m *machine) profiles() profile.Folder {
	return profile.FolderIn(filepath.Join(m.home, ".config"))
}

// store opens the machine's store as the program does.
func (m *machine) store() keyring.Store {
	m.Helper()
	system := keyring.System{}
	if m.service != nil {
		system.Getenv = m.service.Getenv
	}
	store, err := keyring.Open(context.Background(), m.kind(), system)
	if err != nil {
		m.Fatal(err)
	}
	return store
}

// entry reads an entry that has to be there.
func (m *machine) entry(key string) keyring.Entry {
	m.Helper()
	entry, err := m.store().Get(context.Background(), key)
	if err != nil {
		m.Fatal(err)
	}
	shared.secrets.note(entry.Token.Reveal())
	return entry
}

func (m *machine) setEntry(key string, entry keyring.Entry) {
	m.Helper()
	if err := m.store().Set(context.Background(), key, entry); err != nil {
		m.Fatal(err)
	}
}

// noteEntries makes known what the profile's entries are, so that they are searched for.
func (m *machine) noteEntries() {
	m.Helper()
	p := m.configuration()
	for _, key := range []string{p.TokenKey(), p.BootstrapKey()} {
		if entry, err := m.store().Get(context.Background(), key); err == nil {
			shared.secrets.note(entry.Token.Reveal())
		}
	}
}

// events are the requests about this machine's namespace and by its service accounts.
func (m *machine) events() []controlplane.AuditEvent {
	m.Helper()
	all, err := shared.plane.AuditEvents()
	if err != nil {
		m.Fatal(err)
	}
	var events []controlplane.AuditEvent
	for _, event := range all {
		if event.ObjectRef.Namespace == m.namespace || strings.HasPrefix(event.User.Username, "system:serviceaccount:"+m.namespace+":") {
			events = append(events, event)
		}
	}
	return events
}

// minted counts the tokens that the API server has issued for a service account.
func (m *machine) minted(name string) int {
	m.Helper()
	count := 0
	for _, event := range m.events() {
		if event.IsTokenRequest(m.namespace, name) && event.ResponseStatus.Code == 201 {
			count++
		}
	}
	return count
}

// reviews counts how often the API server was asked by the service account who it is.
func (m *machine) reviews() int {
	m.Helper()
	count := 0
	for _, event := range m.events() {
		if event.ObjectRef.Resource == "selfsubjectreviews" {
			count++
		}
	}
	return count
}

// username is how the API server calls the service account.
func (m *machine) username() string { return "system:serviceaccount:" + m.namespace + ":" + account }

// eventually waits until done.
func eventually(t *testing.T, what string, done func() bool) {
	t.Helper()
	deadline := time.Now().Add(2 * time.Minute)
	for !done() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
