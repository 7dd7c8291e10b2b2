//go:build linux

package join_test

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/invitation"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// TestAMachineJoins looks at what an invitation is exchanged for.
func TestAMachineJoins(t *testing.T) {
	t.Parallel()
	admin := administrator(t)
	empty := lab.FilesBelow(t, admin.Home)
	block, i := invite(admin, "build-7", "--duration", "30m", "--bootstrap-duration", "480h",
		"--valid", "15m", "--audience", "api", "--audience",
		"https://kubernetes.default.svc")
	if now := lab.FilesBelow(t, admin.Home); !slices.Equal(now, empty) {
		t.Errorf("the administrator's machine has %q, and had %q", now, empty)
	}
	if left := time.Until(i.Expires); left < 14*time.Minute || left > 15*time.Minute {
		t.Errorf("it is good for %v", left)
	}
	m := newcomer(admin)
	r := join(m, block).Succeeds()
	lab.Has(t, "join", r.Stderr, "build-7", admin.Namespace+"/ci", admin.Server, i.Device.Name)
	lab.Has(t, "the proof", r.Stdout, "It works.", m.Username(), "renews itself",
		m.Kubeconfig())
	m.Kubectl("get", "pods").Succeeds()

	p := m.Configuration()
	token, bootstrap := m.Tokens(p)
	for _, test := range []struct {
		what, token, subject string
		lifetime             time.Duration
	}{
		{"its token", token, m.Username(), 30 * time.Minute},
		{"its bootstrap credential", bootstrap, mint.Username(m.Namespace, i.Device.Name),
			480 * time.Hour},
		{"the invitation's", i.Token.Reveal(), mint.Username(m.Namespace, i.Device.Name),
			15 * time.Minute},
	} {
		claims := mint.ParseClaims(test.token)
		if claims.Subject != test.subject || claims.BoundSecret != (mint.Secret{
			Name: i.Device.Name, UID: i.Device.SecretUID}) ||
			claims.ExpiresAt.Sub(claims.IssuedAt) != test.lifetime {
			t.Errorf("%s is of %q, bound to %q, from %v to %v", test.what,
				claims.Subject, claims.BoundSecret, claims.IssuedAt,
				claims.ExpiresAt)
		}
	}
	if p.Origin != nil || p.Recovery != nil || p.Setup.Machine != "build-7" ||
		len(p.Audiences) != 2 {
		t.Errorf("the profile is %+v", p)
	}
	m.Plugin("doctor").Succeeds()
}

// TestAMachineThatHasJoinedWorksAfterARestart where its store is sealed.
func TestAMachineThatHasJoinedWorksAfterARestart(t *testing.T) {
	t.Parallel()
	admin := administrator(t)
	block, _ := invite(admin, "build-7")
	m := lab.NewMachine(t, keyring.Sealed)
	m.Namespace, m.Profile = admin.Namespace, admin.Profile
	r := join(m, block, "--store", "sealed", "--tpm", m.TPMPlace).Succeeds()
	lab.Has(t, "the proof", r.Stdout, "It works.", "sealed")
	m.Kubectl("get", "pods").Succeeds()
	m.Reboot()
	m.Kubectl("get", "pods").Succeeds()
	join(m, block).Succeeds() // as before: the store and the TPM that were chosen
	if p := m.Configuration(); p.Store != keyring.Sealed || p.TPM != m.TPMPlace {
		t.Errorf("the store is %s, the TPM %s", p.Store, p.TPM)
	}
}

