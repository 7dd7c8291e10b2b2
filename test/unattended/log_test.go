//go:build linux

package unattended_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// logged are the lines of a log that have been added since it was last read.
type logged struct {
	path string
	read int
}

var eventLine = regexp.MustCompile(`^20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ (profile=\S+ event=(\S+)( .+)?)$`)

// next are the new lines without their time, each of which is whole; names are their events.
func (l *logged) next(m *machine) (lines, names []string) {
	m.Helper()
	text := m.Read(l.path)
	for line := range strings.Lines(text[l.read:]) {
		match := eventLine.FindStringSubmatch(strings.TrimSuffix(line, "\n"))
		if match == nil {
			m.Fatalf("not a line of a log: %q", line)
		}
		lines, names = append(lines, match[1]), append(names, match[2])
	}
	l.read = len(text)
	return lines, names
}

// jti is the id of the token that the store has.
func (m *machine) jti() string {
	token, _ := m.Tokens(m.Configuration())
	return mint.ParseClaims(token).ID
}

// TestWhatHappensAtNightIsOneLineEach has a profile go through everything that a log tells of.
func TestWhatHappensAtNightIsOneLineEach(t *testing.T) {
	m, door := newMachine(t, keyring.Kernel), lab.NewDoor(t)
	m.Machine = m.Behind(door)
	log := &logged{path: m.Path("audit.log")}
	r := m.Prepare("--log", log.path, "--recover")
	lab.Has(t, "the proof", r.Stdout, "logged in", log.path)
	if info, err := os.Stat(log.path); err != nil || info.Mode() != 0o600 {
		t.Errorf("the log's mode is %v, %v", info.Mode(), err)
	}
	use := func() { m.Kubectl("get", "pods").Succeeds() }
	for _, step := range []struct {
		name   string
		do     func()
		events []string
		holds  []string // each in some line; JTI is that of the token in the store
	}{
		{"setup", func() {}, []string{"issued", "minted"}, []string{"jti=JTI expires=20"}},
		{"a token that is there", use, nil, nil},
		{"a token that is gone", func() { m.Forget(); use() }, []string{"minted"},
			[]string{"event=minted jti=JTI expires=20"}},
		{"a bootstrap credential half of whose life is over", func() {
			m.Age(m.Configuration().BootstrapKey(), 0.6)
			m.Forget()
			use()
		}, []string{"minted", "renewed"}, []string{"event=renewed jti=BOOTSTRAP expires=20"}},
		{"a token that the API server refuses", func() {
			key := m.Configuration().TokenKey()
			entry := m.Entry(key)
			entry.Token = secret.New("eyJhbGciOiJub25lIn0.eyJqdGkiOiJmb3JnZWQifQ.c2ln")
			m.SetEntry(key, entry)
			m.Kubectl("get", "pods").Fails(1, "Unauthorized") // client-go hands on one 401
			use()
		}, []string{"token-refused", "minted"}, []string{"event=token-refused jti=forged",
			"event=minted jti=JTI"}},
		{"a store that was emptied", func() {
			m.Plugin("logout", "--profile", m.Profile, "--bootstrap").Succeeds()
			use()
		}, []string{"issued", "recovered", "minted"}, []string{"event=issued jti=BOOTSTRAP"}},
		{"an API server that is not there", func() {
			m.Forget()
			door.Lead(lab.Reset)
			m.Plugin("token", "--profile", m.Profile).OneError(5)
			door.LeadTo(lab.Plane.Server)
		}, []string{"mint-failed"}, []string{"kind=unreachable error=\"minting token for "}},
		{"a client that would send it elsewhere", func() {
			c := m.Command(lab.Plugin, "get", "--profile", m.Profile)
			c.Env = append(c.Env, "KUBERNETES_EXEC_INFO="+lab.ExecInfo(
				"https://elsewhere.example.com", lab.Plane.CAPEM))
			c.Run(t).OneError(3)
		}, []string{"client-refused"}, []string{"kind=other-cluster"}},
		{"doctor", func() { m.Plugin("doctor", "--profile", m.Profile) },
			[]string{"minted", "checked"}, nil},
	} {
		t.Run(step.name, func(t *testing.T) {
			m := m.in(t)
			step.do()
			lines, names := log.next(m)
			if !slices.Equal(names, step.events) {
				t.Errorf("the events are %q, not %q", lines, step.events)
			}
			for _, part := range step.holds {
				if strings.Contains(part, "JTI") {
					part = strings.ReplaceAll(part, "JTI", m.jti())
				}
				if strings.Contains(part, "BOOTSTRAP") {
					_, bootstrap := m.Tokens(m.Configuration())
					part = strings.ReplaceAll(part, "BOOTSTRAP",
						mint.ParseClaims(bootstrap).ID)
				}
				if !strings.Contains(strings.Join(lines, "\n"), part) {
					t.Errorf("no line holds %q: %q", part, lines)
				}
			}
			for _, line := range lines {
				if !strings.HasPrefix(line, "profile="+m.Profile+" ") {
					t.Errorf("no profile: %q", line)
				}
			}
		})
	}
}

