//go:build linux

package e2e_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
)

// bothStores runs a test with gnome-keyring, and with the kernel keyring where there is no D-Bus.
func bothStores(t *testing.T, test func(*testing.T, keyring.Kind)) {
	t.Run("with the Secret Service", func(t *testing.T) { test(t, keyring.Keyring) })
	t.Run("with the kernel keyring and no D-Bus", func(t *testing.T) { test(t, keyring.Kernel) })
}

func TestKubectlActsAsTheServiceAccountWithNothingButTheKubeconfigOfSetup(t *testing.T) {
	bothStores(t, func(t *testing.T, kind keyring.Kind) {
		m := newMachine(t, kind, nil)
		m.setup("--store", "auto")
		m.checkIdentity()
		m.checkAccess()
		m.checkStatus()
		m.checkTokenIsTheStoredOne()
		m.checkKubeconfig()
	})
}

func (m *machine) checkIdentity() {
	m.Helper()
	var review struct {
		Status struct{ UserInfo struct{ Username string } }
	}
	r := m.kubectl("auth", "whoami", "-o", "json").succeeded(m.T).silent(m.T)
	if err := json.Unmarshal([]byte(r.stdout), &review); err != nil {
		m.Fatal(err)
	}
	if review.Status.UserInfo.Username != m.username() {
		m.Errorf("kubectl is %q, not %q", review.Status.UserInfo.Username, m.username())
	}
}

func (m *machine) checkAccess() {
	m.Helper()
	want := fmt.Sprintf("No resources found in %s namespace.\n", m.namespace)
	if r := m.kubectl("get", "pods").succeeded(m.T); r.stdout+r.stderr != want {
		m.Errorf("kubectl get pods said %q, not %q", r.stdout+r.stderr, want)
	}
	for verb, want := range map[string]string{"list": "yes\n", "delete": "no\n"} {
		if r := m.kubectl("auth", "can-i", verb, "pods"); r.stdout != want || r.stderr != "" {
			m.Errorf("can-i %s pods: %q, not %q\n%s", verb, r.stdout, want, r.stderr)
		}
	}
}

func (m *machine) checkStatus() {
	m.Helper()
	var status struct {
		Items []struct {
			Store            string
			Token, Bootstrap struct{ State, ID string }
			Error            string
		}
	}
	r := m.plugin("status", "-o", "json").succeeded(m.T).silent(m.T)
	if err := json.Unmarshal([]byte(r.stdout), &status); err != nil {
		m.Fatal(err)
	}
	if len(status.Items) != 1 {
		m.Fatalf("%d profiles", len(status.Items))
	}
	item := status.Items[0]
	if item.Store != string(m.kind()) || item.Token.State != "fresh" || item.Bootstrap.State != "fresh" || item.Error != "" {
		m.Errorf("status says %+v", item)
	}
	m.plugin("status").succeeded(m.T).silent(m.T)
}

// checkTokenIsTheStoredOne looks up what kubectl came with. The credential's id is the token's JTI.
func (m *machine) checkTokenIsTheStoredOne() {
	m.Helper()
	stored := mint.ParseClaims(m.entry(m.configuration().TokenKey()).Token.Reveal())
	const extra = "authentication.kubernetes.io/credential-id"
	seen := false
	for _, event := range m.events() {
		if event.ObjectRef.Resource != "pods" || event.User.Username != m.username() {
			continue
		}
		seen = true
		if id := event.User.Extra[extra]; !slices.Equal(id, []string{"JTI=" + stored.ID}) {
			m.Errorf("kubectl came with %q, the stored token is %q", id, stored.ID)
		}
	}
	if !seen {
		m.Error("the audit log has no request for pods")
	}
}

// checkKubeconfig makes sure that kubectl had nothing else to go by.
func (m *machine) checkKubeconfig() {
	m.Helper()
	r := m.kubectl("config", "view", "--raw", "-o", "json").succeeded(m.T)
	var config struct {
		Clusters, Contexts, Users []struct {
			User map[string]any
		}
	}
	if err := json.Unmarshal([]byte(r.stdout), &config); err != nil {
		m.Fatal(err)
	}
	if len(config.Clusters) != 1 || len(config.Contexts) != 1 || len(config.Users) != 1 {
		m.Fatalf("the kubeconfig holds more than one context:\n%s", r.stdout)
	}
	if keys := slices.Collect(maps.Keys(config.Users[0].User)); !slices.Equal(keys, []string{"exec"}) {
		m.Errorf("the user has %q", keys)
	}
}