// TestWhatCannotJoinChangesNothing is about all that can be wrong with an invitation or the way to
// its server.
func TestWhatCannotJoinChangesNothing(t *testing.T) {
	t.Parallel()
	admin := administrator(t)
	block, i := invite(admin, "build-7")
	lines := strings.SplitAfter(block, "\n")
	other := lab.Authority(t, time.Now().Add(time.Hour))
	impostor := lab.Impostor(t, other, http.NotFoundHandler())
	door := lab.NewDoor(t)
	change := func(change func(*invitation.Invitation)) string {
		changed := i
		change(&changed)
		return written(t, changed)
	}
	mine := mint.ParseClaims(i.Token.Reveal()).Subject
	over := withToken(i, unsigned(mine))
	over.Expires = time.Now().Add(-time.Minute)
	tests := []struct {
		name, block string
		code        int
		says        string
		way         func(net.Conn) // what is behind the door
	}{
		{"nothing", "", 2, "there is no invitation: the input is empty", nil},
		{"one that is cut", block[:len(block)/2], 2, "the invitation is cut", nil},
		{"one that lacks a line", strings.Join(slices.Delete(slices.Clone(lines), 2, 3),
			""), 2, "the invitation has been altered", nil},
		{"a kubeconfig", admin.Read(admin.Admin), 2, "it is a kubeconfig", nil},
		{"a certificate", string(other.PEM), 2, `it is a "CERTIFICATE" block`, nil},
		{"one that has expired", written(t, over), 4, "the invitation has expired", nil},
		{"one that the server does not know", written(t, withToken(i, unsigned(mine))), 4,
			"the API server refuses the invitation", nil},
		{"another certificate authority", change(func(i *invitation.Invitation) {
			i.Cluster.Server = impostor.URL
		}), 5, "certificate is not trusted", nil},
		{"a server that is not there", change(func(i *invitation.Invitation) {
			i.Cluster.Server = "https://127.0.0.1:1"
		}), 5, "unreachable", nil},
		{"a connection that breaks", change(func(i *invitation.Invitation) {
			i.Cluster.Server = door.URL
		}), 5, "the API server", lab.Reset},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if test.way != nil {
				door.Lead(test.way)
			}
			m := newcomer(admin.In(t))
			m.Write(m.Kubeconfig(), "apiVersion: v1\nkind: Config\n")
			before := state(m)
			r := join(m, test.block).Fails(test.code, test.says, "hint: ")
			if test.code == 4 {
				lab.Has(t, "the hint", r.Stderr, "invite ci -n "+admin.Namespace+
					" --for build-7 | ssh build-7 sa-exec-credential join")
			}
			unchanged(m, before)
		})
	}
	m := newcomer(admin)
	join(m, block).Succeeds() // and it was good all the time
}

// TestAClockThatIsAheadKeepsNobodyOut has the server's word count.
func TestAClockThatIsAheadKeepsNobodyOut(t *testing.T) {
	t.Parallel()
	admin := administrator(t)
	_, i := invite(admin, "build-7")
	i.Expires = time.Now().Add(-time.Hour)
	join(newcomer(admin), written(t, i)).Succeeds()
}

// TestAMachineIsCheckedBeforeAnythingIsWritten is about what is wrong with the machine itself.
func TestAMachineIsCheckedBeforeAnythingIsWritten(t *testing.T) {
	t.Parallel()
	admin := administrator(t)
	block, _ := invite(admin, "build-7")
	tests := []struct {
		name    string
		prepare func(*lab.Machine)
		more    []string
		code    int
		says    string
	}{
		{"a kubeconfig that is none", func(m *lab.Machine) {
			m.Write(m.Kubeconfig(), "clusters: [\n")
		}, nil, 2, "config"},
		{"a context of somebody else", func(m *lab.Machine) {
			m.Write(m.Kubeconfig(), fmt.Sprintf("apiVersion: v1\nkind: Config\n"+
				"contexts:\n- name: %[1]s\n  context: {cluster: x, user: x}\n",
				m.Profile))
		}, nil, 2, "already exists"},
		{"no keyring", func(m *lab.Machine) {
			m.Variables = append(m.Variables,
				"DBUS_SESSION_BUS_ADDRESS=unix:path=/nowhere")
		}, []string{"--store", "keyring"}, 6, ""},
		{"a store that keeps nothing", func(*lab.Machine) {},
			[]string{"--store", "none"}, 2, ""},
		{"a profile of another account", func(m *lab.Machine) {
			other := *m
			other.Namespace = lab.Namespace()
			other.Setup(lab.Account, "-n", other.Namespace, "--profile", m.Profile,
				"--store", "keyring").Succeeds()
		}, nil, 2, "there is a profile of that name"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			m := newcomer(admin.In(t))
			test.prepare(m)
			before := state(m)
			join(m, block, test.more...).Fails(test.code, test.says, "hint: ")
			unchanged(m, before)
		})
	}
}

