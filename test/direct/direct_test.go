//go:build linux

// Package direct_test has others mint on an API server that does not know constrained
// impersonation, as those before Kubernetes 1.36: with a right of their own, and within the same
// limits.
package direct_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

func TestMain(m *testing.M) {
	lab.Main(m, lab.Options{OwnPlane: true,
		APIServerArgs: []string{"--feature-gates=ConstrainedImpersonation=false"}})
}

type object = lab.Object

// group is a name that could be mistaken for several, or for a line of the limits.
const group = "oidc:/deployers, all: of them user:bob"

// machine is a lab's machine with one profile.
type machine struct{ *lab.Machine }

// newMachine makes one whose administrator's kubeconfig has people's contexts, too; some are
// members of the group.
func newMachine(t *testing.T, users ...string) *machine {
	t.Helper()
	m := &machine{lab.NewMachine(t, keyring.Kernel)}
	m.Profile = "it"
	for _, user := range users {
		m.AddUser(user, groupsOf(user)...)
	}
	return m
}

// mintsWith sets up the machine's profile with a context as the source.
func (m *machine) mintsWith(user string, flags ...string) lab.Result {
	m.Helper()
	return m.Setup(append([]string{lab.Account, "-n", m.Namespace, "--profile", m.Profile,
		"--store", "kernel", "--cluster-role", "view", "--use-context", "--context",
		"admin@test", "--bootstrap", "context=" + user + "@test"}, flags...)...)
}

func groupsOf(user string) []string {
	if strings.HasPrefix(user, "member") {
		return []string{group}
	}
	return nil
}

func (m *machine) device() string {
	m.Helper()
	return m.Load(m.Profile).Device.Name
}

func (m *machine) ask(user, account string, seconds int, bound string,
	audiences ...string) lab.Answer {
	m.Helper()
	return lab.CertificateHolder(m.T, user, groupsOf(user)...).Ask(m.T, http.MethodPost,
		lab.TokenOf(m.Namespace, account), lab.TokenRequest(seconds, bound, audiences...))
}

// limits are the account's keys of the ConfigMap.
func (m *machine) limits() (lines, minters string) {
	m.Helper()
	data, _ := lab.Administrator().Must(m.T, http.MethodGet,
		"/api/v1/namespaces/sa-exec-credential/configmaps/limits", nil)["data"].(object)
	key := m.Namespace + "." + lab.Account
	lines, _ = data[key].(string)
	minters, _ = data[key+"_minters"].(string)
	return lines, minters
}

// TestMintersAreHeldToTheLimits, whoever they are.
func TestMintersAreHeldToTheLimits(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "alice", "bob", "member", "member2")
	r := m.mintsWith("alice").Succeeds()
	lab.Has(t, "setup", r.Stderr, "does not know constrained impersonation",
		`user "alice" may create tokens`)
	m.Kubectl("get", "pods").Succeeds()
	alices := m.device()
	other := newMachine(t, "member")
	other.Namespace = m.Namespace
	other.mintsWith("member", "--minter-group", group).Succeeds()
	other.Kubectl("get", "pods").Succeeds()
	members := other.device()
	for _, c := range []struct {
		name, user, account string
		seconds             int
		bound, audience     string
		says                string // empty: it is allowed
	}{
		{"what is allowed", "alice", lab.Account, 3600, alices, "", ""},
		{"what a member may", "member2", lab.Account, 3600, members, "", ""},
		{"a second longer", "alice", lab.Account, 3601, alices, "", "the lifetime asked for"},
		{"a second longer, a member", "member", lab.Account, 3601, members, "", "the lifetime asked for"},
		{"a year", "alice", lab.Account, 365 * 86400, alices, "", "the lifetime asked for"},
		{"bound to nothing", "alice", lab.Account, 600, "", "", "is not bound"},
		{"bound to nothing, a member", "member", lab.Account, 600, "", "", "is not bound"},
		{"bound to another device", "alice", lab.Account, 600, members, "", "is not bound"},
		{"a member, to another device", "member", lab.Account, 600, alices, "", "is not bound"},
		{"another audience", "alice", lab.Account, 600, alices, "sts.amazonaws.com", "this audience"},
		{"the device", "alice", alices, 600, alices, "", "cannot create resource"},
		{"another account", "alice", "default", 600, alices, "", "cannot create resource"},
		{"who is no minter", "bob", lab.Account, 600, alices, "", "cannot create resource"},
	} {
		var audiences []string
		if c.audience != "" {
			audiences = []string{c.audience}
		}
		a := m.ask(c.user, c.account, c.seconds, c.bound, audiences...)
		if allowed := a.Code == http.StatusCreated; allowed != (c.says == "") ||
			!strings.Contains(a.Message, c.says) {
			t.Errorf("%s: %d %s", c.name, a.Code, a.Message)
		}
	}
	for _, kind := range []string{"pods", "secrets"} {
		path := lab.In(m.Namespace, kind)
		a := lab.CertificateHolder(t, "alice").Ask(t, http.MethodGet, path, nil)
		if a.Code != http.StatusForbidden {
			t.Errorf("GET %s: %d", path, a.Code)
		}
	}
	// bob has rights of his own, as an editor: they are not this program's
	m.AsAdmin("create", "rolebinding", "bob", "-n", m.Namespace, "--clusterrole=edit", "--user=bob")
	lab.Eventually(t, "bob may create tokens", func() bool {
		return m.ask("bob", lab.Account, 7200, "").Code == http.StatusCreated
	})
	m.Plugin("revoke", "--profile", m.Profile, "--kubeconfig", m.Admin, "--context",
		"admin@test").Succeeds()
	lab.Eventually(t, "alice may no longer", func() bool {
		return strings.Contains(m.ask("alice", lab.Account, 600, members).Message,
			"cannot create resource")
	})
	if _, minters := m.limits(); strings.Contains(minters, "alice") ||
		!strings.Contains(minters, members+" group:"+group) {
		t.Errorf("the minters are %q", minters)
	}
	m.Plugin("uninstall", lab.Account, "-n", m.Namespace, "--kubeconfig", m.Admin, "--context",
		"admin@test").Succeeds()
	if limits, minters := m.limits(); limits+minters != "" {
		t.Errorf("limits are left: %q %q", limits, minters)
	}
}

