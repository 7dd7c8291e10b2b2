//go:build linux

package get_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/test/controlplane"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// rebuilt is what happens to machines when another cluster is built behind the address and the
// certificate authority of theirs, with everything in it that its administrator prepares for all
// machines, and without its devices. Each prepares some, and returns what comes afterwards. The
// first finds nothing in the cluster.
var rebuilt = []struct {
	name    string
	prepare func(*testing.T) (afterwards func(*testing.T))
}{
	{"a recovery that cannot mint leaves nothing that revoke does not find", cannotMint},
	{"kubectl works at once", worksAtOnce},
	{"a crowd is served by one recovery", crowdRecovers},
	{"who revokes a machine has the last word", revokedAfterwards},
}

// TestInARebuiltCluster builds it once for all: that takes longer than anything else here.
func TestInARebuiltCluster(t *testing.T) {
	var afterwards []func(*testing.T)
	for _, c := range rebuilt {
		afterwards = append(afterwards, c.prepare(t))
	}
	rebuild(t)
	for i, c := range rebuilt {
		t.Run(c.name, afterwards[i])
	}
}

func worksAtOnce(t *testing.T) (afterwards func(*testing.T)) {
	recovering, plain, elsewhere := newMachine(t, keyring.Keyring, nil), newMachine(t,
		keyring.Kernel, nil), newMachine(t, keyring.Kernel, nil)
	plain.Namespace, elsewhere.Namespace = recovering.Namespace, recovering.Namespace
	plain.Profile, elsewhere.Profile = recovering.Profile, recovering.Profile
	recovering.Prepare("--recover")
	plain.Prepare()
	before := recovering.Configuration()
	return func(t *testing.T) {
		recovering, plain := recovering.in(t), plain.in(t)
		elsewhere.in(t).Prepare()
		minted := recovering.Minted(account)

		recovering.Kubectl("get", "pods").Succeeds()
		if minted := recovering.Minted(account) - minted; minted != 1 {
			t.Errorf("%d TokenRequests", minted)
		}
		after := recovering.Configuration()
		if after.Device.Name != before.Device.Name ||
			after.Device.SecretUID == before.Device.SecretUID ||
			after.Device.AccountUID == before.Device.AccountUID ||
			after.Record.ClusterUID == before.Record.ClusterUID {
			t.Errorf("the record was %+v, and is %+v", before.Record, after.Record)
		}
		recovering.checkLeftovers()

		plain.Forget()
		plain.get().OneError(exitBootstrap)
		plain.Prepare()
		plain.Kubectl("get", "pods").Succeeds()
	}
}

// rebuild makes another cluster behind the address of the shared one.
func rebuild(t *testing.T) {
	t.Helper()
	if err := errors.Join(lab.Plane.Rebuild(context.Background()),
		lab.Plane.WaitForRoles(context.Background())); err != nil {
		t.Fatal(err)
	}
}

// checkLeftovers makes sure that the machine keeps what one profile needs, and nothing of the
// profile's past.
func (m *machine) checkLeftovers() {
	m.Helper()
	if keys := m.StoreKeys(); len(keys) != 2 {
		m.Errorf("the store has %d entries, not a token and a bootstrap credential",
			len(keys))
	}
	m.get().Silent().Token()
	files, err := filepath.Glob(m.Path("run", "sa-exec-credential", "*"))
	if err != nil || len(files) > 2 {
		m.Errorf("more than a lock and a record of calls: %q, %v", files, err)
	}
}

// crowdRecovers has processes that all began with the profile of the old cluster.
func crowdRecovers(t *testing.T) (afterwards func(*testing.T)) {
	m, elsewhere := newMachine(t, keyring.Keyring, nil), newMachine(t, keyring.Kernel, nil)
	elsewhere.Namespace, elsewhere.Profile = m.Namespace, m.Profile
	m.Prepare("--recover")
	m.Forget()
	return func(t *testing.T) {
		m := m.in(t)
		elsewhere.in(t).Prepare()
		minted, own := m.Minted(account), m.renewed()
		for _, r := range atOnceEach(30, m.get) {
			r.Silent().Token()
		}
		if minted, own := m.Minted(account)-minted, m.renewed()-own; minted != 1 ||
			own != 1 {
			t.Errorf("%d tokens and %d bootstrap tokens were minted", minted, own)
		}
		m.checkLeftovers()
	}
}

// revokedAfterwards has machines that each come into the new cluster in another way.
func revokedAfterwards(t *testing.T) (afterwards func(*testing.T)) {
	const other = "other"
	recovered, rotated, sibling, elsewhere := newMachine(t, keyring.Kernel, nil), newMachine(t,
		keyring.Kernel, nil), newMachine(t, keyring.Kernel, nil),
		newMachine(t, keyring.Kernel, nil)
	machines := []*machine{recovered, rotated, sibling}
	for _, m := range append(machines, elsewhere) {
		m.Namespace, m.Profile = recovered.Namespace, recovered.Profile
	}
	for _, m := range machines {
		m.Prepare("--recover")
	}
	sibling.Prepare("--recover", "--profile", other, "--duration", "30m")
	return func(t *testing.T) {
		elsewhere.in(t).Prepare("--duration", "1h")
		recovered := recovered.in(t)
		recovered.Forget()
		recovered.get().Silent().Token()
		rotated.in(t).Plugin("rotate", "--profile", rotated.Profile).Succeeds()
		// and not the profile that is tried below
		sibling.in(t).Prepare("--recover", "--profile", other, "--duration", "30m")
		for _, m := range machines {
			m.in(t).checkRevoked()
		}
	}
}