// TestAMachineGetsNoMoreThanTheClusterAllows also when its invitation says more.
func TestAMachineGetsNoMoreThanTheClusterAllows(t *testing.T) {
	t.Parallel()
	admin := administrator(t)
	block, _ := invite(admin, "build-7", "--duration", "2h")
	limit := func(token, bootstrap string) {
		admin.AsAdmin("patch", "configmap", "limits", "-n", "sa-exec-credential",
			"--type=merge", "-p", fmt.Sprintf(`{"data":{"%s.ci":"tokenSeconds=%s bootstrapSeconds=%s `+
				`audiences="}}`, admin.Namespace, token, bootstrap))
	}
	m := newcomer(admin)
	before := state(m)
	for _, less := range [][2]string{{"7200", "3600"}, {"3600", "2592000"}} {
		limit(less[0], less[1])
		r := join(m, block).Fails(7, "denied by admission", "hint: a policy of the cluster")
		lab.Has(t, "the hint", r.Stderr, "--for build-7 --duration 2h | ssh build-7 ")
		unchanged(m, before)
	}
	limit("7200", "2592000")
	join(m, block).Succeeds()
}

// TestWhatAJoinHasGotIsInTheLog that it was told to write.
func TestWhatAJoinHasGotIsInTheLog(t *testing.T) {
	t.Parallel()
	admin := administrator(t)
	block, _ := invite(admin, "build-7")
	m := newcomer(admin)
	log := m.Path("log")
	join(m, block, "--log", log).Succeeds()
	var events []string
	for line := range strings.Lines(m.Read(log)) {
		events = append(events, strings.Fields(line)[2])
	}
	if !slices.Equal(events, []string{"event=issued", "event=minted"}) {
		t.Errorf("the log is %q", m.Read(log))
	}
	if p := m.Configuration(); p.Log != log {
		t.Errorf("its log is %q from now on", p.Log)
	}
}

