//go:build linux

package minters_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"k8s.io/client-go/rest"

	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// runner creates an account in a namespace of its own, which has no right anywhere, and returns a
// token of it.
func (m *machine) runner() (namespace, token string) {
	m.Helper()
	namespace = lab.Namespace()
	m.AsAdmin("create", "namespace", namespace)
	m.AsAdmin("create", "serviceaccount", "runner", "-n", namespace)
	return namespace, m.AdminsToken("create", "token", "runner", "-n", namespace)
}

// TestTokensOfOthersMintAsADevice has a token in a file, and a command's output.
func TestTokensOfOthersMintAsADevice(t *testing.T) {
	t.Parallel()
	for _, source := range []string{"token-file=", "command=/bin/cat "} {
		t.Run(source, func(t *testing.T) {
			t.Parallel()
			m := newMachine(t)
			namespace, token := m.runner()
			file := lab.WriteFile(t, t.TempDir()+"/token", token, 0o600)
			m.mintsWith(source + file).Succeeds()
			m.Kubectl("get", "pods").Succeeds()
			m.checkMinted("system:serviceaccount:"+namespace+":runner",
				m.identity(m.device()))
		})
	}
}

// TestMintersThatAreNamed are a group, whose name is an odd one, a user and an account.
func TestMintersThatAreNamed(t *testing.T) {
	t.Parallel()
	const group = "oidc:/deployers, all: of them"
	m := newMachine(t)
	m.AddUser("dora")
	namespace, token := m.runner()
	r := m.mintsWith("context=dora@test", "--minter-group", group, "--minter", namespace+"/runner",
		"--minter-user", "dora")
	r.Succeeds()
	device := m.device()
	allowed := map[string]lab.Person{
		"the user":    as(t, "dora", m.identity(device)),
		"the account": lab.Impersonator(token, rest.ImpersonationConfig{UserName: m.identity(device)}),
		"a member":    as(t, "eve", m.identity(device), group),
	}
	for who, person := range allowed {
		if a := person.Ask(t, http.MethodPost, m.tokenOf(lab.Account), lab.TokenRequest(600,
			device)); a.Code != http.StatusCreated {
			t.Errorf("%s: %d %s", who, a.Code, a.Message)
		}
	}
	if a := as(t, "eve", m.identity(device)).Ask(t, http.MethodPost, m.tokenOf(lab.Account),
		lab.TokenRequest(600, device)); a.Code != http.StatusForbidden {
		t.Errorf("one who is not in the group: %d %s", a.Code, a.Message)
	}
	checkListed := func(users ...string) {
		t.Helper()
		var listed struct {
			Items []struct {
				Minters struct{ Users, Groups, Accounts []string }
			}
		}
		m.Decode(m.Plugin("devices", lab.Account, "-n", m.Namespace, "--kubeconfig", m.Admin,
			"--context", "admin@test", "-o", "json"), &listed)
		if got := listed.Items[0].Minters; !slices.Equal(got.Groups, []string{group}) ||
			!slices.Equal(got.Users, users) ||
			!slices.Equal(got.Accounts, []string{namespace + "/runner"}) {
			t.Errorf("devices lists %+v", got)
		}
	}
	checkListed("dora")
	// what was named is remembered, and who was allowed before still is
	m.mintsWith("context=dora@test").Succeeds()
	checkListed("dora")
	m.mintsWith("context=dora@test", "--minter-user", "frank").Succeeds()
	checkListed("dora", "frank")
}

func TestMintersThatWouldBeEverybody(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.AddUser("alice")
	for _, c := range []struct{ flag, value, says string }{
		{"--minter-group", "system:authenticated", "everybody is in it"},
		{"--minter-group", "system:unauthenticated", "everybody is in it"},
		{"--minter-group", "system:serviceaccounts", "everybody is in it"},
		{"--minter-group", "system:masters", "may do everything already"},
		{"--minter-group", "system:serviceaccounts:" + m.Namespace, "the account itself is in it"},
		{"--minter-group", "", "must be the name of one"},
		{"--minter-user", "", "must be the name of one"},
		{"--minter-user", "*", "must be the name of one"},
		{"--minter-user", "two\nlines", "must be the name of one"},
		{"--minter-user", "system:anonymous", "everybody is that"},
		{"--minter-user", m.Username(), "the account itself"},
		{"--minter", m.Namespace + "/" + lab.Account, "the account itself"},
		{"--minter", m.Namespace + "/" + lab.Account + "-device-x-0123456789abcdef", "the account itself"},
		{"--minter", "runner", "must be NAMESPACE/NAME"},
		{"--minter", "a/b/c", "must be NAMESPACE/NAME"},
	} {
		m.mintsWith("context=alice@test", c.flag, c.value).Fails(2, c.says)
	}
	m.mintsWith("keyring", "--minter-user", "alice").Fails(2, "another --bootstrap than keyring")
	m.Setup("ci", "-n", limitsNamespace).Fails(2, "it is for the limits of all accounts")
	if r := lab.AsAdmin(t, "", "get", "namespace", m.Namespace); r.Code == 0 {
		t.Error("something was created")
	}
}