func TestASecondSetupChangesNothing(t *testing.T) {
	bothStores(t, func(t *testing.T, kind keyring.Kind) {
		m := newMachine(t, kind, nil)
		m.setup()
		before := m.snapshot()
		m.setup()
		for what, is := range m.snapshot() {
			if was := before[what]; was != is {
				t.Errorf("%s was\n%s\nand is\n%s", what, was, is)
			}
		}
	})
}

// snapshot is all that setup has made.
func (m *machine) snapshot() map[string]string {
	m.Helper()
	const versions = `jsonpath={range .items[*]}{.kind} {.metadata.name} {.metadata.resourceVersion}{"\n"}{end}`
	s := map[string]string{
		"the namespace": m.asAdmin("get", "namespace", m.namespace, "-o", "jsonpath={.metadata.resourceVersion}"),
		"the objects in the namespace": m.asAdmin("get", "serviceaccounts,secrets,roles,rolebindings", "-n", m.namespace,
			"-o", versions),
		"the policies": m.ownLines(m.asAdmin("get", "validatingadmissionpolicies,validatingadmissionpolicybindings,clusterroles,clusterrolebindings",
			"-o", versions)),
		"the bootstrap credential": mint.ParseClaims(m.entry(m.configuration().BootstrapKey()).Token.Reveal()).ID,
	}
	for what, path := range map[string]string{"the kubeconfig": ".kube/config",
		"the profile": ".config/sa-exec-credential/profiles/" + m.profile + ".yaml", "the device": ".config/sa-exec-credential/devices/" + m.configuration().Profile.Device + ".yaml"} {
		data, err := os.ReadFile(filepath.Join(m.home, path))
		if err != nil {
			m.Fatal(err)
		}
		s[what] = string(data)
	}
	return s
}

// ownLines are those that name the namespace: what is outside of it carries its name.
func (m *machine) ownLines(text string) string {
	lines := slices.DeleteFunc(strings.Split(text, "\n"), func(line string) bool {
		return !strings.Contains(line+".", m.namespace+".") && !strings.Contains(line+" ", m.namespace+" ")
	})
	return strings.Join(lines, "\n")
}

func TestTenKubectlCallsCostOneTokenRequest(t *testing.T) {
	bothStores(t, func(t *testing.T, kind keyring.Kind) {
		m := newMachine(t, kind, nil)
		m.setup()
		m.forget()
		before := m.minted(account)
		for range 10 {
			m.kubectl("get", "pods").succeeded(t)
		}
		if minted := m.minted(account) - before; minted != 1 {
			t.Errorf("%d TokenRequests", minted)
		}
		if reviews := m.reviews(); reviews != 1 { // the proof of setup
			t.Errorf("%d tokens were checked", reviews-1)
		}
	})
}

func TestACrowdOnAnEmptyCacheCostsOneTokenRequest(t *testing.T) {
	bothStores(t, func(t *testing.T, kind keyring.Kind) {
		m := newMachine(t, kind, nil)
		m.setup()
		for _, size := range []int{50, 200} {
			t.Run(fmt.Sprintf("of %d", size), func(t *testing.T) { m.in(t).checkCrowd(size) })
		}
		t.Run("of kubectl", func(t *testing.T) { m.in(t).checkKubectls(20) })
	})
}

// checkCrowd lets many clients ask at once. All have to get the same token.
func (m *machine) checkCrowd(size int) {
	m.forget()
	before, reviews := m.minted(account), m.reviews()
	results := atOnceEach(size, m.get)
	tokens := map[string]bool{}
	for _, r := range results {
		tokens[r.silent(m.T).token(m.T)] = true
	}
	if len(tokens) != 1 {
		m.Errorf("%d different tokens", len(tokens))
	}
	if !tokens[m.entry(m.configuration().TokenKey()).Token.Reveal()] {
		m.Error("the token is not the stored one")
	}
	if minted := m.minted(account) - before; minted != 1 {
		m.Errorf("%d TokenRequests", minted)
	}
	if reviews := m.reviews() - reviews; reviews != 0 {
		m.Errorf("%d tokens were checked", reviews)
	}
}

func (m *machine) checkKubectls(size int) {
	m.forget()
	before := m.minted(account)
	for _, r := range atOnceEach(size, func() result { return m.kubectl("auth", "whoami", "-o", "name") }) {
		r.succeeded(m.T).silent(m.T)
	}
	if minted := m.minted(account) - before; minted != 1 {
		m.Errorf("%d TokenRequests", minted)
	}
}

// atOnceEach calls run many times, each time from its own goroutine, which all begin at the same time.
func atOnceEach(size int, run func() result) []result {
	results := make([]result, size)
	start := make(chan struct{})
	var wait sync.WaitGroup
	for i := range results {
		wait.Go(func() {
			<-start
			results[i] = run()
		})
	}
	close(start)
	wait.Wait()
	return results
}