// TestAJoinThatCannotBeWrittenDownKeepsNothing when that shows after the credential is there.
func TestAJoinThatCannotBeWrittenDownKeepsNothing(t *testing.T) {
	t.Parallel()
	admin := administrator(t)
	block, _ := invite(admin, "build-7")
	m := newcomer(admin)
	profile := filepath.Join(string(m.Profiles()), m.Profile+".yaml")
	for dir := profile; dir != m.Home; dir = filepath.Dir(dir) {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	before := state(m)
	join(m, block).Fails(3, "is not a regular file", "hint: ")
	unchanged(m, before)
	if err := os.Remove(profile); err != nil {
		t.Fatal(err)
	}
	join(m, block).Succeeds()
}

// TestWhatIsChosenForOneMachineIsNotForAnother that is invited from it.
func TestWhatIsChosenForOneMachineIsNotForAnother(t *testing.T) {
	t.Parallel()
	admin := administrator(t)
	admin.Prepare("--duration", "25m", "--bootstrap-duration", "240h")
	_, i := invite(admin, "build-7")
	if i.Duration.Duration != time.Hour || i.BootstrapDuration.Duration != 720*time.Hour {
		t.Errorf("its tokens live %v, its credential %v", i.Duration, i.BootstrapDuration)
	}
}

// TestJoiningAgainChangesNothing also when the invitation has expired.
func TestJoiningAgainChangesNothing(t *testing.T) {
	t.Parallel()
	admin := administrator(t)
	block, i := invite(admin, "build-7")
	m := newcomer(admin)
	join(m, block).Succeeds()
	before := state(m)
	i.Expires = time.Now().Add(-time.Minute)
	expired := written(t, withToken(i, unsigned(mint.ParseClaims(i.Token.Reveal()).Subject)))
	for _, again := range []string{block, expired} {
		r := join(m, again).Succeeds()
		lab.Has(t, "join", r.Stderr, "has joined already", "unchanged")
		unchanged(m, before)
	}
	// a second profile of the same device takes nothing but its own name
	join(m, expired, "--profile", "second").Succeeds()
	if a, b := m.Load(m.Profile), m.Load("second"); a.BootstrapKey() != b.BootstrapKey() {
		t.Error("the second profile has a credential of its own")
	}
	m.Kubectl("--context", "second", "get", "pods").Succeeds()
}

// TestWhoCopiesAnInvitationIsTheSameDevice has two machines join with one, and one revoke end both.
func TestWhoCopiesAnInvitationIsTheSameDevice(t *testing.T) {
	t.Parallel()
	admin := administrator(t)
	block, i := invite(admin, "build-7")
	machines := []*lab.Machine{newcomer(admin), newcomer(admin)}
	dead := []string{i.Token.Reveal()}
	for _, m := range machines {
		join(m, block).Succeeds()
		m.Kubectl("get", "pods").Succeeds()
		// now: one kernel has the tokens of both, and each forgets them
		token, bootstrap := m.Tokens(m.Configuration())
		dead = append(dead, token, bootstrap)
	}
	devices := admin.Devices(admin.Namespace)
	if len(devices) != 1 || devices[0].Name != i.Device.Name {
		t.Fatalf("the devices are %+v", devices)
	}
	r := admin.Plugin("revoke", "--device", "build-7", "--serviceaccount", lab.Account, "-n",
		admin.Namespace, "--kubeconfig", admin.Admin).Succeeds()
	lab.Has(t, "revoke", r.Stderr, i.Device.Name, "at build-7", "refused after")
	for _, token := range dead {
		if lab.Accepts(t, token) {
			t.Error("a token outlives its device")
		}
	}
	for _, m := range machines {
		m.Kubectl("get", "pods").Fails(1)
		m.Forget()
		lab.Has(t, "the hint", m.Plugin("token").Fails(4).Stderr,
			"invite ci -n "+admin.Namespace+" --for build-7 | ssh build-7 ")
	}
}

// TestRevokeEndsAnInvitationThatNobodyHasTaken before the machine joins.
func TestRevokeEndsAnInvitationThatNobodyHasTaken(t *testing.T) {
	t.Parallel()
	admin := administrator(t)
	block, i := invite(admin, "build-7.example.com")
	revoke := []string{"revoke", "--serviceaccount", lab.Account, "-n", admin.Namespace,
		"--kubeconfig", admin.Admin, "--device"}
	admin.Plugin(append(revoke, "build-8")...).OneError(2, `no device "build-8"`)
	admin.Plugin(append(revoke, "build-7")...).Succeeds() // what it is called up to a dot
	m := newcomer(admin)
	before := state(m)
	join(m, block).Fails(4, "the API server refuses the invitation", "hint: ")
	unchanged(m, before)
	// invited again it is another device, and nobody can tell what became of the first
	again, j := invite(admin, "build-7.example.com")
	if i.Device.Name == j.Device.Name {
		t.Errorf("it is %q again", i.Device.Name)
	}
	join(m, again).Succeeds()
}

// TestOfSeveralMachinesOfOneNameOneHasToBeNamed and none is revoked by accident.
func TestOfSeveralMachinesOfOneNameOneHasToBeNamed(t *testing.T) {
	t.Parallel()
	admin := administrator(t)
	_, a := invite(admin, "build-7.a.example")
	_, b := invite(admin, "build-7.b.example")
	if a.Device.Name == b.Device.Name {
		t.Fatal("two machines are one device")
	}
	revoke := func(name string) lab.Result {
		return admin.Plugin("revoke", "--serviceaccount", lab.Account, "-n",
			admin.Namespace, "--kubeconfig", admin.Admin, "--device", name)
	}
	short := func(i invitation.Invitation) string {
		return strings.TrimPrefix(i.Device.Name, "ci-device-")
	}
	revoke("build-7").OneError(2, `"build-7" is the name of several devices`, short(a),
		short(b), "revoke --serviceaccount ci")
	if devices := admin.Devices(admin.Namespace); len(devices) != 2 {
		t.Errorf("the devices are %+v", devices)
	}
	revoke("build-7.b.example").Succeeds()
	devices := admin.Devices(admin.Namespace)
	if len(devices) != 1 || devices[0].Name != a.Device.Name {
		t.Errorf("the devices are %+v", devices)
	}
}

// TestANameInvitedAgainIsTheSameDevice until it is revoked, whether its machine has joined or not.
func TestANameInvitedAgainIsTheSameDevice(t *testing.T) {
	t.Parallel()
	admin := administrator(t)
	_, first := invite(admin, "build-7")
	block, second := invite(admin, "BUILD-7")
	m := newcomer(admin)
	join(m, block).Succeeds()
	_, bootstrap := m.Tokens(m.Configuration())
	third, again := invite(admin, "build-7")
	if first.Device != second.Device || second.Device != again.Device {
		t.Errorf("the devices are %+v, %+v, %+v", first.Device, second.Device, again.Device)
	}
	if !lab.Accepts(t, bootstrap) {
		t.Error("who had joined no longer can mint")
	}
	// a machine whose keyring a restart has emptied gets a credential again
	p := m.Configuration()
	if err := m.Store().Delete(t.Context(), p.BootstrapKey()); err != nil {
		t.Fatal(err)
	}
	m.Forget()
	m.Kubectl("get", "pods").Fails(1)
	join(m, third).Succeeds()
	m.Kubectl("get", "pods").Succeeds()
}

// TestAMachineIsNoSecondDeviceWhileTheFirstWorks also when it was set up by hand.
func TestAMachineIsNoSecondDeviceWhileTheFirstWorks(t *testing.T) {
	t.Parallel()
	admin := administrator(t)
	m := newcomer(admin)
	m.Prepare()
	block, i := invite(admin, "build-7")
	before := state(m)
	join(m, block).Fails(2, "this machine is another device of the account", i.Device.Name)
	unchanged(m, before)
	own := m.Configuration().Device.Name
	admin.Plugin("revoke", "--device", own, "--serviceaccount", lab.Account, "-n",
		admin.Namespace, "--kubeconfig", admin.Admin).Succeeds()
	join(m, block).Succeeds()
	m.Kubectl("get", "pods").Succeeds()
	if now := m.Configuration(); now.Device.Name != i.Device.Name || now.Origin != nil {
		t.Errorf("the profile is %+v", now)
	}
}

// TestSeveralMachinesGetAFileEach which nobody else can read and nothing overwrites.
func TestSeveralMachinesGetAFileEach(t *testing.T) {
	t.Parallel()
	admin, dir := administrator(t), t.TempDir()
	several := func(more ...string) lab.Result {
		return admin.Plugin(append([]string{"invite", lab.Account, "-n", admin.Namespace,
			"--kubeconfig", admin.Admin, "--cluster-role", "view", "-o", dir},
			more...)...)
	}
	taken := filepath.Join(dir, "build-2.invitation")
	lab.WriteFile(t, taken, "mine", 0o600)
	several("--for", "build-1", "--for", "build-2").OneError(2, "there is a file of that name",
		taken)
	if r := lab.AsAdmin(t, "", "get", "namespace", admin.Namespace); r.Code == 0 {
		t.Error("the cluster was touched")
	}
	if names := lab.FilesBelow(t, dir); !slices.Equal(names, []string{"build-2.invitation"}) ||
		admin.Read(taken) != "mine" {
		t.Errorf("the directory holds %q", names)
	}
	if err := os.Remove(taken); err != nil {
		t.Fatal(err)
	}
	r := several("--for", "build-1", "--for", "build-2").Succeeds()
	want := filepath.Join(dir, "build-1.invitation") + "\n" + taken + "\n"
	if r.Stdout != want {
		t.Errorf("it has printed %q, not %q", r.Stdout, want)
	}
	var names []string
	for path := range strings.Lines(r.Stdout) {
		path = strings.TrimSpace(path)
		info, err := os.Stat(path)
		if err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: %v (%v)", path, info.Mode(), err)
		}
		i := read(t, admin.Read(path))
		m := newcomer(admin)
		m.Plugin("join", path, "--use-context").Succeeds()
		m.NoteEntries()
		m.Kubectl("get", "pods").Succeeds()
		names = append(names, i.Device.Name)
	}
	if slices.Sort(names); len(slices.Compact(names)) != 2 {
		t.Errorf("the devices are %q", names)
	}
}

