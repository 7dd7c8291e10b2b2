//go:build linux

package e2e_test

import (
	"context"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/test/controlplane"
	"github.com/sa-exec-credential/sa-exec-credential/test/faultproxy"
)

// The program's exit codes.
const (
	exitUsage     = 2
	exitProfile   = 3
	exitBootstrap = 4
	exitServer    = 5
	exitStore     = 6
	exitForbidden = 7
)

// oddAnswers are faults of an answer to a TokenRequest, with the exit code of a get that has no token.
var oddAnswers = map[faultproxy.Fault]int{
	"401": exitBootstrap, "403": exitForbidden, "404": exitServer, "409": exitBootstrap, "410": exitServer,
	"422": exitServer, "429": exitServer, "500": exitServer, "503": exitServer,
	faultproxy.Reset: exitServer, faultproxy.Cut: exitServer, faultproxy.Endless: exitServer, faultproxy.Page: exitServer,
	faultproxy.NoToken: exitServer, faultproxy.Past: exitServer, faultproxy.OtherJSON: exitServer,
}

func TestEachOddAnswerOfTheServerIsOneErrorAndTheNextCallWorks(t *testing.T) {
	door := newDoor(t)
	m := newMachine(t, keyring.Kernel, door)
	m.setup()
	proxy := door.leadToProxy(t)
	for fault, code := range oddAnswers {
		t.Run(string(fault), func(t *testing.T) {
			m := m.in(t)
			m.forget()
			proxy.setFault(fault)
			m.get().failed(t, code)
			proxy.setFault(faultproxy.None)
			m.get().silent(t).token(t)
		})
	}
}

// TestATokenThatIsStillGoodOutlivesEveryFault goes through the same faults with a token in the store that is to be replaced.
func TestATokenThatIsStillGoodOutlivesEveryFault(t *testing.T) {
	t.Parallel()
	m, proxy, old := newStaleMachine(t)
	for _, fault := range append(slices.Collect(maps.Keys(oddAnswers)), faultproxy.Hang) {
		t.Run(string(fault), func(t *testing.T) {
			m := m.in(t)
			proxy.setFault(fault)
			m.forgetCalls() // else nobody would try again so soon after a failure
			asked := proxy.asked()
			if token := m.get().silent(t).token(t); token != old {
				t.Error("it is another token")
			}
			if proxy.asked() == asked {
				t.Error("nobody has tried to replace it")
			}
		})
	}
	proxy.setFault(faultproxy.None)
	m.forgetCalls()
	if m.get().silent(t).token(t) == old {
		t.Error("the token is not replaced when all faults are over")
	}
}

// newStaleMachine has a token that is to be replaced, and a proxy before the API server.
func newStaleMachine(t *testing.T) (m *machine, proxy *proxy, old string) {
	t.Helper()
	door := newDoor(t)
	m = newMachine(t, keyring.Kernel, door)
	m.setup()
	m.makeStale()
	return m, door.leadToProxy(t), m.entry(m.configuration().TokenKey()).Token.Reveal()
}

// forgetCalls removes what is remembered of the calls so far.
func (m *machine) forgetCalls() {
	m.Helper()
	for _, folder := range []string{"run", ".cache"} {
		if err := os.RemoveAll(filepath.Join(m.home, folder, "sa-exec-credential")); err != nil {
			m.Fatal(err)
		}
	}
}

// TestAStaleTokenIsReplacedByOneProcessWhileAllOthersGoOn has that one hang, and the others answered before it is done.
func TestAStaleTokenIsReplacedByOneProcessWhileAllOthersGoOn(t *testing.T) {
	t.Parallel()
	m, proxy, old := newStaleMachine(t)
	proxy.setFault(faultproxy.Hang)
	first := make(chan result, 1)
	go func() { first <- m.get() }()
	eventually(t, "the first one asks for a new token", func() bool { return proxy.asked() > 0 })
	for range 10 {
		if m.get().silent(t).token(t) != old {
			t.Error("it is another token")
		}
	}
	select {
	case <-first:
		t.Error("the others have waited for the first one")
	default:
	}
	if (<-first).silent(t).token(t) != old {
		t.Error("the first one has another token")
	}
	if asked := proxy.asked(); asked != 1 {
		t.Errorf("%d TokenRequests", asked)
	}
}