// privateRun puts an empty directory in the place of /run, for daemons of the test's own.
func (m *machine) privateRun() {
	m.Helper()
	if err := syscall.Mount("tmpfs", "/run", "tmpfs", 0, "mode=0755"); err != nil {
		m.Fatal(err)
	}
	m.Cleanup(func() { _ = syscall.Unmount("/run", syscall.MNT_DETACH) })
	for _, dir := range []string{"/run/systemd/journal", "/run/log/journal", "/run/user"} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			m.Fatal(err)
		}
	}
}

// daemon starts one that ends with the test, and waits for its socket.
func (m *machine) daemon(socket string, args ...string) *lab.Started {
	m.Helper()
	if _, err := os.Stat(args[0]); err != nil {
		m.Fatalf("this test needs %s: run scripts/deps", args[0])
	}
	started := lab.Command{Args: args, Env: []string{"PATH=/usr/bin:/bin"}, Dir: "/"}.Start(m.T)
	lab.Eventually(m.T, args[0]+" listens", func() bool {
		_, err := os.Stat(socket)
		return err == nil
	})
	return started
}

// TestTheJournalHasTheEvents is on a real journald.
func TestTheJournalHasTheEvents(t *testing.T) {
	m := newMachine(t, keyring.Kernel)
	m.privateRun()
	m.Setup(lab.Account, "-n", m.Namespace, "--store", "kernel", "--log", "journald").
		OneError(2, "the log cannot be written: journald")
	m.daemon("/run/systemd/journal/socket", "/lib/systemd/systemd-journald")
	m.Prepare("--log", "journald")
	var entry map[string]any
	lab.Eventually(t, "the journal has it", func() bool {
		r := m.Exec("journalctl", "-o", "json", "-t", "sa-exec-credential",
			"SA_EVENT=minted")
		return json.Unmarshal([]byte(r.Stdout), &entry) == nil
	})
	for name, want := range map[string]string{"SA_PROFILE": m.Profile, "SA_JTI": m.jti(),
		"PRIORITY": "6"} {
		if entry[name] != want {
			t.Errorf("%s is %v, not %q", name, entry[name], want)
		}
	}
	m.Plugin("doctor", "--profile", m.Profile)
	lab.Eventually(t, "the journal has doctor's line", func() bool {
		return strings.Contains(m.Exec("journalctl", "-t", "sa-exec-credential").Stdout,
			"profile="+m.Profile+" event=checked")
	})
}

// TestSyslogHasTheEvents is on a real rsyslogd.
func TestSyslogHasTheEvents(t *testing.T) {
	m := newMachine(t, keyring.Kernel)
	m.privateRun()
	if info, err := os.Lstat("/dev/log"); err == nil && info.Mode().Type() == os.ModeSocket {
		m.mount(os.DevNull, "/dev/log") // this machine's own hears nothing of it
	}
	m.Setup(lab.Account, "-n", m.Namespace, "--store", "kernel", "--log", "syslog").
		OneError(2, "the log cannot be written: syslog")
	file, pid := m.Path("messages"), m.Path("rsyslogd.pid")
	config := m.Write(m.Path("rsyslog.conf"), `module(load="imuxsock" SysSock.Use="off")
input(type="imuxsock" Socket="/run/syslog")
action(type="omfile" file="`+file+`" fileCreateMode="0600")
`)
	m.daemon("/run/syslog", "/usr/sbin/rsyslogd", "-n", "-f", config, "-i", pid)
	m.Prepare("--log", "syslog")
	lab.Eventually(t, "the file has it", func() bool {
		text, _ := os.ReadFile(file)
		return regexp.MustCompile(`(?m)^\S+ \S+ sa-exec-credential\[\d+\]: profile=` +
			regexp.QuoteMeta(m.Profile) + ` event=minted jti=` + m.jti() + ` expires=`).Match(text)
	})
}