// TestAJoinThatIsKilledAnywhereCanBeRunAgain with the same invitation, before each request and
// after each answer.
func TestAJoinThatIsKilledAnywhereCanBeRunAgain(t *testing.T) {
	t.Parallel()
	run := func(t *testing.T) (site *lab.Site, path string) {
		t.Helper()
		site = lab.NewSite(lab.NewMachine(t, keyring.Keyring))
		block, _ := invite(site.Machine, "build-7")
		return site, saved(t, block)
	}
	clean, path := run(t)
	clean.Gate.Forget()
	clean.Plugin("join", path, "--use-context").Succeeds()
	clean.NoteEntries()
	requests := clean.Gate.Requests()
	if len(requests) < 4 {
		t.Fatalf("join made only the requests %q", requests)
	}
	for i, request := range requests {
		for _, after := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d %s, after its answer: %v", i+1, lab.Name(request,
				clean.Namespace), after), func(t *testing.T) {
				t.Parallel()
				s, path := run(t)
				s.Killed(i+1, after, "join", path, "--use-context")
				s.RestartKeyring()
				s.NoTokenInFiles()
				s.Plugin("join", path, "--use-context").Succeeds()
				s.NoteEntries()
				s.Kubectl("get", "pods").Succeeds()
				if keys := s.StoreKeys(); len(keys) != 2 {
					t.Errorf("the store holds %q", keys)
				}
			})
		}
	}
}

