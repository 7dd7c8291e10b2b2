//go:build linux

package journeys_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// status asks the API server with a token.
func status(t *testing.T, token, path string) int {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, shared.plane.Server+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := anonymous().Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	return response.StatusCode
}

// ready sets up a machine for an account that may list pods and returns its profile.
func (m *machine) ready(namespace, name string, more ...string) lab.Profile {
	m.Helper()
	m.setup(append([]string{"ci", "-n", namespace, "--profile", name, "--cluster-role", "view"}, more...)...).succeeds()
	m.kubectl(name, "get", "pods").succeeds()
	return m.profile(name)
}

// tokens are what a profile has in the store: its token and its bootstrap credential.
func (m *machine) tokens(p lab.Profile) (token, bootstrap string) {
	m.Helper()
	return m.kept(p.TokenKey()), m.kept(p.BootstrapKey())
}

// accepted expects both to be good.
func accepted(t *testing.T, token, bootstrap, namespace string) {
	t.Helper()
	if code := status(t, token, "/api/v1/namespaces/"+namespace+"/pods"); code != http.StatusOK {
		t.Errorf("the token is answered with %d", code)
	}
	if code := status(t, bootstrap, "/version"); code != http.StatusOK {
		t.Errorf("the bootstrap credential is answered with %d", code)
	}
}

// refused expects both to be no good, now and not only soon.
func refused(t *testing.T, tokens ...string) {
	t.Helper()
	for i, token := range tokens {
		if code := status(t, token, "/version"); code != http.StatusUnauthorized {
			t.Errorf("revoked credential %d is answered with %d", i+1, code)
		}
	}
}

func TestRevokeEndsWhatWorked(t *testing.T) {
	t.Parallel()
	m, namespace := newMachine(t), newNamespace()
	token, bootstrap := m.tokens(m.ready(namespace, "it"))
	accepted(t, token, bootstrap, namespace)
	r := m.run("revoke", "--profile", "it").succeeds()
	refused(t, token, bootstrap)
	has(t, "revoke", r.stderr, "deleted", "refused after", `profile "it": removed`, "kubectl config delete-context")
	if keys := m.storeKeys(); len(keys) > 0 {
		t.Errorf("the store still holds %q", keys)
	}
	if files := m.files(); slices.ContainsFunc(files, func(f string) bool { return strings.HasSuffix(f, ".yaml") }) {
		t.Errorf("there is still a profile: %q", files)
	}
	m.run("token", "--profile", "it").fails(3, "setup makes one")
	m.run("revoke", "--profile", "it").fails(3)
	r = m.kubectl("it", "get", "pods")
	if r.code == 0 {
		t.Error("kubectl still gets in")
	}
}

func TestRevokedDeviceEndsOneMachineAndLeavesTheOther(t *testing.T) {
	t.Parallel()
	first, second, namespace := newMachine(t), newMachine(t), newNamespace()
	lost := first.ready(namespace, "it")
	kept := second.ready(namespace, "it")
	token, bootstrap := first.tokens(lost)
	devices := second.devices(namespace)
	if len(devices) != 2 || devices[0].User != "jane" || devices[0].Issued == "" || devices[0].Expires == "" {
		t.Fatalf("the devices are %+v", devices)
	}
	name := strings.TrimPrefix(lost.Device.Secret, "ci-device-")
	second.run("revoke", "--device", name, "--serviceaccount", "ci", "-n", namespace, "--kubeconfig", second.admin).succeeds()
	refused(t, token, bootstrap)
	stillGood, stillBootstrap := second.tokens(kept)
	accepted(t, stillGood, stillBootstrap, namespace)
	first.start("", shared.plane.Kubectl, "--context", "it", "get", "pods").fails(1, "run setup again")
	if devices := second.devices(namespace); len(devices) != 1 || devices[0].Secret != kept.Device.Secret {
		t.Errorf("the devices are %+v", devices)
	}
	second.run("revoke", "--device", name, "--serviceaccount", "ci", "-n", namespace, "--kubeconfig", second.admin).fails(2, "no such device")
	first.setup("ci", "-n", namespace, "--profile", "it").succeeds()
	first.kubectl("it", "get", "pods").succeeds()
}

type device struct {
	Name, Secret, User string
	Issued             string `json:"bootstrapIssuedAt"`
	Expires            string `json:"bootstrapExpirationTimestamp"`
}

