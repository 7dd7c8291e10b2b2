//go:build linux

package doctor_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// TestFix spoils what is on this machine, and has doctor bring it in order again.
func TestFix(t *testing.T) {
	t.Parallel()
	onMachines(t, map[string]func(*machine){
		"a profile that others can read":              (*machine).fixReadable,
		"a profile that others may write":             (*machine).fixWritable,
		"a context that is gone":                      (*machine).fixNoContext,
		"a program that is gone":                      (*machine).fixCommand,
		"a name that is looked up in PATH":            (*machine).fixBareCommand,
		"a context for another cluster":               (*machine).fixOtherCluster,
		"an exec section that does not work":          (*machine).fixExecSection,
		"a context of another name":                   (*machine).fixOtherName,
		"kubectl's allowlist":                         (*machine).fixPolicy,
		"an allowlist, and a stranger in the context": (*machine).fixNoStranger,
		"a lock that a killed program has left":       (*machine).fixLock,
		"a token that is refused":                     (*machine).fixToken,
		"a timer that does not run":                   (*machine).fixTimer,
		"what needs the cluster":                      (*machine).fixNothing,
		"a question that nobody can answer":           (*machine).fixUnasked,
		"a question and its answers":                  (*machine).fixAsked,
		"killed between two fixes":                    (*machine).fixKilled,
	})
}

// mended expects that a check is not well, and that doctor --fix changes that.
func (m *machine) mended(check string, words ...string) {
	m.Helper()
	items, _ := m.doctor()
	if found := of(items, check); found[0].Result == "ok" || !found[0].Local {
		m.Fatalf("nothing to fix on this machine:\n%s", listed(items))
	}
	lab.Has(
		m.T,
		"doctor",
		m.Plugin("doctor").Stdout,
		"alone: sa-exec-credential doctor --fix\n",
	)
	r := m.Plugin("doctor", "--fix", "--yes").Succeeds()
	lab.Has(m.T, "doctor --fix", r.Stderr, append(words, "; fix: ",
		"sa-exec-credential: doctor: fixed by ")...)
	items = m.healthy()
	if found := of(items, check); found[0].Result != "ok" {
		m.Errorf("still\n%s", listed(items))
	}
	m.Kubectl("--context", profileName, "auth", "whoami").Succeeds()
}

func (m *machine) mode(path string, mode os.FileMode) {
	m.Helper()
	if err := os.Chmod(path, mode); err != nil {
		m.Fatal(err)
	}
}

func (m *machine) fixReadable() {
	path := m.setUp()
	m.mode(path, 0o644)
	m.mended("profile", "chmod 600 "+path)
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		m.Errorf("%v, %v", info, err)
	}
}

// fixWritable needs a person: what others have written would count from then on.
func (m *machine) fixWritable() {
	path := m.setUp()
	m.mode(path, 0o666)
	r := m.Plugin("doctor", "--fix", "--yes")
	lab.Has(
		m.T,
		"doctor --fix --yes",
		r.Stderr,
		"nobody has looked at it, so it stays",
		": chmod go= ",
	)
	if r.Code != 3 {
		m.Errorf("exit code %d", r.Code)
	}
	hint, err := lab.Hint(r.Stderr, "go=")
	if err != nil {
		m.Fatal(err)
	}
	m.Exec("/bin/sh", "-c", hint).Succeeds()
	m.healthy()
	m.mode(path, 0o666)
	terminal := m.InTerminal(130, "doctor", "--fix")
	terminal.See("Do this? [y/N] ")
	terminal.Type("y\n")
	lab.Has(
		m.T,
		"doctor --fix",
		terminal.End().Succeeds().Stdout,
		"fixed by chmod go= ",
		"Nothing ",
	)
	lab.NoteTyped("sa-exec-credential doctor --fix") // as doctor says
	m.healthy()
}

func (m *machine) fixNoContext() {
	m.setUp()
	m.Exec(lab.Plane.Kubectl, "config", "delete-context", profileName).Succeeds()
	m.mended("context", "none of ")
}

func (m *machine) fixCommand() {
	m.setUp()
	m.Replace(m.Kubeconfig(), lab.Client, lab.Client+"-old")
	m.mended("context", lab.Client+"-old")
}

func (m *machine) fixBareCommand() {
	m.setUp()
	m.Replace(m.Kubeconfig(), lab.Client, "sa-exec-credential")
	m.mended("context", "desktop programs")
}

func (m *machine) fixOtherCluster() {
	m.setUp()
	m.Replace(m.Kubeconfig(), lab.Plane.Server, "https://example.com")
	m.mended("context")
}

func (m *machine) fixExecSection() {
	m.setUp()
	good := m.Read(m.Kubeconfig())
	for _, change := range [][2]string{
		{"provideClusterInfo: true", "provideClusterInfo: false"},
		{`"client.authentication.k8s.io/v1"`, `"client.authentication.k8s.io/v7"`},
		{"interactiveMode: Never", ""},
		{"[get, --profile,", "[status, --profile,"},
		{"interactiveMode: Never", "interactiveMode: Always"},
		{"interactiveMode: Never", "interactiveMode: Never\n      env: [{name: LANG, value: C}]"},
	} {
		m.Write(m.Kubeconfig(), good)
		m.Replace(m.Kubeconfig(), change[0], change[1])
		m.mended("context")
	}
}