// TestWhoCannotLookForDevicesInvitesAnotherOne and is told.
func TestWhoCannotLookForDevicesInvitesAnotherOne(t *testing.T) {
	t.Parallel()
	admin := administrator(t)
	_, first := invite(admin, "build-7")
	user := "creator-" + admin.Namespace
	admin.AsAdmin("create", "role", "creator", "-n", admin.Namespace, "--verb=create,get,patch",
		"--resource=secrets,serviceaccounts,roles,rolebindings,serviceaccounts/token")
	admin.AsAdmin("create", "rolebinding", "creator", "-n", admin.Namespace, "--role=creator",
		"--user="+user)
	limited := *admin
	limited.Admin = lab.User(t, user)
	r := limited.Plugin("invite", lab.Account, "-n", admin.Namespace, "--kubeconfig",
		limited.Admin, "--for", "build-7").Succeeds()
	lab.Has(t, "invite", r.Stderr, "warning: you cannot list Secrets in")
	second := read(t, r.Stdout)
	if first.Device.Name == second.Device.Name {
		t.Error("the device is the first one")
	}
	join(newcomer(admin), r.Stdout).Succeeds()
}

// TestWhoMayNotInviteIsToldBeforeAnythingIsCreated and what would be needed.
func TestWhoMayNotInviteIsToldBeforeAnythingIsCreated(t *testing.T) {
	t.Parallel()
	admin := administrator(t)
	nobody := lab.User(t, "nobody-"+admin.Namespace)
	admin.Plugin("invite", lab.Account, "-n", admin.Namespace, "--kubeconfig", nobody, "--for",
		"build-7").Fails(7, "you are not allowed", "hint: ")
	if r := lab.AsAdmin(t, "", "get", "namespace", admin.Namespace); r.Code == 0 {
		t.Error("the namespace was created")
	}
}
