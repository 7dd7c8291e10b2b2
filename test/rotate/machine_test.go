//go:build linux

package rotate_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring/secretservicetest"
	"github.com/sa-exec-credential/sa-exec-credential/test/faultproxy"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// sevenProfiles differ in all that decides which entries a profile has in a store, and share a device.
// The one with the longest lifetime is set up first: the limit in the cluster counts a moment later.
var sevenProfiles = []string{"long", "brief", "vault", "outside", "kernel", "kernel-vault", "recovers"}

// twoProfiles are enough for a revoke: the one that is named and one in another store.
var twoProfiles = []string{"long", "recovers"}

var flags = map[string][]string{
	"long":         {"--store", "keyring", "--duration", "2h"},
	"brief":        {"--store", "keyring", "--duration", "20m"},
	"vault":        {"--store", "keyring", "--audience", issuer, "--audience", "vault"},
	"outside":      {"--store", "keyring", "--bootstrap", "context=admin"},
	"kernel":       {"--store", "kernel"},
	"kernel-vault": {"--store", "kernel", "--duration", "2h", "--audience", issuer, "--audience", "vault"},
	"recovers":     {"--store", "kernel", "--duration", "30m", "--recover"},
}

// machine is a home, a Secret Service and a way to the API server of its own, with profiles of one
// account of a namespace that no other machine uses. The kernel's keyring is everybody's.
type machine struct {
	*testing.T
	home, namespace string
	service         *secretservicetest.Service
	proxy           *faultproxy.Proxy
	gate            *gate
	profiles        []string
	admin           string // the administrator's kubeconfig
}

// newMachine sets up some profiles of the seven.
func newMachine(t *testing.T, profiles []string) *machine {
	t.Helper()
	m := &machine{T: t, home: t.TempDir(), service: secretservicetest.New(t), gate: &gate{},
		// Not that of an earlier run, of which the kernel may still have keys.
		namespace: fmt.Sprintf("rotate-%d-%d", os.Getpid(), shared.count.Add(1))}
	var err error
	m.proxy, err = faultproxy.Start(shared.plane, faultproxy.Options{Fault: m.gate.before, Lost: m.gate.after})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.proxy.Stop)
	t.Cleanup(m.forgetKernelKeys)
	m.admin = filepath.Join(m.home, "admin")
	if err := os.WriteFile(m.admin, m.kubeconfig(), 0o600); err != nil {
		t.Fatal(err)
	}
	m.profiles = profiles
	m.setUp()
	return m
}

func (m *machine) kubeconfig() []byte {
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
current-context: admin
clusters: [{name: c, cluster: {server: %q, certificate-authority-data: %q}}]
users: [{name: u, user: {token: %q}}]
contexts: [{name: admin, context: {cluster: c, user: u}}]
`, m.proxy.URL, base64.StdEncoding.EncodeToString(shared.plane.CAPEM), adminToken)
}

func (m *machine) setUp() {
	m.Helper()
	for _, name := range m.profiles {
		m.run(m.setup(name, flags[name]...)...).succeeds(m.T)
	}
}

func (m *machine) setup(name string, flags ...string) []string {
	return append([]string{"setup", "ci", "-n", m.namespace, "--kubeconfig", m.admin, "--profile", name,
		"--verb", "list", "--resource", "pods"}, flags...)
}

// in is the machine within a subtest.
func (m *machine) in(t *testing.T) *machine {
	other := *m
	other.T = t
	return &other
}

func (m *machine) environment() []string {
	return []string{"HOME=" + m.home, "USER=jane", "XDG_RUNTIME_DIR=" + m.home, "PATH=/usr/bin:/bin",
		"DBUS_SESSION_BUS_ADDRESS=" + m.service.Address()}
}

func (m *machine) command(args ...string) *exec.Cmd {
	cmd := exec.Command(shared.plugin, args...)
	cmd.Env, cmd.Dir = m.environment(), m.home
	return cmd
}

// result is a program that has ended.
type result struct {
	line           string
	stdout, stderr bytes.Buffer
	err            error
}

// run runs the program under test to its end, which comes within a minute or by force.
func (m *machine) run(args ...string) *result { return finish(m.command(args...)) }

func finish(cmd *exec.Cmd) *result {
	r := &result{line: strings.Join(cmd.Args[max(1, len(cmd.Args)-4):], " ")}
	cmd.Stdout, cmd.Stderr = &r.stdout, &r.stderr
	if r.err = cmd.Start(); r.err != nil {
		return r
	}
	timer := time.AfterFunc(patience, func() { _ = cmd.Process.Kill() })
	defer timer.Stop()
	r.err = cmd.Wait()
	return r
}

func (r *result) succeeds(t *testing.T) *result {
	t.Helper()
	if r.err != nil {
		t.Fatalf("%s: %v\n%s", r.line, r.err, r.stderr.String())
	}
	return r
}

// get is a client, another process each time, that runs the plugin for a profile.
func (m *machine) get(profile string) *exec.Cmd {
	info := fmt.Sprintf(`{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1",`+
		`"spec":{"interactive":false,"cluster":{"server":%q,"certificate-authority-data":%q}}}`,
		m.proxy.URL, base64.StdEncoding.EncodeToString(shared.plane.CAPEM))
	const script = `KUBERNETES_EXEC_INFO="$0" "$@"; exit $?`
	cmd := exec.Command("/bin/sh", "-c", script, info, shared.plugin, "get", "--profile", profile)
	cmd.Env, cmd.Dir = m.environment(), m.home
	return cmd
}

