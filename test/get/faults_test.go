//go:build linux

package get_test

import (
	"context"
	"maps"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/test/controlplane"
	"github.com/sa-exec-credential/sa-exec-credential/test/faultproxy"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
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

// oddAnswers are faults of an answer to a TokenRequest, with the exit code of a get that has no
// token.
var oddAnswers = map[faultproxy.Fault]int{
	"401": exitBootstrap, "403": exitForbidden, "404": exitServer, "409": exitBootstrap,
	"410": exitServer,
	"422": exitServer, "429": exitServer, "500": exitServer, "503": exitServer,
	faultproxy.Reset: exitServer, faultproxy.Cut: exitServer, faultproxy.Endless: exitServer,
	faultproxy.Page:    exitServer,
	faultproxy.NoToken: exitServer, faultproxy.Past: exitServer,
	faultproxy.OtherJSON: exitServer,
}

func TestEachOddAnswerOfTheServerIsOneErrorAndTheNextCallWorks(t *testing.T) {
	door := lab.NewDoor(t)
	m := newMachine(t, keyring.Kernel, door)
	m.Prepare()
	proxy := leadToProxy(t, door)
	for fault, code := range oddAnswers {
		t.Run(string(fault), func(t *testing.T) {
			m := m.in(t)
			m.Forget()
			proxy.setFault(fault)
			m.get().OneError(code)
			proxy.setFault(faultproxy.None)
			m.get().Silent().Token()
		})
	}
}

// TestATokenThatIsStillGoodOutlivesEveryFault goes through the same faults with a token in the
// store that is to be replaced.
func TestATokenThatIsStillGoodOutlivesEveryFault(t *testing.T) {
	t.Parallel()
	m, proxy, old := newStaleMachine(t)
	for _, fault := range append(slices.Collect(maps.Keys(oddAnswers)), faultproxy.Hang) {
		t.Run(string(fault), func(t *testing.T) {
			m := m.in(t)
			proxy.setFault(fault)
			m.forgetCalls() // else nobody would try again so soon after a failure
			asked := proxy.asked()
			if token := m.get().Silent().Token(); token != old {
				t.Error("it is another token")
			}
			if proxy.asked() == asked {
				t.Error("nobody has tried to replace it")
			}
		})
	}
	proxy.setFault(faultproxy.None)
	m.forgetCalls()
	if m.get().Silent().Token() == old {
		t.Error("the token is not replaced when all faults are over")
	}
}

// newStaleMachine has a token that is to be replaced, and a proxy before the API server.
func newStaleMachine(t *testing.T) (m *machine, proxy *proxy, old string) {
	t.Helper()
	door := lab.NewDoor(t)
	m = newMachine(t, keyring.Kernel, door)
	m.Prepare()
	m.makeStale()
	return m, leadToProxy(t, door), m.Entry(m.Configuration().TokenKey()).Token.Reveal()
}

// forgetCalls removes what is remembered of the calls so far.
func (m *machine) forgetCalls() {
	m.Helper()
	for _, folder := range []string{"run", ".cache"} {
		if err := os.RemoveAll(m.Path(folder, "sa-exec-credential")); err != nil {
			m.Fatal(err)
		}
	}
}

// TestAStaleTokenIsReplacedByOneProcessWhileAllOthersGoOn has that one hang, and the others
// answered before it is done.
func TestAStaleTokenIsReplacedByOneProcessWhileAllOthersGoOn(t *testing.T) {
	t.Parallel()
	m, proxy, old := newStaleMachine(t)
	proxy.setFault(faultproxy.Hang)
	first := make(chan lab.Result, 1)
	go func() { first <- m.get() }()
	lab.Eventually(t, "the first one asks for a new token",
		func() bool { return proxy.asked() > 0 })
	for range 10 {
		if m.get().Silent().Token() != old {
			t.Error("it is another token")
		}
	}
	select {
	case <-first:
		t.Error("the others have waited for the first one")
	default:
	}
	if (<-first).Silent().Token() != old {
		t.Error("the first one has another token")
	}
	if asked := proxy.asked(); asked != 1 {
		t.Errorf("%d TokenRequests", asked)
	}
}

func TestACrowdWithAStaleTokenCostsOneTokenRequest(t *testing.T) {
	bothStores(t, func(t *testing.T, kind keyring.Kind) {
		m := newMachine(t, kind, nil)
		m.Prepare()
		m.makeStale()
		before := m.Minted(account)
		for _, r := range atOnceEach(50, m.get) {
			r.Silent().Token()
		}
		if minted := m.Minted(account) - before; minted != 1 {
			t.Errorf("%d TokenRequests", minted)
		}
	})
}

// makeStale moves the times of the cached token so that it has a few minutes left of its hour.
func (m *machine) makeStale() {
	m.Helper()
	m.Age(m.Configuration().TokenKey(), 56./60)
}

func TestAServerThatDoesNotAnswerIsOneErrorWithinTheDeadline(t *testing.T) {
	t.Parallel()
	for name, arrange := range map[string]func(*testing.T, *lab.Door){
		"the TLS handshake": func(_ *testing.T, d *lab.Door) { d.Lead(lab.Hang) },
		"the request": func(t *testing.T, d *lab.Door) {
			leadToProxy(t,
				d).setFault(faultproxy.Hang)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			door := lab.NewDoor(t)
			m := newMachine(t, keyring.Kernel, door)
			m.Prepare()
			m.Forget()
			arrange(t, door)
			m.get().OneError(exitServer)
			door.LeadTo(lab.Plane.Server)
			m.get().Silent().Token()
		})
	}
}

