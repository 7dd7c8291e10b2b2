//go:build linux

package lifecycle_test

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// accepted expects both to be good.
func accepted(t *testing.T, token, bootstrap, namespace string) {
	t.Helper()
	if code := lab.Status(t, token, "/api/v1/namespaces/"+namespace+"/pods"); code != http.StatusOK {
		t.Errorf("the token is answered with %d", code)
	}
	if code := lab.Status(t, bootstrap, "/version"); code != http.StatusOK {
		t.Errorf("the bootstrap credential is answered with %d", code)
	}
}

// refused expects both to be no good, now and not only soon.
func refused(t *testing.T, tokens ...string) {
	t.Helper()
	for i, token := range tokens {
		if code := lab.Status(t, token, "/version"); code != http.StatusUnauthorized {
			t.Errorf("revoked credential %d is answered with %d", i+1, code)
		}
	}
}

func TestRevokeEndsWhatWorked(t *testing.T) {
	t.Parallel()
	m, namespace := newMachine(t), lab.Namespace()
	token, bootstrap := m.Tokens(m.Ready(namespace, "it"))
	accepted(t, token, bootstrap, namespace)
	r := m.Plugin("revoke", "--profile", "it").Succeeds()
	refused(t, token, bootstrap)
	lab.Has(t, "revoke", r.Stderr, "deleted", "refused after", `profile "it": removed`,
		"kubectl config delete-context")
	if keys := m.StoreKeys(); len(keys) > 0 {
		t.Errorf("the store still holds %q", keys)
	}
	if files := m.Files(); slices.ContainsFunc(files,
		func(f string) bool { return strings.HasSuffix(f, ".yaml") }) {
		t.Errorf("there is still a profile: %q", files)
	}
	m.Plugin("token", "--profile", "it").Fails(3, "no such profile", "setup")
	m.Plugin("revoke", "--profile", "it").Fails(3)
	r = m.Kubectl("--context", "it", "get", "pods")
	if r.Code == 0 {
		t.Error("kubectl still gets in")
	}
}

func TestRevokedDeviceEndsOneMachineAndLeavesTheOther(t *testing.T) {
	t.Parallel()
	first, second, namespace := newMachine(t), newMachine(t), lab.Namespace()
	lost := first.Ready(namespace, "it")
	kept := second.Ready(namespace, "it")
	token, bootstrap := first.Tokens(lost)
	devices := second.Devices(namespace)
	if len(devices) != 2 || devices[0].User != "jane" || devices[0].Issued == "" ||
		devices[0].Expires == "" {
		t.Fatalf("the devices are %+v", devices)
	}
	name := strings.TrimPrefix(lost.Device.Name, "ci-device-")
	second.Plugin("revoke", "--device", name, "--serviceaccount", "ci", "-n", namespace,
		"--kubeconfig", second.Admin).Succeeds()
	refused(t, token, bootstrap)
	stillGood, stillBootstrap := second.Tokens(kept)
	accepted(t, stillGood, stillBootstrap, namespace)
	told := first.Exec(lab.Plane.Kubectl, "--context", "it", "get", "pods").Fails(1, "revoked")
	if devices := second.Devices(namespace); len(devices) != 1 ||
		devices[0].Name != kept.Device.Name {
		t.Errorf("the devices are %+v", devices)
	}
	second.Plugin("revoke", "--device", name, "--serviceaccount", "ci", "-n", namespace,
		"--kubeconfig", second.Admin).Fails(2, "no such device")
	first.Follow(told)
	first.Kubectl("--context", "it", "get", "pods").Succeeds()
}

func TestRotateReplacesWhatWorked(t *testing.T) {
	t.Parallel()
	m, namespace := newMachine(t), lab.Namespace()
	before := m.Ready(namespace, "it")
	token, bootstrap := m.Tokens(before)
	accepted(t, token, bootstrap, namespace)
	m.Plugin("rotate", "--profile", "it").Succeeds()
	m.Kubectl("--context", "it", "get", "pods").Succeeds()
	after := m.Load("it")
	newToken, newBootstrap := m.Tokens(after)
	accepted(t, newToken, newBootstrap, namespace)
	lab.Eventually(t, "the old credentials are refused", func() bool {
		return lab.Status(t, token, "/version") == http.StatusUnauthorized &&
			lab.Status(t, bootstrap, "/version") == http.StatusUnauthorized
	})
	checkRotated(m, namespace, before, after)
}

func checkRotated(m *lab.Machine, namespace string, before, after lab.Profile) {
	m.Helper()
	if before.Device.SecretUID == after.Device.SecretUID || len(after.Record.Retired) > 0 {
		m.Errorf("the device was %v, is %v, retired %v", before.Device, after.Device,
			after.Record.Retired)
	}
	if devices := m.Devices(namespace); len(devices) != 1 ||
		devices[0].Name != after.Device.Name {
		m.Errorf("the devices are %+v, want %q", devices, after.Device.Name)
	}
	if keys := m.StoreKeys(); len(keys) != 2 || !slices.Contains(keys, after.TokenKey()) ||
		!slices.Contains(keys, after.BootstrapKey()) {
		m.Errorf("the store holds %q, want those of the new device", keys)
	}
}

func TestLogoutForgetsTheBootstrapCredentialAndSetupMakesANewOne(t *testing.T) {
	t.Parallel()
	m, namespace := newMachine(t), lab.Namespace()
	m.Ready(namespace, "it")
	m.Plugin("logout", "--profile", "it").Succeeds()
	m.Kubectl("--context", "it", "get", "pods").Succeeds()
	m.Plugin("logout", "--profile", "it", "--bootstrap").Succeeds()
	if keys := m.StoreKeys(); len(keys) > 0 {
		t.Errorf("the store still holds %q", keys)
	}
	m.Follow(m.Plugin("token", "--profile", "it").Fails(4))
	m.Kubectl("--context", "it", "get", "pods").Succeeds()
	if devices := m.Devices(namespace); len(devices) != 1 {
		t.Errorf("the machine has become another: %+v", devices)
	}
}

func TestDevicesOfATableAreReadable(t *testing.T) {
	t.Parallel()
	m, namespace := newMachine(t), lab.Namespace()
	m.Ready(namespace, "it")
	r := m.Plugin("devices", "ci", "-n", namespace, "--kubeconfig", m.Admin).Succeeds()
	if !regexp.MustCompile(`(?s)^DEVICE +HOST +USER .*\n\S+ +\S+ +jane +\d{4}-\d\d-\d\d `).MatchString(r.Stdout) {
		t.Errorf("devices printed\n%s", r.Stdout)
	}
}