// tokenOf is what get printed.
func (r *result) tokenOf(t *testing.T) string {
	t.Helper()
	r.succeeds(t)
	var credential struct{ Status struct{ Token string } }
	if err := json.Unmarshal(r.stdout.Bytes(), &credential); err != nil || credential.Status.Token == "" {
		t.Fatalf("%s: no credential: %v", r.line, err)
	}
	return credential.Status.Token
}

// profile reads a profile, and its device, from where the program keeps it.
func (m *machine) profile(name string) lab.Profile {
	m.Helper()
	p, err := lab.LoadProfile(filepath.Join(m.home, ".config"), name)
	if err != nil {
		m.Fatal(err)
	}
	return p
}

// allWork gets a token for each profile. The API server has to take it, also when it remembers no
// token: so its device has to be the one of the record, and there.
func (m *machine) allWork() {
	m.Helper()
	uids := m.deviceUIDs()
	for _, name := range m.profiles {
		token, want := finish(m.get(name)).tokenOf(m.T), m.profile(name).Device
		if got := claimsOf(m.T, token).Kubernetes.Secret.UID; got != want.UID || !slices.Contains(uids, got) {
			m.Errorf("profile %q: bound to device %q; the record has %q and the cluster %q", name, got, want.UID, uids)
		}
		if !accepted(m.T, token) {
			m.Errorf("profile %q: its token is refused", name)
		}
	}
}

type claims struct {
	Kubernetes struct {
		Namespace string
		Secret    struct{ UID string }
	} `json:"kubernetes.io"`
}

func claimsOf(t *testing.T, token string) (c claims) {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatal("not a token")
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err == nil {
		err = json.Unmarshal(payload, &c)
	}
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func accepted(t *testing.T, token string) bool {
	t.Helper()
	code := ask(t, token, http.MethodGet, "/version", nil, nil)
	return code == http.StatusOK
}

// deviceUIDs are those of the account's devices in the cluster.
func (m *machine) deviceUIDs() (uids []string) {
	m.Helper()
	var list struct {
		Items []struct {
			Type     string
			Metadata struct{ UID string }
		}
	}
	asAdmin(m.T, http.MethodGet, "/api/v1/namespaces/"+m.namespace+"/secrets", nil, &list)
	for _, secret := range list.Items {
		if secret.Type == "sa-exec-credential/device" {
			uids = append(uids, secret.Metadata.UID)
		}
	}
	return uids
}

// canary is a token that is bound to the current device and that the API server has never seen: once
// the device is deleted, nothing that it remembers makes it accept this one.
func (m *machine) canary() string {
	m.Helper()
	d := m.profile(m.profiles[0]).Device
	request := map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": map[string]any{
		"boundObjectRef": map[string]string{"apiVersion": "v1", "kind": "Secret", "name": d.Secret, "uid": d.UID}}}
	var answer struct{ Status struct{ Token string } }
	asAdmin(m.T, http.MethodPost, "/api/v1/namespaces/"+m.namespace+"/serviceaccounts/ci/token", request, &answer)
	return answer.Status.Token
}