// TestAnAdministratorOfANamespaceCannotMakeMinters says which rights are missing, before anything
// is changed.
func TestAnAdministratorOfANamespaceCannotMakeMinters(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.AddUser("gina")
	m.AddUser("alice")
	m.AsAdmin("create", "namespace", m.Namespace)
	m.AsAdmin("create", "rolebinding", "gina", "-n", m.Namespace, "--clusterrole=admin",
		"--user=gina")
	r := m.Setup(lab.Account, "-n", m.Namespace, "--context", "gina@test", "--bootstrap",
		"context=alice@test", "--store", "kernel")
	r.Fails(7, `in namespace "sa-exec-credential"`, "bind, create, escalate roles")
	if left := m.AsAdmin("get", "secrets,serviceaccounts,roles,rolebindings", "-n", m.Namespace,
		"-o", "name"); strings.Contains(left, "device") || strings.Contains(left, "ci") {
		t.Errorf("something was created:\n%s", left)
	}
	_, hint, _ := strings.Cut(r.Stderr, "have an administrator run: ")
	m.Exec("/bin/sh", "-c", "KUBECONFIG="+lab.Plane.AdminKubeconfig+"; export KUBECONFIG; "+
		hint).Succeeds()
	m.Setup(lab.Account, "-n", m.Namespace, "--context", "gina@test", "--bootstrap",
		"context=alice@test", "--store", "kernel", "--profile", m.Profile,
		"--use-context").Succeeds()
	m.Plugin("token", "--profile", m.Profile).Succeeds()
	m.checkMinted("alice", m.identity(m.device()))
}

// TestAnAdministratorsOwnContextGoesOnWorking mints as a device, too, with the right to act as
// anybody; and so does one that acts as somebody else already, by itself.
func TestAnAdministratorsOwnContextGoesOnWorking(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.mintsWith("context=admin@test").Succeeds()
	device := m.device()
	m.checkMinted("admin", m.identity(device))
	if left := m.AsAdmin("get", "rolebindings", "-n", limitsNamespace, "-o",
		"name"); strings.Contains(left, m.Namespace) {
		t.Errorf("the administrator was made a minter:\n%s", left)
	}
	other := newMachine(t)
	other.actsAs("hugo")
	other.Setup(lab.Account, "-n", other.Namespace, "--context", "hugo", "--bootstrap",
		"context=hugo", "--store", "kernel", "--profile", "it", "--cluster-role", "view").Succeeds()
	other.checkMinted("admin", "hugo")
}

// TestOneDeviceStandsForManyMachines, and one revoke ends what all of them have.
func TestOneDeviceStandsForManyMachines(t *testing.T) {
	t.Parallel()
	first, second := newMachine(t), newMachine(t)
	second.Namespace = first.Namespace
	for _, m := range []*machine{first, second} {
		m.AddUser("alice")
		m.mintsWith("context=alice@test", "--device", "pipeline").Succeeds()
	}
	if device := first.device(); !strings.HasPrefix(device, "ci-device-pipeline-") {
		t.Errorf("the device is %q", device)
	}
	first.mintsWith("context=alice@test", "--device", "another").Fails(2,
		"this machine is another device")
	first.mintsWith("context=alice@test", "--device", "no/name").Fails(2, "--device")
	var tokens []string
	for _, m := range []*machine{first, second} {
		tokens = append(tokens, strings.TrimSpace(m.Plugin("token", "--profile",
			m.Profile).Succeeds().Stdout))
	}
	first.Plugin("revoke", "--device", "pipeline", "--serviceaccount", lab.Account, "-n",
		first.Namespace, "--kubeconfig", first.Admin, "--context", "admin@test").Succeeds()
	for i, token := range tokens {
		if lab.Accepts(t, token) {
			t.Errorf("the token of machine %d is still good", i)
		}
	}
	second.Forget()
	second.Kubectl("get", "pods").Fails(1)
	second.mintsWith("context=alice@test", "--device", "pipeline").Succeeds()
	second.Kubectl("get", "pods").Succeeds()
	second.Follow(second.mintsWith("context=alice@test", "--device", "another"), " revoke ")
	second.mintsWith("context=alice@test", "--device", "another").Succeeds()
	first.checkAllGone()
}

