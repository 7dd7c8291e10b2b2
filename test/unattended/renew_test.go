//go:build linux

package unattended_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// requests are the tokens that the API server has issued so far, for the account and for the
// machine's device.
func (m *machine) requests() (tokens, bootstraps int) {
	m.Helper()
	return m.Minted(lab.Account), m.Minted(m.Configuration().Device.Name)
}

// renew is what a timer runs, with no variable at all.
func (m *machine) renew(args ...string) lab.Result {
	m.Helper()
	return m.command(environments[4], append([]string{lab.Plugin, "renew"}, args...)...).Run(m.T)
}

// TestRenewRenewsWhatIsDue and nothing else, and says nothing.
func TestRenewRenewsWhatIsDue(t *testing.T) {
	m := newMachine(t, keyring.Kernel)
	m.Prepare()
	for _, step := range []struct {
		name               string
		before             func()
		tokens, bootstraps int // that are requested
	}{
		{"nothing is due", func() {}, 0, 0},
		{"a token that is gone", m.Forget, 1, 0},
		{"a token that is about to expire", func() { m.Age(m.Configuration().TokenKey(), 0.97) }, 1, 0},
		{"a bootstrap credential half of whose life is over", func() { m.Age(m.Configuration().BootstrapKey(), 0.6) }, 0, 1},
		{"both", func() { m.Age(m.Configuration().BootstrapKey(), 0.6); m.Age(m.Configuration().TokenKey(), 0.97) }, 1, 1},
	} {
		t.Run(step.name, func(t *testing.T) {
			m := m.in(t)
			step.before()
			for _, turn := range []struct {
				name               string
				tokens, bootstraps int
			}{{"once", step.tokens, step.bootstraps}, {"twice", 0, 0}} {
				tokens, bootstraps := m.requests()
				if r := m.renew().Succeeds().Silent(); r.Stdout != "" {
					t.Errorf("it prints %q", r.Stdout)
				}
				tokensNow, bootstrapsNow := m.requests()
				if tokensNow-tokens != turn.tokens || bootstrapsNow-bootstraps !=
					turn.bootstraps {
					t.Errorf("%s: %d and %d requests, not %d and %d", turn.name,
						tokensNow-tokens, bootstrapsNow-bootstraps,
						turn.tokens, turn.bootstraps)
				}
			}
			if n, _ := m.requests(); true {
				m.Kubectl("get", "pods").Succeeds()
				if now, _ := m.requests(); now != n {
					t.Error("kubectl had to request one more")
				}
			}
		})
	}
}

// TestRenewGoesOnPastAClusterThatIsDown and says which it was.
func TestRenewGoesOnPastAClusterThatIsDown(t *testing.T) {
	m, door := newMachine(t, keyring.Kernel), lab.NewDoor(t)
	admin := m.Admin
	m.Admin = door.Kubeconfig
	ready := func(namespace string, names ...string) {
		m.Ready(namespace, names[0], "--store", "kernel")
		m.Ready(namespace, names[1], "--store", "kernel", "--duration", "20m")
	}
	ready(m.Namespace, "b-down", "d-down")
	m.Admin = admin
	other := lab.Namespace()
	ready(other, "a-up", "c-up")
	m.Profile = "c-up"
	m.Namespace = other
	m.Age(m.Configuration().BootstrapKey(), 0.6)
	door.Lead(lab.Reset)
	for _, name := range []string{"a-up", "b-down", "c-up"} {
		m.Plugin("logout", "--profile", name).Succeeds()
	}
	tokens, bootstraps := m.requests()
	r := m.renew().Fails(5, `error: profile "b-down": minting token for `,
		"hint: check the network")
	if n := strings.Count(r.Stderr, "error: "); n != 1 || strings.Contains(r.Stderr, "-up") {
		t.Errorf("it says\n%s", r.Stderr)
	}
	tokensNow, bootstrapsNow := m.requests()
	if tokensNow-tokens != 2 || bootstrapsNow-bootstraps != 1 {
		t.Errorf("of what is up %d tokens and %d bootstrap credentials were renewed",
			tokensNow-tokens, bootstrapsNow-bootstraps)
	}
	m.Plugin("logout", "--profile", "d-down").Succeeds()
	r = m.renew().Fails(5, `error: profile "b-down": `, `error: profile "d-down": `,
		"hint: to see what fixes each of them: sa-exec-credential doctor")
	if n := strings.Count(r.Stderr, "\n"); n != 3 {
		t.Errorf("it says\n%s", r.Stderr)
	}
	said := r
	m.renew("--profile", "a-up").Succeeds().Silent()
	m.renew("--profile", "b-down").OneError(5)
	m.renew("--profile", "none").OneError(3, "no such profile")
	door.LeadTo(lab.Plane.Server)
	m.renew().Succeeds().Silent()
	m.Follow(said, "doctor")
}

