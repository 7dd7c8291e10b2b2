//go:build linux

package e2e_test

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
)

// TestKubectlWorksAtOnceAfterTheClusterWasRebuilt behind the same address and certificate authority, with everything in
// it that its administrator prepares for all machines, and without the Secrets of its devices.
func TestKubectlWorksAtOnceAfterTheClusterWasRebuilt(t *testing.T) {
	recovering, plain, elsewhere := newMachine(t, keyring.Keyring, nil), newMachine(t, keyring.Kernel, nil), newMachine(t, keyring.Kernel, nil)
	plain.namespace, elsewhere.namespace = recovering.namespace, recovering.namespace
	plain.profile, elsewhere.profile = recovering.profile, recovering.profile
	recovering.setup("--recover")
	plain.setup()
	before := recovering.configuration()
	rebuild(t)
	elsewhere.setup()
	minted := recovering.minted(account)

	recovering.kubectl("get", "pods").succeeded(t)
	if minted := recovering.minted(account) - minted; minted != 1 {
		t.Errorf("%d TokenRequests", minted)
	}
	after := recovering.configuration()
	if after.Device.Secret != before.Device.Secret || after.Device.UID == before.Device.UID || after.Record.ClusterUID == before.Record.ClusterUID {
		t.Errorf("the record was %+v, and is %+v", before.Record, after.Record)
	}
	recovering.checkLeftovers()

	plain.forget()
	plain.get().failed(t, exitBootstrap)
	plain.setup()
	plain.kubectl("get", "pods").succeeded(t)
}

// rebuild makes another cluster behind the address of the shared one.
func rebuild(t *testing.T) {
	t.Helper()
	if err := errors.Join(shared.plane.Rebuild(context.Background()), shared.plane.WaitForRoles(context.Background())); err != nil {
		t.Fatal(err)
	}
}

// checkLeftovers makes sure that the machine keeps what one profile needs, and nothing of the profile's past.
func (m *machine) checkLeftovers() {
	m.Helper()
	keys, err := m.store().Keys(context.Background())
	if err != nil {
		m.Fatal(err)
	}
	if len(keys) != 2 {
		m.Errorf("the store has %d entries, not a token and a bootstrap credential", len(keys))
	}
	m.get().silent(m.T).token(m.T)
	files, err := filepath.Glob(filepath.Join(m.home, "run", "sa-exec-credential", "*"))
	if err != nil || len(files) > 2 {
		m.Errorf("more than a lock and a record of calls: %q, %v", files, err)
	}
}

// TestACrowdInARebuiltClusterIsServedByOneRecovery has processes that all began with the profile of the old cluster.
func TestACrowdInARebuiltClusterIsServedByOneRecovery(t *testing.T) {
	m, elsewhere := newMachine(t, keyring.Keyring, nil), newMachine(t, keyring.Kernel, nil)
	elsewhere.namespace, elsewhere.profile = m.namespace, m.profile
	m.setup("--recover")
	m.forget()
	rebuild(t)
	elsewhere.setup()
	minted, own := m.minted(account), m.minted(account+"-bootstrap")
	for _, r := range atOnceEach(30, m.get) {
		r.silent(t).token(t)
	}
	if minted, own := m.minted(account)-minted, m.minted(account+"-bootstrap")-own; minted != 1 || own != 1 {
		t.Errorf("%d tokens and %d bootstrap tokens were minted", minted, own)
	}
	m.checkLeftovers()
}

// TestWhoRevokesAMachineInARebuiltClusterHasTheLastWord, whatever has brought the machine into that cluster.
func TestWhoRevokesAMachineInARebuiltClusterHasTheLastWord(t *testing.T) {
	const other = "other"
	recovered, rotated, sibling, elsewhere := newMachine(t, keyring.Kernel, nil), newMachine(t, keyring.Kernel, nil), newMachine(t, keyring.Kernel, nil),
		newMachine(t, keyring.Kernel, nil)
	machines := []*machine{recovered, rotated, sibling}
	for _, m := range append(machines, elsewhere) {
		m.namespace, m.profile = recovered.namespace, recovered.profile
	}
	for _, m := range machines {
		m.setup("--recover")
	}
	sibling.setup("--recover", "--profile", other, "--duration", "30m")
	rebuild(t)
	elsewhere.setup("--duration", "1h")
	recovered.forget()
	recovered.get().silent(t).token(t)
	rotated.plugin("rotate", "--profile", rotated.profile).succeeded(t)
	sibling.setup("--recover", "--profile", other, "--duration", "30m") // and not the profile that is tried below
	for _, m := range machines {
		m.noteEntries()
		device := *m.configuration().Device
		m.asAdmin("delete", "secret", "-n", m.namespace, device.Secret)
		m.forget()
		m.get().failed(t, exitBootstrap)
		m.get().failed(t, exitBootstrap)
		if left := m.asAdmin("get", "secrets", "-n", m.namespace, "-o", "name"); strings.Contains(left, device.Secret) {
			t.Errorf("there is a Secret %s again", device.Secret)
		}
		if !m.configuration().Record.Revoked {
			t.Error("a revoked machine may still recover, also in the next cluster")
		}
	}
}