// TestALogThatFailsCostsAWarning and never the answer.
func TestALogThatFailsCostsAWarning(t *testing.T) {
	m := newMachine(t, keyring.Kernel)
	dir := m.Path("log")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	m.Prepare("--log", filepath.Join(dir, "audit.log"))
	if err := os.Rename(dir, dir+".moved"); err != nil {
		t.Fatal(err)
	}
	m.Forget()
	m.Kubectl("get", "pods", "-o", "name").Succeeds().Silent()
	const problem = "the log cannot be written: "
	lab.Has(t, "status", m.Plugin("status").Succeeds().Stdout, "; warning, ", problem)
	r := m.Plugin("doctor").Succeeds().Silent()
	lab.Has(t, "doctor", r.Stdout, problem, "log", "to do without: sa-exec-credential setup ci ")
	m.Follow(r, "--log", "none")
	if p := m.Configuration(); p.Log != "" {
		t.Errorf("the profile's log is %q", p.Log)
	}
	r = m.Plugin("doctor").Succeeds()
	if strings.Contains(r.Stdout, problem) {
		t.Errorf("doctor still says\n%s", r.Stdout)
	}
}

// TestSetupLooksAtTheLogFirst and changes nothing where it cannot be written.
func TestSetupLooksAtTheLogFirst(t *testing.T) {
	m := newMachine(t, keyring.Kernel)
	for _, test := range []struct {
		name, log string
		says      string
	}{
		{"a word that is none", "sylog", `invalid --log "sylog": must be journald, syslog, none or`},
		{"a relative file", "./log", `invalid --log "./log"`},
		{"a directory that is not there", "/nonexistent/log", "the log cannot be written"},
		{"a device", "/dev/full", "is not a regular file"},
	} {
		t.Run(test.name, func(t *testing.T) {
			m := m.in(t)
			m.Setup(lab.Account, "-n", m.Namespace, "--store", "kernel", "--log", test.log).
				OneError(2, test.says)
			if r := lab.AsAdmin(t, "", "get", "namespace", m.Namespace); r.Code == 0 {
				t.Error("the namespace was created")
			}
		})
	}
}

// TestASecondSetupKeepsTheLog unless a flag says otherwise, which is said then.
func TestASecondSetupKeepsTheLog(t *testing.T) {
	m := newMachine(t, keyring.Kernel)
	path := m.Path("audit.log")
	m.Prepare("--log", path)
	r := m.Prepare()
	if p := m.Configuration(); p.Log != path || strings.Contains(r.Stderr, "log:") {
		t.Errorf("the log is %q\n%s", p.Log, r.Stderr)
	}
	m.Setup(lab.Account, "-n", m.Namespace, "--store", "kernel", "--dry-run", "--log",
		m.Path("other.log")).Succeeds()
	if _, err := os.Stat(m.Path("other.log")); err == nil {
		t.Error("a dry run has created a log")
	}
	lab.Has(t, "setup", m.Prepare("--log", "none").Stderr, "log: none, was "+path)
	if p := m.Configuration(); p.Log != "" {
		t.Errorf("the log is %q", p.Log)
	}
}

// TestAMachineThatJoinsHasALogAndATimer as one that was set up has.
func TestAMachineThatJoinsHasALogAndATimer(t *testing.T) {
	admin := lab.NewMachine(t, keyring.Kernel)
	invitation := admin.Plugin("invite", lab.Account, "-n", admin.Namespace, "--kubeconfig",
		admin.Admin, "--cluster-role", "view", "--for", "build-7").Succeeds().Stdout
	lab.Note(invitation)
	m := newMachine(t, keyring.Kernel)
	m.Namespace, m.Profile = admin.Namespace, admin.Profile
	log := &logged{path: m.Path("audit.log")}
	joins := m.Command(lab.Plugin, "join", "--store", "kernel", "--log", log.path, "--timer")
	joins.Stdin = invitation
	r := joins.Run(t).Succeeds()
	lab.Has(t, "join", r.Stdout, "logged in", log.path)
	lab.Has(t, "join", r.Stderr, "to have cron renew what is due: (crontab -l")
	lines, names := log.next(m)
	if !slices.Equal(names, []string{"issued", "minted"}) {
		t.Errorf("the events are %q", lines)
	}
	_, bootstrap := m.Tokens(m.Configuration())
	lab.Has(t, "the log", strings.Join(lines, "\n"), "event=minted jti="+m.jti(),
		"event=issued jti="+mint.ParseClaims(bootstrap).ID)
	m.Age(m.Configuration().BootstrapKey(), 0.6)
	m.renew().Succeeds().Silent()
	if lines, names := log.next(m); !slices.Equal(names, []string{"renewed"}) {
		t.Errorf("the events are %q", lines)
	}
}