func refused(t *testing.T, token string) {
	t.Helper()
	eventually(t, "the old device's token is refused", func() bool { return !accepted(t, token) })
}

// isWhole expects one device, a record that is through with it, exactly the entries that its profiles
// use, and no other file than theirs. Each profile has got a token before.
func (m *machine) isWhole() {
	m.Helper()
	record := m.profile(m.profiles[0]).Record
	if record.Next != "" || len(record.Retired) > 0 || record.Revoked {
		m.Errorf("the record is not through: %+v", record)
	}
	if uids := m.deviceUIDs(); !slices.Equal(uids, []string{record.Current.UID}) {
		m.Errorf("the cluster has the devices %q, not %q", uids, record.Current.UID)
	}
	want := map[keyring.Kind][]string{}
	files := []string{"devices/" + record.Name + ".yaml"}
	for _, name := range m.profiles {
		p := m.profile(name)
		want[p.Store] = append(want[p.Store], p.TokenKey())
		if p.Bootstrap.Duration != nil {
			want[p.Store] = append(want[p.Store], p.BootstrapKey())
		}
		files = append(files, "profiles/"+name+".yaml")
	}
	for kind, keys := range want {
		slices.Sort(keys)
		if got, keys := m.keys(kind), slices.Compact(keys); !slices.Equal(got, keys) {
			m.Errorf("store %q holds%s\nnot%s", kind, lines(got), lines(keys))
		}
	}
	slices.Sort(files)
	if got := m.files(); !slices.Equal(got, files) {
		m.Errorf("the files are%s\nnot%s", lines(got), lines(files))
	}
}

// isGone expects nothing of the machine's device anywhere.
func (m *machine) isGone() {
	m.Helper()
	if uids := m.deviceUIDs(); len(uids) > 0 {
		m.Errorf("the cluster still has the devices %q", uids)
	}
	for _, kind := range []keyring.Kind{keyring.Keyring, keyring.Kernel} {
		if keys := m.keys(kind); len(keys) > 0 {
			m.Errorf("store %q still holds%s", kind, lines(keys))
		}
	}
	if files := m.files(); len(files) > 0 {
		m.Errorf("there are still the files%s", lines(files))
	}
}

// files are those of the program's own directory, sorted.
func (m *machine) files() (names []string) {
	m.Helper()
	dir := os.DirFS(filepath.Join(m.home, ".config", "sa-exec-credential"))
	err := fs.WalkDir(dir, ".", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		m.Fatal(err)
	}
	slices.Sort(names)
	return names
}

func (m *machine) store(kind keyring.Kind) keyring.Store {
	m.Helper()
	store, err := keyring.Open(context.Background(), kind, keyring.System{Getenv: m.service.Getenv})
	if err != nil {
		m.Fatal(err)
	}
	return store
}

// keys are those of the entries that hold a token of the machine's namespace.
func (m *machine) keys(kind keyring.Kind) (own []string) {
	m.Helper()
	store := m.store(kind)
	all, err := store.Keys(context.Background())
	if err != nil {
		m.Fatal(err)
	}
	for _, key := range all {
		// Other tests use the kernel's keyring, too, and remove what is theirs.
		entry, err := store.Get(context.Background(), key)
		if err == nil && claimsOf(m.T, entry.Token.Reveal()).Kubernetes.Namespace == m.namespace {
			own = append(own, key)
		}
	}
	return own
}

func (m *machine) forgetKernelKeys() {
	for _, key := range m.keys(keyring.Kernel) {
		if err := m.store(keyring.Kernel).Delete(context.Background(), key); err != nil {
			m.Error(err)
		}
	}
}

// survives starts gnome-keyring again when the program was killed in the middle of a question to it, of
// which it can end, too. The session bus of a desktop does the same.
func (m *machine) survives() {
	m.Helper()
	if _, err := m.store(keyring.Keyring).Keys(context.Background()); err == nil {
		return
	}
	m.service.StopKeyring()
	if err := m.service.StartKeyring(true); err != nil {
		m.Fatal(err)
	}
}