func TestACrowdWithAStaleTokenCostsOneTokenRequest(t *testing.T) {
	bothStores(t, func(t *testing.T, kind keyring.Kind) {
		m := newMachine(t, kind, nil)
		m.setup()
		m.makeStale()
		before := m.minted(account)
		for _, r := range atOnceEach(50, m.get) {
			r.silent(t).token(t)
		}
		if minted := m.minted(account) - before; minted != 1 {
			t.Errorf("%d TokenRequests", minted)
		}
	})
}

// makeStale moves the times of the cached token so that it has a few minutes left of its hour.
func (m *machine) makeStale() {
	m.Helper()
	key := m.configuration().TokenKey()
	entry := m.entry(key)
	entry.IssuedAt, entry.ExpiresAt = time.Now().Add(-56*time.Minute), time.Now().Add(4*time.Minute)
	m.setEntry(key, entry)
}

func TestAServerThatDoesNotAnswerIsOneErrorWithinTheDeadline(t *testing.T) {
	t.Parallel()
	for name, arrange := range map[string]func(*testing.T, *door){
		"the TLS handshake": func(_ *testing.T, d *door) { d.lead(hang) },
		"the request":       func(t *testing.T, d *door) { d.leadToProxy(t).setFault(faultproxy.Hang) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			door := newDoor(t)
			m := newMachine(t, keyring.Kernel, door)
			m.setup()
			m.forget()
			arrange(t, door)
			m.get().failed(t, exitServer)
			door.leadTo(shared.plane.Server)
			m.get().silent(t).token(t)
		})
	}
}

func TestAServerThatCannotBeTrustedGetsNothing(t *testing.T) {
	door := newDoor(t)
	m := newMachine(t, keyring.Kernel, door)
	m.setup()

	t.Run("another authority", func(t *testing.T) {
		m := m.in(t)
		m.forget()
		door.leadToImpostor(t, newAuthority(t, time.Now().AddDate(1, 0, 0)))
		m.get().failed(t, exitServer)
		door.leadTo(shared.plane.Server)
		m.get().silent(t).token(t)
	})
	t.Run("the profile's own authority, which has expired", func(t *testing.T) {
		expired := newAuthority(t, time.Now().Add(-time.Minute))
		m := m.in(t).trusting(expired)
		door.leadToImpostor(t, expired)
		r := m.getWith(execInfo(m.server, expired.PEM)).failed(t, exitServer)
		if !strings.Contains(r.stderr, "expired") {
			t.Errorf("it does not say that something has expired:\n%s", r.stderr)
		}
	})
}

func newAuthority(t *testing.T, notAfter time.Time) *controlplane.Authority {
	t.Helper()
	authority, err := controlplane.NewAuthority("impostor", notAfter)
	if err != nil {
		t.Fatal(err)
	}
	return authority
}

// trusting is the machine with a profile of another authority, which has the same bootstrap credential.
func (m *machine) trusting(authority *controlplane.Authority) *machine {
	m.Helper()
	p := m.configuration()
	entry := m.entry(p.BootstrapKey())
	p.Name, p.Cluster.CertificateAuthorityData = "trusting", profile.Base64(authority.PEM)
	if err := m.profiles().Save(p.Profile); err != nil {
		m.Fatal(err)
	}
	m.profile = p.Name
	m.setEntry(p.BootstrapKey(), entry)
	return m
}