// TestARecoveryThatCannotMintLeavesNothingThatRevokeDoesNotFind: the role of the bootstrap account is missing.
func TestARecoveryThatCannotMintLeavesNothingThatRevokeDoesNotFind(t *testing.T) {
	m, elsewhere := newMachine(t, keyring.Keyring, nil), newMachine(t, keyring.Kernel, nil)
	elsewhere.namespace, elsewhere.profile = m.namespace, m.profile
	m.setup("--recover")
	rebuild(t)
	m.forget()
	m.get().failed(t, exitBootstrap) // there is no namespace yet
	elsewhere.setup()
	m.asAdmin("delete", "rolebinding", "-n", m.namespace, account+"-bootstrap")
	eventually(t, "minting is forbidden", func() bool {
		elsewhere.forget()
		return elsewhere.get().code == exitForbidden
	})
	m.get().failed(t, exitForbidden)
	device := m.configuration().Device.Secret
	m.asAdmin("get", "secret", "-n", m.namespace, device)
	m.plugin("revoke", "--profile", m.profile, "--kubeconfig", m.admin, "--context", "admin@test").succeeded(t)
	if left := m.asAdmin("get", "secrets", "-n", m.namespace, "-o", "name"); strings.Contains(left, device) {
		t.Errorf("revoke has left the Secret %s", device)
	}
	if keys, err := m.store().Keys(context.Background()); err != nil || len(keys) > 0 {
		t.Errorf("revoke has left %q in the store, %v", keys, err)
	}
}

// TestARevokedMachineDoesNotRecover: an administrator who deletes a device Secret has the last word.
func TestARevokedMachineDoesNotRecover(t *testing.T) {
	t.Parallel()
	m := newMachine(t, keyring.Kernel, nil)
	m.setup("--recover")
	m.asAdmin("delete", "secret", "-n", m.namespace, m.configuration().Device.Secret)
	own := m.minted(account + "-bootstrap")
	m.forget()
	if r := m.get().failed(t, exitBootstrap); !strings.Contains(r.stderr, "device Secret") {
		t.Errorf("it does not say what is gone:\n%s", r.stderr)
	}
	// The same once the API server has forgotten that it knew the bootstrap credential.
	bootstrap := m.entry(m.configuration().BootstrapKey())
	eventually(t, "the bootstrap credential is refused", func() bool { return !m.accepted(bootstrap) })
	m.get().failed(t, exitBootstrap)
	if own := m.minted(account+"-bootstrap") - own; own != 0 {
		t.Errorf("%d bootstrap tokens were minted", own)
	}
	if secrets := m.asAdmin("get", "secrets", "-n", m.namespace, "-o", "name"); secrets != "" {
		t.Errorf("there is a Secret again: %s", secrets)
	}
}

func TestAnEmptiedStoreIsFilledAgain(t *testing.T) {
	t.Parallel()
	m := newMachine(t, keyring.Kernel, nil)
	m.setup("--recover")
	device := *m.configuration().Device
	m.plugin("logout", "--profile", m.profile, "--bootstrap").succeeded(t)
	m.get().silent(t).token(t)
	m.noteEntries()
	if *m.configuration().Device != device {
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
		"the kubeconfig is gone":       os.Remove,
		"the context is gone":          func(path string) error { return os.WriteFile(path, []byte("kind: Config\napiVersion: v1\n"), 0o600) },
		"the administrator is refused": func(path string) error { return os.WriteFile(path, shared.plane.Kubeconfig("admin", pair), 0o600) },
	}
	for name, spoil := range tests {
		t.Run(name, func(t *testing.T) {
			m := newMachine(t, keyring.Kernel, nil)
			m.admin = filepath.Join(m.home, "admin")
			good, err := os.ReadFile(shared.plane.AdminKubeconfig)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(m.admin, good, 0o600); err != nil {
				t.Fatal(err)
			}
			m.setup("--recover")
			m.plugin("logout", "--profile", m.profile, "--bootstrap").succeeded(t)
			if err := spoil(m.admin); err != nil {
				t.Fatal(err)
			}
			if r := m.get().failed(t, exitBootstrap); !strings.Contains(r.stderr, `making a new one with context "admin@test"`) {
				t.Errorf("it does not say what was tried:\n%s", r.stderr)
			}
			if err := os.WriteFile(m.admin, good, 0o600); err != nil {
				t.Fatal(err)
			}
			m.get().silent(t).token(t)
			m.noteEntries()
		})
	}
}
