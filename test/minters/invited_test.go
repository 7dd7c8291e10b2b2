//go:build linux

package minters_test

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/invitation"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// invites prints an invitation of an administrator's machine.
func (m *machine) invites(flags ...string) lab.Result {
	m.Helper()
	return m.Plugin(append([]string{"invite", lab.Account, "-n", m.Namespace, "--kubeconfig", m.Admin,
		"--cluster-role", "view"}, flags...)...)
}

// withToken has a token in a file on the machine that is not searched.
func (m *machine) withToken(token string) (path string) {
	m.Helper()
	return lab.WriteFile(m.T, filepath.Join(m.TempDir(), "token"), token, 0o600)
}

// TestAMachineJoinsWithWhatIsNoSecret, twice, after a failure, and not when it was revoked.
func TestAMachineJoinsWithWhatIsNoSecret(t *testing.T) {
	t.Parallel()
	admin := newMachine(t)
	namespace, token := admin.runner()
	r := admin.invites("--for", "ci-1", "--bootstrap", "token-file=/anywhere", "--minter",
		namespace+"/runner").Succeeds()
	lab.Has(t, "invite", r.Stderr, "there is no secret in it",
		"sa-exec-credential join ci-1.invitation --bootstrap token-file=PATH")
	if strings.Contains(r.Stderr, "whoever has an invitation") || strings.Contains(r.Stdout,
		"anywhere") || lab.TokenIn(r.Stdout) != "" ||
		!strings.Contains(r.Stdout, invitation.OpenArmour) {
		t.Errorf("the invitation is\n%s\n%s", r.Stdout, r.Stderr)
	}
	device := admin.device()
	m := newMachine(t)
	m.Namespace = admin.Namespace
	file, own := m.Write(m.Path("ci-1.invitation"), r.Stdout), m.withToken(token)
	join := func(flags ...string) lab.Result {
		return m.Plugin(append([]string{"join", file, "--profile", m.Profile, "--store", "kernel",
			"--use-context"}, flags...)...)
	}
	join().OneError(2, "does not say where this machine's own token is", "--help")
	join("--bootstrap", "keyring").Fails(2, "name it with --bootstrap")
	join("--bootstrap", "command=/bin/cat "+own).Fails(2, "name it with --bootstrap")
	join("--bootstrap", "token-file="+m.Path("none")).Fails(4, "there is no file")
	opaque := m.Write(m.Path("id_ed25519"), "not-a-token-of-anybody")
	join("--bootstrap", "token-file="+opaque).Fails(4, "nothing was sent")
	if names := lab.FilesBelow(t, m.Home); hasProfile(names) {
		t.Errorf("there is something after a failure: %q", names)
	}
	joined := join("--bootstrap", "token-file="+own).Succeeds()
	lab.Has(t, "join", joined.Stderr, `invitation of "ci-1": tokens of`, "is sent to "+m.Server)
	lab.Has(t, "the proof", joined.Stdout, "It works.", "acting as "+m.identity(device))
	m.Kubectl("get", "pods").Succeeds()
	m.checkMinted("system:serviceaccount:"+namespace+":runner", m.identity(device))
	lab.Has(t, "join", join("--bootstrap", "token-file="+own).Succeeds().Stderr, "unchanged")
	if again := admin.invites("--for", "ci-1", "--bootstrap", "token-file=/x").Succeeds(); again.Stdout !=
		r.Stdout {
		t.Error("the second invitation of one name is another one")
	}
	// whoever deletes a binding keeps the device from minting until somebody invites again
	admin.AsAdmin("delete", "rolebinding", "-n", limitsNamespace, m.Namespace+"."+device)
	var refused lab.Result
	lab.Eventually(t, "the binding counts no more", func() bool {
		refused = join("--bootstrap", "token-file="+own)
		return refused.Code != 0
	})
	refused.Fails(7, "may not act as the device")
	admin.Variables = append(admin.Variables, "KUBECONFIG="+admin.Admin)
	m.Forget()
	minting := m.Plugin("token", "--profile", m.Profile).Fails(7, "may not act as the device")
	admin.Follow(minting)
	admin.Follow(refused)
	join("--bootstrap", "token-file="+own).Succeeds()
	admin.Plugin("revoke", "--device", "ci-1", "--serviceaccount", lab.Account, "-n",
		m.Namespace, "--kubeconfig", admin.Admin).Succeeds()
	join("--bootstrap", "token-file="+own).Fails(7, "may not act as the device")
	admin.invites("--for", "ci-1", "--bootstrap", "token-file=/x").Fails(2, "name them")
	m.Write(file, admin.invites("--for", "ci-1", "--bootstrap", "token-file=/x", "--minter",
		namespace+"/runner").Succeeds().Stdout)
	join("--bootstrap", "token-file="+own).Succeeds()
	m.Kubectl("get", "pods").Succeeds()
	admin.Admin = lab.Plane.AdminKubeconfig
	admin.checkAllGone()
}