func (m *machine) devices(namespace string) []device {
	m.Helper()
	var list struct{ Items []device }
	r := m.run("devices", "ci", "-n", namespace, "--kubeconfig", m.admin, "-o", "json").succeeds()
	if err := json.Unmarshal([]byte(r.stdout), &list); err != nil {
		m.Fatal(err)
	}
	return list.Items
}

func TestRotateReplacesWhatWorked(t *testing.T) {
	t.Parallel()
	m, namespace := newMachine(t), newNamespace()
	before := m.ready(namespace, "it")
	token, bootstrap := m.tokens(before)
	accepted(t, token, bootstrap, namespace)
	m.run("rotate", "--profile", "it").succeeds()
	m.kubectl("it", "get", "pods").succeeds()
	after := m.profile("it")
	newToken, newBootstrap := m.tokens(after)
	accepted(t, newToken, newBootstrap, namespace)
	eventually(t, "the old credentials are refused", func() bool {
		return status(t, token, "/version") == http.StatusUnauthorized && status(t, bootstrap, "/version") == http.StatusUnauthorized
	})
	m.checkRotated(namespace, before, after)
}

func (m *machine) checkRotated(namespace string, before, after lab.Profile) {
	m.Helper()
	if before.Device.UID == after.Device.UID || len(after.Record.Retired) > 0 {
		m.Errorf("the device was %v, is %v, retired %v", before.Device, after.Device, after.Record.Retired)
	}
	if devices := m.devices(namespace); len(devices) != 1 || devices[0].Secret != after.Device.Secret {
		m.Errorf("the devices are %+v, want %q", devices, after.Device.Secret)
	}
	if keys := m.storeKeys(); len(keys) != 2 || !slices.Contains(keys, after.TokenKey()) || !slices.Contains(keys, after.BootstrapKey()) {
		m.Errorf("the store holds %q, want those of the new device", keys)
	}
}

// TestRotateThatIsKilledAnywhereIsFinishedByTheNext lets each of rotate's requests be the last thing that it did.
func TestRotateThatIsKilledAnywhereIsFinishedByTheNext(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.start("", s.arguments()...).succeeds()
	s.gate.arm(0, false, nil)
	s.run("rotate", "--profile", "it").succeeds()
	requests := s.gate.requests()
	if len(requests) < 5 {
		t.Fatalf("rotate made only the requests %q", requests)
	}
	for i, request := range requests {
		for _, after := range []bool{false, true} {
			if after && !writes(request) {
				continue
			}
			t.Run(fmt.Sprintf("%d %s, after its answer: %v", i+1, path(request, s.namespace), after), func(t *testing.T) {
				m := *s.machine
				m.T = t
				(&site{machine: &m, gate: s.gate, namespace: s.namespace}).rotatedTwice(i+1, after)
			})
		}
	}
}

func (s *site) rotatedTwice(request int, after bool) {
	s.Helper()
	before := s.profile("it")
	s.killed([]string{shared.plugin, "rotate", "--profile", "it"}, request, after)
	s.noSecretInFiles()
	s.kubectl("it", "get", "pods").succeeds()
	s.run("rotate", "--profile", "it").succeeds()
	s.kubectl("it", "get", "pods").succeeds()
	s.checkRotated(s.namespace, before, s.profile("it"))
}

func TestLogoutForgetsTheBootstrapCredentialAndSetupMakesANewOne(t *testing.T) {
	t.Parallel()
	m, namespace := newMachine(t), newNamespace()
	m.ready(namespace, "it")
	m.run("logout", "--profile", "it").succeeds()
	m.kubectl("it", "get", "pods").succeeds()
	m.run("logout", "--profile", "it", "--bootstrap").succeeds()
	if keys := m.storeKeys(); len(keys) > 0 {
		t.Errorf("the store still holds %q", keys)
	}
	m.run("token", "--profile", "it").fails(4, "run setup again")
	m.ready(namespace, "it")
	if devices := m.devices(namespace); len(devices) != 1 {
		t.Errorf("the machine has become another: %+v", devices)
	}
}

func TestDevicesOfATableAreReadable(t *testing.T) {
	t.Parallel()
	m, namespace := newMachine(t), newNamespace()
	m.ready(namespace, "it")
	r := m.run("devices", "ci", "-n", namespace, "--kubeconfig", m.admin).succeeds()
	if !regexp.MustCompile(`(?s)^DEVICE +HOST +USER .*\n\S+ +\S+ +jane +\d{4}-\d\d-\d\d `).MatchString(r.stdout) {
		t.Errorf("devices printed\n%s", r.stdout)
	}
}