func TestWhatAClientSaysWrongIsOneError(t *testing.T) {
	m := newMachine(t, keyring.Kernel, nil)
	m.setup()
	const head = `{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":`
	tests := []struct {
		name, execInfo string
		code           int
	}{
		{"nothing", "", exitUsage},
		{"no JSON", "apiVersion: v1", exitUsage},
		{"half a JSON", head, exitUsage},
		{"an unknown version", strings.Replace(m.execInfo(), "k8s.io/v1", "k8s.io/v9", 1), exitUsage},
		{"an older version", strings.Replace(m.execInfo(), "k8s.io/v1", "k8s.io/v1alpha1", 1), exitUsage},
		{"another kind", strings.Replace(m.execInfo(), "ExecCredential", "Secret", 1), exitUsage},
		{"no cluster", head + `{}}`, exitProfile},
		{"another server", execInfo("https://127.0.0.1:1", shared.plane.CAPEM), exitProfile},
		{"another authority", execInfo(m.server, newAuthority(t, time.Now().AddDate(1, 0, 0)).PEM), exitProfile},
		{"one authority more", execInfo(m.server, append(newAuthority(t, time.Now().AddDate(1, 0, 0)).PEM, shared.plane.CAPEM...)), exitProfile},
		{"that it does not verify", strings.Replace(m.execInfo(), `"cluster":{`, `"cluster":{"insecure-skip-tls-verify":true,`, 1), exitProfile},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { m.in(t).getWith(test.execInfo).failed(t, test.code) })
	}
	t.Run("nothing at all", func(t *testing.T) {
		m.in(t).asClient("", "get", "--profile", m.profile).failed(t, exitProfile)
	})
	t.Run("a profile that does not exist", func(t *testing.T) {
		m.in(t).asClient("KUBERNETES_EXEC_INFO="+m.execInfo(), "get", "--profile", "nobody").failed(t, exitProfile)
	})
	t.Run("another command", func(t *testing.T) {
		m.in(t).asClient("KUBERNETES_EXEC_INFO="+m.execInfo(), "token", "--profile", m.profile).failed(t, exitUsage)
	})
	m.get().silent(t).token(t)
}

func TestWithoutABootstrapCredentialThereIsOneError(t *testing.T) {
	bothStores(t, func(t *testing.T, kind keyring.Kind) {
		m := newMachine(t, kind, nil)
		m.setup()
		m.forget()
		if err := m.store().Delete(context.Background(), m.configuration().BootstrapKey()); err != nil {
			t.Fatal(err)
		}
		m.get().failed(t, exitBootstrap)
		r := m.kubectl("get", "pods")
		if r.code == 0 || r.stdout != "" || !strings.Contains(r.stderr, "sa-exec-credential: hint: run setup again") {
			t.Errorf("kubectl does not pass on what to do: exit code %d\n%s", r.code, r.stderr)
		}
		m.setup()
		m.get().silent(t).token(t)
	})
}

func TestADeletedDeviceSecretEndsTheMachine(t *testing.T) {
	t.Parallel()
	m := newMachine(t, keyring.Kernel, nil)
	m.setup()
	m.asAdmin("delete", "secret", "-n", m.namespace, m.configuration().Device.Secret)
	m.forget()
	m.get().failed(t, exitBootstrap)
	// From now on the API server forgets that it knew the bootstrap credential.
	eventually(t, "the bootstrap credential is refused", func() bool {
		return strings.Contains(m.get().failed(t, exitBootstrap).stderr, "refused the bootstrap credential")
	})
	m.setup()
	m.get().silent(t).token(t)
}

func TestWithoutTheRightToMintThereIsOneError(t *testing.T) {
	m := newMachine(t, keyring.Kernel, nil)
	m.setup()
	binding := m.asAdmin("get", "rolebinding", "-n", m.namespace, account+"-bootstrap", "-o", "json")
	m.asAdmin("delete", "rolebinding", "-n", m.namespace, account+"-bootstrap")
	m.eventuallyFails(exitForbidden)
	m.asAdminWith(binding, "create", "-f", "-")
	m.eventuallyWorks()
}

func TestADeletedServiceAccountIsOneError(t *testing.T) {
	m := newMachine(t, keyring.Kernel, nil)
	m.setup()
	m.asAdmin("delete", "serviceaccount", "-n", m.namespace, account)
	m.eventuallyFails(exitServer)
	m.asAdmin("create", "serviceaccount", "-n", m.namespace, account)
	m.eventuallyWorks()
}

