//go:build linux

package rotate_test

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// sevenProfiles differ in all that decides which entries a profile has in a store, and share a
// device.
var sevenProfiles = []string{"long", "brief", "vault", "outside", "kernel", "kernel-vault",
	"recovers"}

// twoProfiles are enough for a revoke: the one that is named and one in another store.
var twoProfiles = []string{"long", "recovers"}

const issuer = "https://kubernetes.default.svc"

var flags = map[string][]string{
	"long":    {"--store", "keyring", "--duration", "2h"},
	"brief":   {"--store", "keyring", "--duration", "20m"},
	"vault":   {"--store", "keyring", "--audience", issuer, "--audience", "vault"},
	"outside": {"--store", "keyring", "--bootstrap", "context=admin@test"},
	"kernel":  {"--store", "kernel"},
	"kernel-vault": {"--store", "kernel", "--duration", "2h", "--audience", issuer,
		"--audience", "vault"},
	"recovers": {"--store", "kernel", "--duration", "30m", "--recover"},
}

// machine is one with profiles of one account, behind a gate of its own.
type machine struct {
	*lab.Site
	profiles []string
}

// newMachine sets up some profiles of the seven.
func newMachine(t *testing.T, profiles []string) *machine {
	t.Helper()
	m := &machine{lab.NewSite(lab.NewMachine(t, keyring.Keyring)), profiles}
	t.Cleanup(m.forgetKernelKeys)
	m.setUp()
	return m
}

// in is the machine within a subtest.
func (m *machine) in(t *testing.T) *machine { return &machine{m.In(t), m.profiles} }

func (m *machine) setUp() {
	m.Helper()
	for _, name := range m.profiles {
		m.Plugin(m.setup(name)...).Succeeds()
	}
}

// setup are the arguments that set up a profile.
func (m *machine) setup(name string) []string {
	return append([]string{"setup", lab.Account, "-n", m.Namespace, "--kubeconfig", m.Admin,
		"--profile", name,
		"--verb", "list", "--resource", "pods"}, flags[name]...)
}

// get is a client, another process each time, that runs the plugin for a profile.
func (m *machine) get(profile string) lab.Command {
	const script = `KUBERNETES_EXEC_INFO="$0" "$@"; exit $?`
	c := m.Command("/bin/sh", "-c", script, m.ExecInfo(), lab.Plugin, "get", "--profile",
		profile)
	c.PrintsToken = true
	return c
}

// allWork gets a token for each profile. The API server has to take it, also when it remembers no
// token: so its device has to be the one of the record, and there.
func (m *machine) allWork() {
	m.Helper()
	uids := m.deviceUIDs()
	for _, name := range m.profiles {
		token, want := m.get(name).Run(m.T).Silent().Token(), m.Load(name).Device
		if got := mint.ParseClaims(token).BoundSecret.UID; got != want.SecretUID ||
			!slices.Contains(uids, got) {
			m.Errorf("profile %q: bound to device %q; the record has %q and the "+
				"cluster %q", name, got, want.SecretUID, uids)
		}
		if !lab.Accepts(m.T, token) {
			m.Errorf("profile %q: its token is refused", name)
		}
	}
}

// deviceUIDs are those of the account's devices in the cluster.
func (m *machine) deviceUIDs() (uids []string) {
	m.Helper()
	list := lab.Administrator().Must(m.T, http.MethodGet, lab.In(m.Namespace, "secrets"), nil)
	for _, item := range list["items"].([]any) {
		secret := item.(lab.Object)
		if secret["type"] == "sa-exec-credential/device" {
			uids = append(uids, secret["metadata"].(lab.Object)["uid"].(string))
		}
	}
	return uids
}

// canary is a token that is bound to the current device and that the API server has never seen:
// once the device is deleted, nothing that it remembers makes it accept this one.
func (m *machine) canary() string {
	m.Helper()
	return lab.Administrator().Token(m.T, m.Namespace, lab.Account,
		lab.TokenRequest(3600, m.Load(m.profiles[0]).Device.Name))
}

func refused(t *testing.T, token string) {
	t.Helper()
	lab.Eventually(t, "the old device's token is refused", func() bool {
		return !lab.Accepts(t, token)
	})
}

// isWhole expects one device, a record that is through with it, exactly the entries that its
// profiles use, and no other file than theirs. Each profile has got a token before.
func (m *machine) isWhole() {
	m.Helper()
	record := m.Load(m.profiles[0]).Record
	if record.Next != "" || len(record.Retired) > 0 || record.Revoked {
		m.Errorf("the record is not through: %+v", record)
	}
	if uids := m.deviceUIDs(); !slices.Equal(uids, []string{record.Current.SecretUID}) {
		m.Errorf("the cluster has the devices %q, not %q", uids, record.Current.SecretUID)
	}
	keys := map[keyring.Kind][]string{}
	files := []string{"devices/" + record.Name + ".yaml"}
	for _, name := range m.profiles {
		p := m.Load(name)
		keys[p.Store] = append(keys[p.Store], p.TokenKey())
		if p.Bootstrap.Duration != nil {
			keys[p.Store] = append(keys[p.Store], p.BootstrapKey())
		}
		files = append(files, "profiles/"+name+".yaml")
	}
	m.holds(keys, files)
}

// isGone expects nothing of the machine's device anywhere.
func (m *machine) isGone() {
	m.Helper()
	if uids := m.deviceUIDs(); len(uids) > 0 {
		m.Errorf("the cluster still has the devices %q", uids)
	}
	m.holds(nil, nil)
}

// holds expects exactly these entries and these files of the program.
func (m *machine) holds(keys map[keyring.Kind][]string, files []string) {
	m.Helper()
	same := func(what string, got, want []string) {
		m.Helper()
		slices.Sort(want)
		if want = slices.Compact(want); !slices.Equal(got, want) {
			m.Errorf("%s:\n\t%s\nnot\n\t%s", what, strings.Join(got, "\n\t"),
				strings.Join(want, "\n\t"))
		}
	}
	for _, kind := range []keyring.Kind{keyring.Keyring, keyring.Kernel} {
		same("store "+string(kind)+" holds", m.keys(kind), keys[kind])
	}
	same("the files are", m.files(), files)
}

// files are those of the program's own directory, sorted.
func (m *machine) files() []string {
	m.Helper()
	return lab.FilesBelow(m.T, m.Path(".config", "sa-exec-credential"))
}

func (m *machine) store(kind keyring.Kind) keyring.Store {
	m.Helper()
	store, err := keyring.Open(context.Background(), kind,
		keyring.System{Getenv: m.Service.Getenv})
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
		// Other machines use the kernel's keyring, too, and remove what is theirs.
		entry, err := store.Get(context.Background(), key)
		if err == nil && mint.ParseClaims(entry.Token.Reveal()).Namespace == m.Namespace {
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

// survives starts gnome-keyring again where it has ended with the process that was killed.
func (m *machine) survives() {
	m.Helper()
	if _, err := m.store(keyring.Keyring).Keys(context.Background()); err != nil {
		m.RestartKeyring()
	}
}