// fixOtherName has a context that somebody has renamed: it keeps its name, and all else of it.
func (m *machine) fixOtherName() {
	m.setUp()
	m.Exec(lab.Plane.Kubectl, "config", "rename-context", profileName, "mine").Succeeds()
	m.Replace(m.Kubeconfig(), lab.Client, "sa-exec-credential")
	m.Plugin("doctor", "--fix", "-y").Succeeds()
	items := m.healthy()
	if found := of(items, "context"); found[0].Result != "ok" ||
		!strings.HasPrefix(found[0].Detail, "mine runs "+lab.Client) {
		m.Errorf("%s", listed(items))
	}
	m.Kubectl("--context", "mine", "auth", "whoami").Succeeds()
}

const preferences = "apiVersion: kubectl.config.k8s.io/v1beta1\nkind: Preference\n" +
	"credentialPluginPolicy: Allowlist\ncredentialPluginAllowlist:\n- command: /usr/bin/other\n"

func (m *machine) fixPolicy() {
	m.setUp()
	m.Write(m.Path(".kube", "kuberc"), preferences)
	m.mended("policy", fmt.Sprintf("add %q to the allowlist", lab.Client))
	lab.Has(m.T, "kuberc", m.Read(m.Path(".kube", "kuberc")), "/usr/bin/other", lab.Client)
}

// commands are what kubeconfigs name.
var commands = regexp.MustCompile(`command: \S+`)

// fixNoStranger has a kubeconfig name a program that is not this one, or a link to this one that can
// lead elsewhere tomorrow: neither comes onto a list.
func (m *machine) fixNoStranger() {
	m.setUp()
	good := m.Read(m.Kubeconfig())
	program, link := m.Path(
		"program",
		"sa-exec-credential",
	), m.Path(
		"link",
		"sa-exec-credential",
	)
	lab.WriteFile(m.T, program, "#!/bin/sh\n", 0o700)
	if err := errors.Join(os.Mkdir(filepath.Dir(link), 0o700), os.Symlink(lab.Plugin, link)); err != nil {
		m.Fatal(err)
	}
	for _, stranger := range []string{program, link} {
		m.Write(m.Kubeconfig(), commands.ReplaceAllString(good, "command: "+stranger))
		kuberc := m.Write(m.Path(".kube", "kuberc"), preferences)
		m.Plugin("doctor", "--fix", "-y")
		if strings.Contains(m.Read(kuberc), stranger) {
			m.Errorf("kubectl may run it now:\n%s", m.Read(kuberc))
		}
	}
}

func (m *machine) fixLock() {
	m.setUp()
	lock := m.Write(m.Kubeconfig()+".lock", "")
	m.diagnosed("kubeconfig", "ok", 0) // it may be held now
	before := time.Now().Add(-time.Hour)
	if err := os.Chtimes(lock, before, before); err != nil {
		m.Fatal(err)
	}
	m.Exec(lab.Plane.Kubectl, "config", "set-context", profileName, "--namespace=x").Fails(1)
	m.fixed(m.diagnosed("kubeconfig", "warning", 0), "kubeconfig")
	m.Write(lock, "")
	if err := os.Chtimes(lock, before, before); err != nil {
		m.Fatal(err)
	}
	m.mended("kubeconfig", "rm "+lock)
	m.Exec(lab.Plane.Kubectl, "config", "set-context", profileName, "--namespace=x").Succeeds()
}

func (m *machine) fixToken() {
	m.setUp()
	m.Kubectl("--context", profileName, "auth", "whoami").Succeeds()
	m.AsAdmin("delete", "serviceaccount", "ci", "-n", m.Namespace)
	m.AsAdmin("create", "serviceaccount", "ci", "-n", m.Namespace)
	lab.Eventually(m.T, "the stored token is refused", func() bool {
		items, code := m.doctor()
		found := of(items, "token")
		return code == 0 && len(found) > 0 && found[0].Result == "warning"
	})
	logout := "sa-exec-credential logout --profile " + profileName
	m.mended("token", logout)
	m.Exec("/bin/sh", "-c", logout).Succeeds() // as doctor says without --fix
}

// systemctl does what doctor and setup have a user's systemd do, and notes in a file that the timer runs.
const systemctl = `#!/bin/sh
runs=$(dirname "$0")/runs
case "$2" in
show) echo Version=252 ;;
enable) : >"$runs" ;;
is-*) [ -e "$runs" ] ;;
esac
`