func TestATokenLongerThanThePolicyAllowsIsOneError(t *testing.T) {
	m := newMachine(t, keyring.Kernel, nil)
	m.setup()
	m.forget() // the changed profile will not lead to that token any more
	p := m.configuration()
	p.Duration = profile.Duration{Duration: 48 * time.Hour}
	if err := m.profiles().Save(p.Profile); err != nil {
		t.Fatal(err)
	}
	m.eventuallyFails(exitForbidden)
}

// eventuallyFails waits until the API server acts by what was changed, which it learns of by watching.
func (m *machine) eventuallyFails(code int) {
	m.Helper()
	eventually(m.T, "get fails", func() bool {
		m.forget()
		return m.get().code != 0
	})
	m.get().failed(m.T, code)
}

func (m *machine) eventuallyWorks() {
	m.Helper()
	eventually(m.T, "get works", func() bool { return m.get().code == 0 })
	m.get().silent(m.T).token(m.T)
}

func TestAStoreThatIsNotThereIsOneError(t *testing.T) {
	m := newMachine(t, keyring.Keyring, nil)
	m.setup()
	t.Run("the keyring is locked", func(t *testing.T) {
		m := m.in(t)
		if err := m.service.Lock(); err != nil {
			t.Fatal(err)
		}
		m.get().failed(t, exitStore)
		m.plugin("logout", "--profile", m.profile).failed(t, exitStore)
	})
	t.Run("gnome-keyring has been killed", func(t *testing.T) {
		m := m.in(t)
		m.service.StopKeyring()
		m.get().failed(t, exitStore)
		m.plugin("status").succeeded(t).silent(t) // it lists the error
		m.plugin("setup", account, "-n", m.namespace, "--kubeconfig", m.admin, "--store", "keyring").failed(t, exitStore)
	})
	t.Run("gnome-keyring is back", func(t *testing.T) {
		m := m.in(t)
		if err := m.service.StartKeyring(true); err != nil {
			t.Fatal(err)
		}
		m.get().silent(t).token(t)
	})
	t.Run("the session bus hangs", func(t *testing.T) {
		m := m.in(t)
		m.variables = []string{"DBUS_SESSION_BUS_ADDRESS=unix:path=" + hangingSocket(t, m.home)}
		m.get().failed(t, exitStore)
	})
	t.Run("the session bus is gone", func(t *testing.T) {
		m := m.in(t)
		m.service.StopBus()
		m.get().failed(t, exitStore)
	})
	t.Run("nobody knows of a session bus", func(t *testing.T) {
		m := m.in(t)
		m.variables = []string{"DBUS_SESSION_BUS_ADDRESS="}
		m.get().failed(t, exitStore)
	})
}

// hangingSocket accepts connections and says nothing.
func hangingSocket(t *testing.T, folder string) string {
	t.Helper()
	path := folder + "/run/hanging"
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			defer conn.Close()
		}
	}()
	t.Cleanup(func() { _ = listener.Close() })
	return path
}

func TestAServerThatIsDownIsOneErrorUnlessTheTokenIsStillGood(t *testing.T) {
	bothStores(t, func(t *testing.T, kind keyring.Kind) {
		fresh, empty := newMachine(t, kind, nil), newMachine(t, kind, nil)
		fresh.setup()
		empty.setup()
		empty.forget()
		shared.plane.StopAPIServer()
		defer func() {
			if err := shared.plane.StartAPIServer(context.Background()); err != nil {
				t.Fatal(err)
			}
		}()
		empty.get().failed(t, exitServer)
		if r := empty.kubectl("get", "pods"); r.code == 0 || !strings.Contains(r.stderr, "sa-exec-credential: hint: ") {
			t.Errorf("kubectl does not pass on what to do: exit code %d\n%s", r.code, r.stderr)
		}
		token := fresh.get().silent(t).token(t)
		fresh.makeStale()
		if fresh.get().silent(t).token(t) != token {
			t.Error("it is another token")
		}
	})
}