// checkAllGone uninstalls the account, and expects that nothing of it is left.
func (m *machine) checkAllGone() {
	m.Helper()
	m.Plugin("uninstall", lab.Account, "-n", m.Namespace, "--kubeconfig", m.Admin, "--context",
		"admin@test").Succeeds()
	m.checkNothingLeft()
}

// TestRotateKeepsTheMinters, of a profile that acts as the device and of one beside it that has a
// credential of its own.
func TestRotateKeepsTheMinters(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.AddUser("alice")
	m.mintsWith("context=alice@test").Succeeds()
	before := m.device()
	m.Setup(lab.Account, "-n", m.Namespace, "--profile", "own", "--store", "kernel", "--context",
		"admin@test").Succeeds()
	if m.device() != before {
		t.Fatal("two profiles of one account have two devices")
	}
	m.Kubectl("--context", "own", "auth", "whoami").Succeeds()
	m.Plugin("rotate", "--profile", m.Profile, "--kubeconfig", m.Admin, "--context",
		"admin@test").Succeeds()
	m.NoteEntries()
	after := m.device()
	if after == before {
		t.Error("the device is the same")
	}
	m.Forget()
	m.Kubectl("get", "pods").Succeeds()
	m.checkMinted("alice", m.identity(after))
	m.Kubectl("--context", "own", "auth", "whoami").Succeeds()
	if a := as(t, "alice", m.identity(before)).Ask(t, http.MethodPost, m.tokenOf(lab.Account),
		lab.TokenRequest(600, before)); a.Code != http.StatusForbidden {
		t.Errorf("as the old device: %d %s", a.Code, a.Message)
	}
	m.checkAllGone()
}

// TestAMinterWhoIsOneNoMore is told what makes him one again.
func TestAMinterWhoIsOneNoMore(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.AddUser("alice")
	m.mintsWith("context=alice@test").Succeeds()
	m.AsAdmin("delete", "rolebinding", "-n", limitsNamespace, m.Namespace+"."+m.device())
	m.Forget()
	var r lab.Result
	lab.Eventually(t, "the binding counts no more", func() bool {
		m.Forget()
		r = m.Plugin("token", "--profile", m.Profile)
		return r.Code != 0
	})
	r.OneError(7, "what the bootstrap source gives may not act as the device", "setup ci")
	report := m.Plugin("doctor")
	lab.Has(t, "doctor", report.Stdout, "may not act as the device")
	m.Follow(r)
	m.Plugin("token", "--profile", m.Profile).Succeeds()
}

// TestWhatAnEarlierVersionLetMintIsNamed: its right has no limits.
func TestWhatAnEarlierVersionLetMintIsNamed(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.AddUser("alice")
	m.AsAdmin("create", "namespace", m.Namespace)
	const role = "sa-exec-credential:ci:minter"
	m.AsAdmin("create", "role", role, "-n", m.Namespace, "--verb=create",
		"--resource=serviceaccounts/token", "--resource-name=ci")
	m.AsAdmin("create", "rolebinding", role+":alice", "-n", m.Namespace, "--role="+role,
		"--user=alice")
	m.AsAdmin("label", "rolebinding", role+":alice", "-n", m.Namespace,
		"app.kubernetes.io/component=minter", "sa-exec-credential/account=ci")
	r := m.mintsWith("context=alice@test", "--minter-user", "alice").Succeeds()
	m.Follow(r, role)
	m.Plugin("token", "--profile", m.Profile).Succeeds()
	m.checkMinted("alice", m.identity(m.device()))
	a := lab.CertificateHolder(t, "alice").Ask(t, http.MethodPost, m.tokenOf(lab.Account),
		lab.TokenRequest(86400, ""))
	if a.Code != http.StatusForbidden {
		t.Errorf("a day's token that is bound to nothing: %d", a.Code)
	}
}