func (m *machine) fixTimer() {
	dir := m.Path("systemd")
	lab.WriteFile(m.T, filepath.Join(dir, "systemctl"), systemctl, 0o700)
	m.Variables = append(m.Variables, "PATH="+dir+":"+filepath.Dir(lab.Plugin)+":/usr/bin:/bin")
	m.setUp()
	if found := of(m.healthy(), "timer"); len(found) > 0 {
		m.Errorf("nobody wants a timer: %+v", found)
	}
	m.setUp("--timer")
	runs := filepath.Join(dir, "runs")
	if err := os.Remove(runs); err != nil {
		m.Fatal(err)
	}
	m.fixed(m.diagnosed("timer", "warning", 0), "timer")
	if err := os.Remove(runs); err != nil {
		m.Fatal(err)
	}
	m.mended("timer", "systemctl --user enable --now sa-exec-credential-renew.timer")
	service := m.Path(".config", "systemd", "user", "sa-exec-credential-renew.service")
	m.Replace(service, lab.Plugin, lab.Plugin+"-old")
	m.mended("timer", lab.Plugin+"-old", "installing the timer again")
	lab.Has(m.T, "the unit", m.Read(service), `"`+lab.Plugin+`" renew`)
}

// fixNothing leaves what needs the cluster to whoever may change that.
func (m *machine) fixNothing() {
	m.setUp()
	m.Plugin("logout", "--profile", profileName, "--bootstrap").Succeeds()
	r := m.Plugin("doctor", "--fix", "--yes")
	lab.Has(m.T, "doctor --fix", r.Stderr, "nothing of it can be fixed on this machine alone")
	lab.Has(m.T, "doctor --fix", r.Stdout, "fix: sa-exec-credential setup ci")
	if r.Code != 4 || strings.Contains(r.Stdout, "doctor --fix") {
		m.Errorf("exit code %d\n%s", r.Code, r.Stdout)
	}
}

func (m *machine) fixUnasked() {
	path := m.setUp()
	m.mode(path, 0o644)
	m.Plugin("doctor", "--fix").
		OneError(2, "--fix asks first, and there is no terminal", "--yes")
	r := m.Plugin("doctor", "--yes")
	r.OneError(2, "--yes goes with --fix")
	m.Follow(r, "doctor", "--help")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o644 {
		m.Errorf("%v, %v", info, err)
	}
	report := m.Plugin("doctor", "--fix", "--yes", "-o", "json").Succeeds().Stdout
	if strings.Contains(report, `"local"`) || strings.Contains(report, `"warning"`) {
		m.Errorf("what remains is\n%s", report)
	}
}

func (m *machine) fixAsked() {
	path := m.setUp()
	m.mode(path, 0o644)
	m.Replace(m.Kubeconfig(), lab.Client, "sa-exec-credential")
	for _, answer := range []string{"n\n", "\n", "perhaps\n", "\x04"} { // the last one ends the input
		terminal := m.InTerminal(130, "doctor", "--fix")
		terminal.See("Do these 2? [y/N] ")
		terminal.Type(answer)
		lab.Has(m.T, "doctor --fix", terminal.End().Succeeds().Stdout, "2 warnings")
	}
	terminal := m.InTerminal(130, "doctor", "--fix")
	terminal.See("Do these 2? [y/N] ")
	terminal.Type("\x03")
	if r := terminal.End(); r.Code != 1 || strings.Contains(r.Stdout, "fixed") {
		m.Errorf("interrupted: exit code %d\n%s", r.Code, r.Stdout)
	}
	hint, err := lab.Hint(m.Plugin("doctor").Stdout, "--fix")
	if err != nil {
		m.Fatal(err)
	}
	terminal = m.Command("/bin/sh", "-c", hint).InTerminal(m.T, 80)
	terminal.See("Do these 2? [y/N] ")
	terminal.Type("yes\n")
	lab.Has(m.T, "doctor --fix", terminal.End().Succeeds().Stdout, "fixed by chmod", "Nothing ")
}

// fixKilled ends doctor while it is at work. What was done is done, and the rest is found again.
func (m *machine) fixKilled() {
	path := m.setUp()
	for _, heard := range []string{"; fix: ", ": fixed by chmod", ": fixed by add"} {
		m.mode(path, 0o644)
		m.Replace(m.Kubeconfig(), lab.Client, "sa-exec-credential")
		m.Write(m.Path(".kube", "kuberc"), preferences)
		c := m.Command(lab.Plugin, "doctor", "--fix", "--yes")
		c.Heard = func(s *lab.Started) {
			if strings.Contains(s.Stderr.String(), heard) {
				s.Signal(syscall.SIGKILL)
			}
		}
		c.Run(m.T)
		m.Plugin("doctor", "--fix", "--yes")
		m.Plugin("doctor", "--fix", "--yes").Succeeds()
		if found := of(m.healthy(), "policy"); found[0].Result != "ok" {
			m.Errorf("%+v", found)
		}
		m.Kubectl("--context", profileName, "auth", "whoami").Succeeds()
		if err := os.Remove(m.Path(".kube", "kuberc")); err != nil {
			m.Fatal(err)
		}
	}
}