// checkRevoked deletes the machine's device, which the machine does not create again.
func (m *machine) checkRevoked() {
	m.Helper()
	m.NoteEntries()
	device := *m.Configuration().Device
	m.AsAdmin("delete", "secret", "-n", m.Namespace, device.Name)
	m.Forget()
	m.get().OneError(exitBootstrap)
	m.get().OneError(exitBootstrap)
	if left := m.AsAdmin("get", "secrets", "-n", m.Namespace, "-o",
		"name"); strings.Contains(left, device.Name) {
		m.Errorf("there is a Secret %s again", device.Name)
	}
	if !m.Configuration().Record.Revoked {
		m.Error("a revoked machine may still recover, also in the next cluster")
	}
}

// cannotMint is about an account that is missing.
func cannotMint(t *testing.T) (afterwards func(*testing.T)) {
	m, elsewhere := newMachine(t, keyring.Keyring, nil), newMachine(t, keyring.Kernel, nil)
	elsewhere.Namespace, elsewhere.Profile = m.Namespace, m.Profile
	m.Prepare("--recover")
	return func(t *testing.T) {
		m := m.in(t)
		m.Forget()
		m.get().OneError(exitBootstrap) // there is no namespace yet
		elsewhere.in(t).Prepare()
		m.AsAdmin("delete", "serviceaccount", "-n", m.Namespace, account)
		m.get().OneError(exitServer)
		device := m.Configuration().Device.Name
		m.AsAdmin("get", "secret,serviceaccount,role,rolebinding", "-n", m.Namespace,
			device)
		m.Plugin("revoke", "--profile", m.Profile, "--kubeconfig", m.Admin, "--context",
			"admin@test").Succeeds()
		left := m.AsAdmin("get", "secrets,serviceaccounts,roles,rolebindings", "-n",
			m.Namespace, "-o", "name")
		if strings.Contains(left, device) {
			t.Errorf("revoke has left %s:\n%s", device, left)
		}
		if keys := m.StoreKeys(); len(keys) > 0 {
			t.Errorf("revoke has left %q in the store", keys)
		}
	}
}

// TestARevokedMachineDoesNotRecover: an administrator who deletes a part of a device has the last
// word.
func TestARevokedMachineDoesNotRecover(t *testing.T) {
	t.Parallel()
	for _, part := range []string{"secret", "serviceaccount"} {
		t.Run(part, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t, keyring.Kernel, nil)
			m.Prepare("--recover")
			before := m.Configuration()
			m.AsAdmin("delete", part, "-n", m.Namespace, before.Device.Name)
			own := m.renewed()
			// with which tokens cannot be bound, as with an account they still can
			// for seconds
			if part == "secret" {
				m.checkEnded()
			}
			// The same once the API server has forgotten that it knew the bootstrap
			// credential.
			bootstrap := m.Entry(before.BootstrapKey()).Token.Reveal()
			lab.Eventually(t, "the bootstrap credential is refused",
				func() bool { return !lab.Accepts(t, bootstrap) })
			if part == "serviceaccount" {
				m.checkEnded()
			}
			m.get().OneError(exitBootstrap)
			if own := m.renewed() - own; own != 0 {
				t.Errorf("%d bootstrap tokens were minted", own)
			}
			if left := m.AsAdmin("get", part, "-n", m.Namespace, "-o",
				"name"); strings.Contains(left, before.Device.Name) {
				t.Errorf("there is a %s again", part)
			}
		})
	}
}

// checkEnded expects that a get finds no device, and says so.
func (m *machine) checkEnded() {
	m.Helper()
	m.Forget()
	lab.Has(m.T, "get", m.get().OneError(exitBootstrap).Stderr,
		"the device is not the one that setup created")
}

func TestAnEmptiedStoreIsFilledAgain(t *testing.T) {
	t.Parallel()
	m := newMachine(t, keyring.Kernel, nil)
	m.Prepare("--recover")
	device := *m.Configuration().Device
	m.Plugin("logout", "--profile", m.Profile, "--bootstrap").Succeeds()
	m.get().Silent().Token()
	m.NoteEntries()
	if *m.Configuration().Device != device {
		t.Error("it has another device")
	}
}

func TestARecoveryThatCannotBeIsOneError(t *testing.T) {
	t.Parallel()
	stranger, err := controlplane.NewAuthority("stranger", time.Now().AddDate(1, 0, 0))
	if err != nil {
		t.Fatal(err)
	}
	pair, err := stranger.IssueClientCert("admin", "system:masters")
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]func(kubeconfig string) error{
		"the kubeconfig is gone": os.Remove,
		"the context is gone": func(path string) error {
			return os.WriteFile(path,
				[]byte("kind: Config\napiVersion: v1\n"), 0o600)
		},
		"the administrator is refused": func(path string) error {
			return os.WriteFile(path,
				lab.Plane.Kubeconfig("admin", pair), 0o600)
		},
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, keyring.Kernel, nil)
			m.Admin = m.Path("admin")
			good := m.Read(lab.Plane.AdminKubeconfig)
			m.Write(m.Admin, good)
			m.Prepare("--recover")
			m.Plugin("logout", "--profile", m.Profile, "--bootstrap").Succeeds()
			if err := spoil(m.Admin); err != nil {
				t.Fatal(err)
			}
			if r := m.get().OneError(exitBootstrap); !strings.Contains(r.Stderr,
				`creating a new one with context "admin@test"`) {
				t.Errorf("it does not say what was tried:\n%s", r.Stderr)
			}
			m.Write(m.Admin, good)
			m.get().Silent().Token()
			m.NoteEntries()
		})
	}
}