func TestAServerThatCannotBeTrustedGetsNothing(t *testing.T) {
	door := lab.NewDoor(t)
	m := newMachine(t, keyring.Kernel, door)
	m.Prepare()

	t.Run("another authority", func(t *testing.T) {
		m := m.in(t)
		m.Forget()
		leadToImpostor(t, door, lab.Authority(t, time.Now().AddDate(1, 0, 0)))
		m.get().OneError(exitServer)
		door.LeadTo(lab.Plane.Server)
		m.get().Silent().Token()
	})
	t.Run("the profile's own authority, which has expired", func(t *testing.T) {
		expired := lab.Authority(t, time.Now().Add(-time.Minute))
		m := m.in(t).trusting(expired)
		leadToImpostor(t, door, expired)
		r := m.getWith(lab.ExecInfo(m.Server, expired.PEM)).OneError(exitServer)
		if !strings.Contains(r.Stderr, "expired") {
			t.Errorf("it does not say that something has expired:\n%s", r.Stderr)
		}
	})
}

// trusting is the machine with a profile of another authority, which has the same bootstrap
// credential.
func (m *machine) trusting(authority *controlplane.Authority) *machine {
	m.Helper()
	p := m.Configuration()
	entry := m.Entry(p.BootstrapKey())
	p.Name, p.Cluster.CertificateAuthorityData = "trusting", profile.Base64(authority.PEM)
	if err := p.Save(m.Path(".config")); err != nil {
		m.Fatal(err)
	}
	m.Profile = p.Name
	m.SetEntry(p.BootstrapKey(), entry)
	return m
}