func hasProfile(names []string) bool {
	for _, name := range names {
		if strings.Contains(name, "profiles/it") || strings.Contains(name, ".kube/config") {
			return true
		}
	}
	return false
}

// TestWhatAnInvitationWithoutASecretCannotBe is refused before anything is created.
func TestWhatAnInvitationWithoutASecretCannotBe(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	for _, c := range []struct {
		says  string
		flags []string
	}{
		{"cannot name a command", []string{"--bootstrap", "command=/bin/cat x", "--minter-user", "x"}},
		{"cannot name a context", []string{"--bootstrap", "context=x", "--minter-user", "x"}},
		{"name them", []string{"--bootstrap", "env=TOKEN"}},
		{"another --bootstrap than keyring", []string{"--minter-user", "x"}},
		{"everybody is in it", []string{"--bootstrap", "env=TOKEN", "--minter-group", "system:authenticated"}},
	} {
		m.invites(append([]string{"--for", "ci-1"}, c.flags...)...).Fails(2, c.says)
	}
	if r := lab.AsAdmin(t, "", "get", "namespace", m.Namespace); r.Code == 0 {
		t.Error("something was created")
	}
}

// TestPodsOfAnotherAccountMintAsOneDevice, with an invitation that is mounted, within the limits.
func TestPodsOfAnotherAccountMintAsOneDevice(t *testing.T) {
	t.Parallel()
	admin := newMachine(t)
	namespace := lab.Namespace()
	pod := lab.NewPod(newMachine(t).Machine, namespace, "worker")
	r := admin.Plugin("setup", lab.Account, "-n", admin.Namespace, "--kubeconfig", admin.Admin,
		"--cluster-role", "view", "--bootstrap", "in-cluster", "--minter", namespace+"/worker",
		"--profile", "it").Succeeds()
	device := admin.device()
	file := filepath.Join(pod.Writable, "pods.invitation")
	if err := os.WriteFile(file, []byte(r.Stdout), 0o600); err != nil {
		t.Fatal(err)
	}
	home := "HOME=" + pod.Writable
	command, err := lab.Hint(r.Stderr, " join ")
	if err != nil {
		t.Fatal(err)
	}
	joined := pod.Inside([]string{home}, "/bin/sh", "-c", "cd "+pod.Writable+" && "+command).Succeeds()
	lab.NoteTyped(command)
	lab.Has(t, "the proof", joined.Stdout, "acting as "+admin.identity(device))
	pod.Inside([]string{home}, lab.Plane.Kubectl, "--context", "it", "get", "pods").Succeeds()
	admin.checkMinted("system:serviceaccount:"+namespace+":worker", admin.identity(device))
	if a := lab.Administrator().Ask(t, http.MethodGet, lab.In(limitsNamespace, "configmaps", "limits"),
		nil); !strings.Contains(string(a.Body), admin.Namespace+"."+lab.Account) {
		t.Error("the account has no limits")
	}
	// an invitation by somebody who wants the pod's token at a server of his own
	open, err := invitation.Read(strings.NewReader(r.Stdout))
	if err != nil {
		t.Fatal(err)
	}
	open.Cluster.Server = "https://127.0.0.1:1"
	block, err := open.Encode()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, block, 0o600); err != nil {
		t.Fatal(err)
	}
	hostile := pod.Inside([]string{home}, lab.Plugin, "join", file, "--store", "none", "--profile",
		"hostile").Succeeds()
	if strings.Contains(hostile.Stderr, "127.0.0.1:1 ") {
		t.Errorf("the pod's token was to go elsewhere:\n%s", hostile.Stderr)
	}
}