// TestRenewSaysThatATokenCouldNotBeReplaced though the one that is there still works.
func TestRenewSaysThatATokenCouldNotBeReplaced(t *testing.T) {
	m, door := newMachine(t, keyring.Kernel), lab.NewDoor(t)
	m.Machine = m.Behind(door)
	m.Prepare()
	m.Age(m.Configuration().TokenKey(), 0.97)
	door.Lead(lab.Reset)
	m.renew().OneError(5)
	m.Plugin("token", "--profile", m.Profile).Succeeds()
}

// TestRenewWhereTheBootstrapCredentialIsGone is an error, or a recovery where setup was told so.
func TestRenewWhereTheBootstrapCredentialIsGone(t *testing.T) {
	m := newMachine(t, keyring.Kernel)
	m.Prepare()
	key := m.Configuration().BootstrapKey()
	entry := m.Entry(key)
	entry.IssuedAt = entry.IssuedAt.Add(-time.Until(entry.ExpiresAt) - time.Hour)
	entry.ExpiresAt = time.Now().Add(-time.Minute)
	m.SetEntry(key, entry) // the kernel takes it away
	r := m.renew().OneError(4, "there is no bootstrap credential")
	m.Follow(r, "setup")
	m.renew().Succeeds().Silent()
	m.Prepare("--recover")
	m.Plugin("logout", "--profile", m.Profile, "--bootstrap").Succeeds()
	m.renew().Succeeds().Silent()
	if _, bootstraps := m.Tokens(m.Configuration()); bootstraps == "" {
		t.Error("there is no bootstrap credential")
	}
}

// TestRenewHasNothingToDoWhereNothingIsKept is about --store none.
func TestRenewHasNothingToDoWhereNothingIsKept(t *testing.T) {
	m := newMachine(t, keyring.Kernel)
	m.Prepare("--store", "none", "--bootstrap", "context=admin@test")
	before := m.Minted(lab.Account)
	m.renew().Succeeds().Silent()
	if n := m.Minted(lab.Account) - before; n != 0 {
		t.Errorf("%d tokens were requested", n)
	}
}

