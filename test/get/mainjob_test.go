//go:build linux

package get_test

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// bothStores runs a test with gnome-keyring, and with the kernel keyring where there is no D-Bus.
func bothStores(t *testing.T, test func(*testing.T, keyring.Kind)) {
	t.Run("with the Secret Service", func(t *testing.T) { test(t, keyring.Keyring) })
	t.Run("with the kernel keyring and no D-Bus", func(t *testing.T) {
		test(t,
			keyring.Kernel)
	})
}

func TestKubectlActsAsTheServiceAccountWithNothingButTheKubeconfigOfSetup(t *testing.T) {
	bothStores(t, func(t *testing.T, kind keyring.Kind) {
		m := newMachine(t, kind, nil)
		store := "auto"
		if kind == keyring.Kernel { // auto would have the bootstrap credential sealed
			store = "kernel"
		}
		m.Prepare("--store", store)
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
	m.Decode(m.Kubectl("auth", "whoami", "-o", "json").Silent(), &review)
	if review.Status.UserInfo.Username != m.Username() {
		m.Errorf("kubectl is %q, not %q", review.Status.UserInfo.Username, m.Username())
	}
}

func (m *machine) checkAccess() {
	m.Helper()
	want := fmt.Sprintf("No resources found in %s namespace.\n", m.Namespace)
	if r := m.Kubectl("get", "pods").Succeeds(); r.Stdout+r.Stderr != want {
		m.Errorf("kubectl get pods said %q, not %q", r.Stdout+r.Stderr, want)
	}
	for verb, want := range map[string]string{"list": "yes\n", "delete": "no\n"} {
		if r := m.Kubectl("auth", "can-i", verb, "pods"); r.Stdout != want ||
			r.Stderr != "" {
			m.Errorf("can-i %s pods: %q, not %q\n%s", verb, r.Stdout, want, r.Stderr)
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
	m.Decode(m.Plugin("status", "-o", "json").Silent(), &status)
	if len(status.Items) != 1 {
		m.Fatalf("%d profiles", len(status.Items))
	}
	item := status.Items[0]
	if item.Store != string(m.Kind()) || item.Token.State != "fresh" ||
		item.Bootstrap.State != "fresh" || item.Error != "" {
		m.Errorf("status says %+v", item)
	}
	m.Plugin("status").Succeeds().Silent()
}

// checkTokenIsTheStoredOne looks up what kubectl came with. The credential's id is the token's JTI.
func (m *machine) checkTokenIsTheStoredOne() {
	m.Helper()
	stored := mint.ParseClaims(m.Entry(m.Configuration().TokenKey()).Token.Reveal())
	const extra = "authentication.kubernetes.io/credential-id"
	seen := false
	for _, event := range m.events() {
		if event.ObjectRef.Resource != "pods" || event.User.Username != m.Username() {
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
	r := m.Kubectl("config", "view", "--raw", "-o", "json")
	var config struct {
		Clusters, Contexts, Users []struct {
			User map[string]any
		}
	}
	m.Decode(r, &config)
	if len(config.Clusters) != 1 || len(config.Contexts) != 1 || len(config.Users) != 1 {
		m.Fatalf("the kubeconfig holds more than one context:\n%s", r.Stdout)
	}
	if keys := slices.Collect(maps.Keys(config.Users[0].User)); !slices.Equal(keys,
		[]string{"exec"}) {
		m.Errorf("the user has %q", keys)
	}
}

func TestASecondSetupChangesNothing(t *testing.T) {
	bothStores(t, func(t *testing.T, kind keyring.Kind) {
		m := newMachine(t, kind, nil)
		m.Prepare()
		before := m.Snapshot()
		m.Prepare()
		for what, is := range m.Snapshot() {
			if was := before[what]; was != is {
				t.Errorf("%s was\n%s\nand is\n%s", what, was, is)
			}
		}
	})
}

func TestTenKubectlCallsCostOneTokenRequest(t *testing.T) {
	bothStores(t, func(t *testing.T, kind keyring.Kind) {
		m := newMachine(t, kind, nil)
		m.Prepare()
		m.Forget()
		before := m.Minted(account)
		for range 10 {
			m.Kubectl("get", "pods").Succeeds()
		}
		if minted := m.Minted(account) - before; minted != 1 {
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
		m.Prepare()
		for _, size := range []int{50, 200} {
			t.Run(fmt.Sprintf("of %d", size), func(t *testing.T) { m.in(t).checkCrowd(size) })
		}
		t.Run("of kubectl", func(t *testing.T) { m.in(t).checkKubectls(20) })
	})
}

// checkCrowd lets many clients ask at once. All have to get the same token.
func (m *machine) checkCrowd(size int) {
	m.Forget()
	before, reviews := m.Minted(account), m.reviews()
	results := atOnceEach(size, m.get)
	tokens := map[string]bool{}
	for _, r := range results {
		tokens[r.Silent().Token()] = true
	}
	if len(tokens) != 1 {
		m.Errorf("%d different tokens", len(tokens))
	}
	if !tokens[m.Entry(m.Configuration().TokenKey()).Token.Reveal()] {
		m.Error("the token is not the stored one")
	}
	if minted := m.Minted(account) - before; minted != 1 {
		m.Errorf("%d TokenRequests", minted)
	}
	if reviews := m.reviews() - reviews; reviews != 0 {
		m.Errorf("%d tokens were checked", reviews)
	}
}

func (m *machine) checkKubectls(size int) {
	m.Forget()
	before := m.Minted(account)
	for _, r := range atOnceEach(size, func() lab.Result {
		return m.Kubectl("auth", "whoami",
			"-o", "name")
	}) {
		r.Succeeds().Silent()
	}
	if minted := m.Minted(account) - before; minted != 1 {
		m.Errorf("%d TokenRequests", minted)
	}
}

// atOnceEach calls run many times, each time from its own goroutine, which all begin at the same
// time.
func atOnceEach(size int, run func() lab.Result) []lab.Result {
	results := make([]lab.Result, size)
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