func TestWhatAClientSaysWrongIsOneError(t *testing.T) {
	m := newMachine(t, keyring.Kernel, nil)
	m.Prepare()
	const head = `{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","spec":`
	tests := []struct {
		name, execInfo string
		code           int
	}{
		{"nothing", "", exitUsage},
		{"no JSON", "apiVersion: v1", exitUsage},
		{"half a JSON", head, exitUsage},
		{"an unknown version", strings.Replace(m.ExecInfo(), "k8s.io/v1", "k8s.io/v9", 1),
			exitUsage},
		{"an older version", strings.Replace(m.ExecInfo(), "k8s.io/v1", "k8s.io/v1alpha1",
			1), exitUsage},
		{"another kind", strings.Replace(m.ExecInfo(), "ExecCredential", "Secret", 1),
			exitUsage},
		{"no cluster", head + `{}}`, exitProfile},
		{"another server", lab.ExecInfo("https://127.0.0.1:1", lab.Plane.CAPEM),
			exitProfile},
		{"another authority", lab.ExecInfo(m.Server, lab.Authority(t, time.Now().AddDate(1,
			0, 0)).PEM), exitProfile},
		{"one authority more", lab.ExecInfo(m.Server, append(lab.Authority(t,
			time.Now().AddDate(1, 0, 0)).PEM, lab.Plane.CAPEM...)), exitProfile},
		{"that it does not verify", strings.Replace(m.ExecInfo(), `"cluster":{`,
			`"cluster":{"insecure-skip-tls-verify":true,`, 1), exitProfile},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) { m.in(t).getWith(test.execInfo).OneError(test.code) })
	}
	t.Run("nothing at all", func(t *testing.T) {
		m.in(t).asClient("", "get", "--profile", m.Profile).OneError(exitProfile)
	})
	t.Run("a profile that does not exist", func(t *testing.T) {
		m.in(t).asClient("KUBERNETES_EXEC_INFO="+m.ExecInfo(), "get", "--profile",
			"nobody").OneError(exitProfile)
	})
	t.Run("another command", func(t *testing.T) {
		m.in(t).asClient("KUBERNETES_EXEC_INFO="+m.ExecInfo(), "token", "--profile",
			m.Profile).OneError(exitUsage)
	})
	m.get().Silent().Token()
}

func TestWithoutABootstrapCredentialThereIsOneError(t *testing.T) {
	bothStores(t, func(t *testing.T, kind keyring.Kind) {
		m := newMachine(t, kind, nil)
		m.Prepare()
		m.Forget()
		if err := m.Store().Delete(context.Background(),
			m.Configuration().BootstrapKey()); err != nil {
			t.Fatal(err)
		}
		m.get().OneError(exitBootstrap)
		r := m.Kubectl("get", "pods")
		if r.Code == 0 || r.Stdout != "" {
			t.Errorf("kubectl got something: exit code %d\n%s", r.Code, r.Stdout)
		}
		m.Follow(r, "sa-exec-credential setup ci")
		m.get().Silent().Token()
	})
}

func TestADeletedDeviceEndsTheMachine(t *testing.T) {
	t.Parallel()
	m := newMachine(t, keyring.Kernel, nil)
	m.Prepare()
	m.AsAdmin("delete", "secret", "-n", m.Namespace, m.Configuration().Device.Name)
	m.Forget()
	m.get().OneError(exitBootstrap)
	// From now on the API server forgets that it knew the bootstrap credential.
	lab.Eventually(t, "the bootstrap credential is refused", func() bool {
		return strings.Contains(m.get().OneError(exitBootstrap).Stderr,
			"refused the bootstrap credential")
	})
	m.Prepare()
	m.get().Silent().Token()
}

func TestWithoutTheRightToMintThereIsOneError(t *testing.T) {
	m := newMachine(t, keyring.Kernel, nil)
	m.Prepare()
	device := m.Configuration().Device.Name
	binding := m.AsAdmin("get", "rolebinding", "-n", m.Namespace, device, "-o", "json")
	m.AsAdmin("delete", "rolebinding", "-n", m.Namespace, device)
	m.eventuallyFails(exitForbidden)
	m.AsAdminWith(binding, "create", "-f", "-")
	m.eventuallyWorks()
}

func TestADeletedServiceAccountIsOneError(t *testing.T) {
	m := newMachine(t, keyring.Kernel, nil)
	m.Prepare()
	m.AsAdmin("delete", "serviceaccount", "-n", m.Namespace, account)
	m.eventuallyFails(exitServer)
	m.AsAdmin("create", "serviceaccount", "-n", m.Namespace, account)
	m.eventuallyWorks()
}