// TestATimerOfSystemd is on a real systemd of the user's, with all that setup does to it.
func TestATimerOfSystemd(t *testing.T) {
	m := newMachine(t, keyring.Kernel)
	m.privateRun()
	if err := os.MkdirAll("/run/systemd/system", 0o755); err != nil { // sd_booted(3)
		t.Fatal(err)
	}
	m.logIn()
	manager := lab.Command{Args: []string{"/lib/systemd/systemd", "--user"}, Dir: "/",
		Env: []string{"HOME=" + m.home, "XDG_RUNTIME_DIR=" + runtimeDir(),
			"PATH=/usr/bin:/bin"}}.Start(t)
	t.Cleanup(func() {
		manager.Signal(syscall.SIGTERM)
		manager.End()
	})
	inSession := func(args ...string) lab.Result {
		c := m.Command(args...)
		c.Env = append(c.Env, "XDG_RUNTIME_DIR="+runtimeDir())
		return c.Run(t)
	}
	systemctl := func(args ...string) lab.Result {
		return inSession(append([]string{"systemctl", "--user"}, args...)...)
	}
	lab.Eventually(t, "systemd answers", func() bool {
		return systemctl("show", "--property=Version").Code == 0
	})
	const unit = "sa-exec-credential-renew"
	// a path with all that a unit could read as something else
	program := m.Path(`it's "50%" of $HOME\n`, "sa-exec-credential")
	m.Write(program, m.Read(lab.Plugin))
	if err := os.Chmod(program, 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 { // a second setup changes nothing
		r := m.Exec(program, "setup", lab.Account, "-n", m.Namespace, "--kubeconfig", m.Admin,
			"--store", "kernel", "--cluster-role", "view", "--timer").Succeeds()
		m.NoteEntries()
		lab.Has(t, "setup", r.Stderr, "setup: timer: systemd renews what is due, every 5 minutes",
			"it does so while you are logged in; to have it run always: loginctl enable-linger")
	}
	for _, extension := range []string{".service", ".timer"} {
		inSession("systemd-analyze", "--user", "verify",
			m.Path(".config/systemd/user", unit+extension)).Succeeds().Silent()
	}
	lab.Has(t, "systemd", systemctl("is-enabled", unit+".timer").Succeeds().Stdout, "enabled")
	lab.Has(t, "systemd", systemctl("list-timers").Succeeds().Stdout, unit+".timer")
	m.Forget()
	before := m.Minted(lab.Account)
	systemctl("start", unit+".service").Succeeds()
	if n := m.Minted(lab.Account) - before; n != 1 {
		t.Errorf("the service has requested %d tokens", n)
	}
	m.Ready(m.Namespace, "second", "--store", "kernel")
	m.Plugin("forget", "--profile", "second").Succeeds()
	lab.Has(t, "systemd", systemctl("is-enabled", unit+".timer").Succeeds().Stdout, "enabled")
	lab.Has(t, "a dry run", m.Plugin("forget", "--profile", m.Profile, "--dry-run").
		Succeeds().Stdout, "remove: the timer")
	r := m.Plugin("revoke", "--profile", m.Profile).Succeeds()
	lab.Has(t, "revoke", r.Stderr, "timer: removed, there is no profile left to renew")
	if systemctl("is-enabled", unit+".timer").Code == 0 ||
		strings.Contains(systemctl("list-timers", "--all").Stdout, unit) {
		t.Error("systemd still has it")
	}
	for _, left := range lab.FilesBelow(t, m.Path(".config")) {
		if strings.Contains(left, unit) {
			t.Errorf("left: %s", left)
		}
	}
}

// TestALineForCron is where no systemd answers. The line is added by the command that setup prints,
// to the crontab of Debian's cron, and run as that one runs it.
func TestALineForCron(t *testing.T) {
	m := newMachine(t, keyring.Kernel)
	const crontabs = "/var/spool/cron/crontabs"
	if _, err := os.Stat(crontabs); err != nil {
		t.Fatalf("this test needs cron: run scripts/deps (%v)", err)
	}
	m.mount(t.TempDir(), crontabs)
	elsewhere := m.Path("else where", "100%")
	m.Write(filepath.Join(elsewhere, "x"), "")
	m.Variables = append(m.Variables, "XDG_CONFIG_HOME="+elsewhere)
	setup := func() string {
		m.Helper()
		return m.Setup(lab.Account, "-n", m.Namespace, "--store", "kernel", "--profile", "it",
			"--timer").Succeeds().Stderr
	}
	_, command, found := strings.Cut(setup(), "to have cron renew what is due: ")
	if !found {
		t.Fatal("there is no line for cron")
	}
	m.Exec("/bin/sh", "-c", strings.TrimSpace(command)).Succeeds()
	lab.Has(t, "setup", setup(), "timer: a line of your crontab renews what is due already")
	line := strings.TrimSpace(m.Exec("crontab", "-l").Succeeds().Stdout)
	fields := strings.SplitN(line, " ", 6)
	if strings.Join(fields[:5], " ") != "*/5 * * * *" {
		t.Fatalf("the line is %q", line)
	}
	m.Plugin("logout", "--profile", "it").Succeeds()
	before := m.Minted(lab.Account)
	m.command(environments[1], "/bin/sh", "-c", strings.ReplaceAll(fields[5], `\%`, "%")).
		Run(t).Succeeds().Silent()
	if n := m.Minted(lab.Account) - before; n != 1 {
		t.Errorf("the line has requested %d tokens", n)
	}
	lab.Has(t, "forget", m.Plugin("forget", "--profile", "it").Succeeds().Stderr,
		"there is no profile left to renew; take the line out of your crontab: crontab -e")
}

// TestAUnitOfSomebodyElsesStays and keeps setup from its timer before anything is created.
func TestAUnitOfSomebodyElsesStays(t *testing.T) {
	m := newMachine(t, keyring.Kernel)
	path := m.Write(m.Path(".config/systemd/user/sa-exec-credential-renew.timer"),
		"[Timer]\nOnCalendar=daily\n")
	m.Setup(lab.Account, "-n", m.Namespace, "--store", "kernel", "--timer").
		OneError(2, "there is a unit file of somebody else's")
	if lab.AsAdmin(t, "", "get", "namespace", m.Namespace).Code == 0 ||
		!strings.Contains(m.Read(path), "daily") {
		t.Error("something was changed")
	}
}