// TestAdministratorsWhoAreMintersGoOnWorking: they request tokens for devices.
func TestAdministratorsWhoAreMintersGoOnWorking(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "alice", "member-boss")
	lab.AsAdmin(t, "", "create", "clusterrolebinding", "member-boss", "--clusterrole=cluster-admin",
		"--user=member-boss")
	boss := "member-boss@test"
	m.Setup(lab.Account, "-n", m.Namespace, "--profile", m.Profile, "--store", "kernel",
		"--context", boss, "--bootstrap", "context=alice@test", "--minter-group", group,
		"--minter-user", "alice").Succeeds()
	own := newMachine(t, "member-boss")
	own.Namespace, own.Profile = m.Namespace, "own"
	own.Setup(lab.Account, "-n", m.Namespace, "--profile", "own", "--store", "kernel", "--context",
		boss, "--use-context").Succeeds()
	for _, args := range [][]string{
		{"rotate", "--profile", "own"},
		{"invite", lab.Account, "-n", m.Namespace, "--for", "build-7"},
		{"revoke", "--profile", "own"},
		{"uninstall", lab.Account, "-n", m.Namespace},
	} {
		own.Plugin(append(args, "--kubeconfig", own.Admin, "--context", boss)...).Succeeds()
		own.NoteEntries()
	}
}

// TestRotateKeepsTheMinters, and the limits of what they have a right of their own for.
func TestRotateKeepsTheMinters(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "alice")
	m.mintsWith("alice").Succeeds()
	before := m.device()
	m.Plugin("rotate", "--profile", m.Profile, "--kubeconfig", m.Admin, "--context",
		"admin@test").Succeeds()
	after := m.device()
	m.Forget()
	m.Kubectl("get", "pods").Succeeds()
	for bound, says := range map[string]string{before: "is not bound", after: "the lifetime asked for"} {
		if a := m.ask("alice", lab.Account, 7200, bound); !strings.Contains(a.Message, says) {
			t.Errorf("bound to %s: %d %s", bound, a.Code, a.Message)
		}
	}
	m.mintsWith("alice", "--duration", "2h").Succeeds()
	if a := m.ask("alice", lab.Account, 7200, after); a.Code != http.StatusCreated {
		t.Errorf("after a setup for two hours: %d %s", a.Code, a.Message)
	}
}

// TestAnInvitationWithoutASecret is for a machine that mints by itself here.
func TestAnInvitationWithoutASecret(t *testing.T) {
	t.Parallel()
	admin, m := newMachine(t), newMachine(t)
	m.Namespace = admin.Namespace
	there := lab.Namespace()
	m.AsAdmin("create", "namespace", there)
	m.AsAdmin("create", "serviceaccount", "runner", "-n", there)
	token := lab.WriteFile(t, filepath.Join(t.TempDir(), "token"),
		m.AdminsToken("create", "token", "runner", "-n", there), 0o600)
	block := admin.Plugin("invite", lab.Account, "-n", m.Namespace, "--kubeconfig",
		lab.Plane.AdminKubeconfig, "--cluster-role", "view", "--for", "ci-1", "--bootstrap",
		"token-file=/x", "--minter", there+"/runner").Succeeds().Stdout
	m.Plugin("join", m.Write(m.Path("ci-1.invitation"), block), "--bootstrap", "token-file="+token,
		"--profile", "it", "--store", "kernel", "--use-context").Succeeds()
	m.Kubectl("get", "pods").Succeeds()
}

// TestTheAuditLogSaysWhoHasMinted is the row of docs/security.md about such servers.
func TestTheAuditLogSaysWhoHasMinted(t *testing.T) {
	t.Parallel()
	m := newMachine(t, "alice")
	m.mintsWith("alice").Succeeds()
	m.Forget()
	m.Kubectl("get", "pods").Succeeds()
	mints := m.Mints(lab.Account)
	last := mints[len(mints)-1]
	if by, as := last.User.Username, last.ImpersonatedUser.Username; by != "alice" || as != "" {
		t.Errorf("the last token was requested by %q as %q", by, as)
	}
	token := m.Plugin("token", "--profile", m.Profile).Succeeds().Stdout
	if bound := mint.ParseClaims(token).BoundSecret.Name; bound != m.device() {
		t.Errorf("it is bound to %q", bound)
	}
}
