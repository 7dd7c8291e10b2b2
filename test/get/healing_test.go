//go:build linux

package get_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// repeats is how often one process asks in a row.
const repeats = 50

func TestAProcessThatAsksAgainAndAgainCostsNoMint(t *testing.T) {
	bothStores(t, func(t *testing.T, kind keyring.Kind) {
		m := newMachine(t, kind, nil)
		m.Prepare()
		minted, reviews := m.Minted(account), m.reviews()
		r := m.loop()
		if answers := lab.TokensIn(r.Stdout); answers != repeats {
			t.Errorf("%d answers", answers)
		}
		if minted := m.Minted(account) - minted; minted != 0 {
			t.Errorf("%d TokenRequests", minted)
		}
		// The first repeat is checked, and further ones ever less often: 15 seconds, 30,
		// 60 and so on after it.
		if reviews := m.reviews() - reviews; reviews < 1 || reviews > 3 {
			t.Errorf("%d tokens were checked", reviews)
		}
	})
}

// loop asks from one shell.
func (m *machine) loop() lab.Result {
	m.Helper()
	script := fmt.Sprintf(`export "$0"; i=0; while [ $i -lt %d ]; do i=$((i+1)); "$@" || exit; done`, repeats)
	args := []string{"/bin/sh", "-c", script, "KUBERNETES_EXEC_INFO=" + m.ExecInfo(),
		lab.Plugin, "get", "--profile", m.Profile}
	c := lab.Command{Args: args, Env: m.Env(), PrintsToken: true}
	return c.Run(m.T).Succeeds().Silent()
}

func TestKubectlWorksAtOnceAfterTheSigningKeysWereReplaced(t *testing.T) {
	afterwards := map[keyring.Kind]func(*testing.T){}
	for _, kind := range []keyring.Kind{keyring.Keyring, keyring.Kernel} {
		afterwards[kind] = withOldKeys(t, kind)
	}
	if err := lab.Plane.RotateServiceAccountKeys(context.Background()); err != nil {
		t.Fatal(err)
	}
	bothStores(t, func(t *testing.T, kind keyring.Kind) { afterwards[kind](t) })
}

// withOldKeys prepares machines, and returns what becomes of them.
func withOldKeys(t *testing.T, kind keyring.Kind) (afterwards func(*testing.T)) {
	byCertificate, recovering, byToken := newMachine(t, kind, nil), newMachine(t, kind, nil),
		newMachine(t, kind, nil)
	byCertificate.Prepare("--bootstrap", "context=admin@test")
	recovering.Prepare("--recover")
	byToken.Prepare()
	healing := []*machine{byCertificate, recovering}
	minted := []int{byCertificate.Minted(account), recovering.Minted(account)}
	return func(t *testing.T) {
		for i, m := range healing {
			m := m.in(t)
			m.Kubectl("get", "pods").Succeeds()
			if minted := m.Minted(account) - minted[i]; minted != 1 {
				t.Errorf("%d TokenRequests", minted)
			}
		}
		// A bootstrap credential in the store was signed with the old keys. Without
		// --recover nothing can replace it but setup.
		m := byToken.in(t)
		m.Forget()
		m.get().OneError(exitBootstrap)
		m.Prepare()
		m.Kubectl("get", "pods").Succeeds()
	}
}

// TestARefusedTokenIsReplacedWithoutLogout makes the service account again, so that everything
// but the cached token is as it was. client-go hands a 401 to its caller and only then runs the
// plugin again: a kubectl that has still to discover what the server has gets over that, one
// whose only request is refused cannot.
func TestARefusedTokenIsReplacedWithoutLogout(t *testing.T) {
	t.Parallel()
	m := newMachine(t, keyring.Kernel, nil)
	for _, discovers := range []bool{true, false} {
		t.Run(fmt.Sprintf("kubectl discovers: %v", discovers), func(t *testing.T) {
			m := m.in(t)
			m.Prepare()
			m.Kubectl("get", "pods").Succeeds()
			m.makeAccountAgain()
			if discovers {
				m.forgetDiscovery()
			}
			minted := m.Minted(account)
			if r := m.Kubectl("get", "pods"); discovers {
				r.Succeeds()
			}
			m.Kubectl("get", "pods").Succeeds()
			if minted := m.Minted(account) - minted; minted != 1 {
				t.Errorf("%d TokenRequests", minted)
			}
		})
	}
}