func TestATokenLongerThanThePolicyAllowsIsOneError(t *testing.T) {
	m := newMachine(t, keyring.Kernel, nil)
	m.Prepare()
	m.Forget() // the changed profile will not lead to that token any more
	p := m.Configuration()
	p.Duration = profile.Duration{Duration: 48 * time.Hour}
	if err := m.Profiles().Save(p.Profile); err != nil {
		t.Fatal(err)
	}
	m.eventuallyFails(exitForbidden)
}

// eventuallyFails waits until the API server acts by what was changed, which it learns of by
// watching.
func (m *machine) eventuallyFails(code int) {
	m.Helper()
	lab.Eventually(m.T, "get fails", func() bool {
		m.Forget()
		return m.get().Code != 0
	})
	m.get().OneError(code)
}

func (m *machine) eventuallyWorks() {
	m.Helper()
	lab.Eventually(m.T, "get works", func() bool { return m.get().Code == 0 })
	m.get().Silent().Token()
}

func TestAStoreThatIsNotThereIsOneError(t *testing.T) {
	t.Parallel() // it waits for a bus that hangs
	m := newMachine(t, keyring.Keyring, nil)
	m.Prepare()
	t.Run("the keyring is locked", func(t *testing.T) {
		m := m.in(t)
		if err := m.Service.Lock(); err != nil {
			t.Fatal(err)
		}
		m.get().Silent().Token() // which is in the kernel keyring
		m.LoseFront(m.Configuration().TokenKey())
		m.get().OneError(exitStore)
		m.Plugin("logout", "--profile", m.Profile).OneError(exitStore)
	})
	t.Run("gnome-keyring has been killed", func(t *testing.T) {
		m := m.in(t)
		m.Service.StopKeyring()
		m.get().OneError(exitStore)
		m.Plugin("status").Succeeds().Silent() // it lists the error
		m.Plugin("setup", account, "-n", m.Namespace, "--kubeconfig", m.Admin, "--store",
			"keyring").OneError(exitStore)
	})
	t.Run("gnome-keyring is back", func(t *testing.T) {
		m := m.in(t)
		if err := m.Service.StartKeyring(true); err != nil {
			t.Fatal(err)
		}
		m.get().Silent().Token()
		m.LoseFront(m.Configuration().TokenKey())
	})
	t.Run("the session bus is gone", func(t *testing.T) {
		m := m.in(t)
		m.Service.StopBus()
		m.get().OneError(exitStore)
	})
	t.Run("nobody knows of a session bus", func(t *testing.T) {
		m := m.in(t)
		m.Variables = []string{"DBUS_SESSION_BUS_ADDRESS="}
		m.get().OneError(exitStore)
	})
	t.Run("the session bus hangs", func(t *testing.T) {
		m := m.in(t)
		m.Variables = []string{"DBUS_SESSION_BUS_ADDRESS=unix:path=" + hangingSocket(t,
			m.Home)}
		m.Follow(m.get().OneError(exitStore), "--store kernel")
		m.get().Silent().Token()
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
	fresh, empty := map[keyring.Kind]*machine{}, map[keyring.Kind]*machine{}
	for _, kind := range []keyring.Kind{keyring.Keyring, keyring.Kernel} {
		fresh[kind], empty[kind] = newMachine(t, kind, nil), newMachine(t, kind, nil)
		fresh[kind].Prepare()
		empty[kind].Prepare()
		empty[kind].Forget()
	}
	lab.Plane.StopAPIServer()
	defer func() {
		if err := lab.Plane.StartAPIServer(context.Background()); err != nil {
			t.Fatal(err)
		}
	}()
	bothStores(t, func(t *testing.T, kind keyring.Kind) {
		fresh, empty := fresh[kind].in(t), empty[kind].in(t)
		empty.get().OneError(exitServer)
		if r := empty.Kubectl("get", "pods"); r.Code == 0 || !strings.Contains(r.Stderr,
			"sa-exec-credential: hint: ") {
			t.Errorf("kubectl does not pass on what to do: exit code %d\n%s", r.Code,
				r.Stderr)
		}
		token := fresh.get().Silent().Token()
		fresh.makeStale()
		if fresh.get().Silent().Token() != token {
			t.Error("it is another token")
		}
	})
}