// TestARefusedTokenIsReplacedBehindAWrapper has a script between kubectl and the plugin, which is
// another process each time.
func TestARefusedTokenIsReplacedBehindAWrapper(t *testing.T) {
	t.Parallel()
	m := newMachine(t, keyring.Kernel, nil)
	m.Prepare()
	m.Variables = []string{"KUBECONFIG=" + m.withPlugin(m.Wrapper(1))}
	m.Kubectl("get", "pods").Succeeds()
	m.makeAccountAgain()
	m.forgetDiscovery()
	m.Kubectl("get", "pods").Succeeds()
}

// makeAccountAgain deletes the service account and makes another one of its name. It returns when
// the API server has forgotten that it knew the cached token.
func (m *machine) makeAccountAgain() {
	m.Helper()
	old, _ := m.Tokens(m.Configuration())
	m.AsAdmin("delete", "serviceaccount", "-n", m.Namespace, account)
	m.AsAdmin("create", "serviceaccount", "-n", m.Namespace, account)
	lab.Eventually(m.T, "the old token is refused", func() bool {
		return !lab.Accepts(m.T,
			old)
	})
}

// forgetDiscovery removes what kubectl remembers of the API server.
func (m *machine) forgetDiscovery() {
	m.Helper()
	if err := os.RemoveAll(m.Path(".kube", "cache")); err != nil {
		m.Fatal(err)
	}
}

func TestTheBootstrapCredentialRenewsItselfAfterHalfItsLife(t *testing.T) {
	bothStores(t, func(t *testing.T, kind keyring.Kind) {
		m := newMachine(t, kind, nil)
		m.Prepare()
		key, minted := m.Configuration().BootstrapKey(), m.renewed()
		m.Forget()
		m.get().Silent().Token()
		if minted := m.renewed() - minted; minted != 0 {
			t.Fatalf("it was renewed %d times in the first half of its life", minted)
		}

		old := m.Entry(key)
		m.Age(key, 400./720)
		m.Forget()
		m.get().Silent().Token()
		m.checkRenewed(old, minted)

		// The new one is good, and it is not renewed again.
		m.Forget()
		m.get().Silent().Token()
		if minted := m.renewed() - minted; minted != 1 {
			t.Errorf("it was renewed %d times", minted)
		}
	})
}

// checkRenewed looks for one more TokenRequest of the device for itself, and for its token in the
// store.
func (m *machine) checkRenewed(old keyring.Entry, before int) {
	m.Helper()
	device := m.Configuration().Device
	if minted := m.renewed() - before; minted != 1 {
		m.Errorf("it was renewed %d times", minted)
	}
	for _, event := range m.events()[len(m.events())-2:] {
		if want := mint.Username(m.Namespace, device.Name); event.User.Username != want {
			m.Errorf("%s %s was asked by %q, not by %q", event.Verb, event.RequestURI,
				event.User.Username, want)
		}
	}
	renewed := m.Entry(m.Configuration().BootstrapKey())
	if renewed.Token == old.Token || time.Until(renewed.ExpiresAt) < 700*time.Hour {
		m.Errorf("the store still has the old one, which expires at %v", renewed.ExpiresAt)
	}
	claims := mint.ParseClaims(renewed.Token.Reveal())
	if claims.ServiceAccount != device.Name || claims.BoundSecret.UID != device.SecretUID {
		m.Errorf("the new one is for %q and bound to %+v", claims.ServiceAccount,
			claims.BoundSecret)
	}
}

func TestARenewalThatFailsCostsNothing(t *testing.T) {
	m := newMachine(t, keyring.Kernel, nil)
	m.Prepare()
	key, device := m.Configuration().BootstrapKey(), m.Configuration().Device.Name
	m.Age(key, 400./720)
	m.AsAdmin("patch", "role", "-n", m.Namespace, device, "--type=json",
		`-p=[{"op":"replace","path":"/rules/0/resourceNames","value":["`+account+`"]}]`)
	before := len(m.events())
	lab.Eventually(t, "the renewal is forbidden", func() bool {
		m.Forget()
		m.get().Silent().Token()
		events := m.events()
		last := events[len(events)-1]
		return len(events) > before && last.IsTokenRequest(m.Namespace, device) &&
			last.ResponseStatus.Code == 403
	})
}
