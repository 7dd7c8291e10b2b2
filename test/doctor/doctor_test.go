//go:build linux

// Package doctor_test spoils, one thing at a time, what setup has made, and looks at what doctor
// says and at whether its cure works.
package doctor_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring/secretservicetest"
	"github.com/sa-exec-credential/sa-exec-credential/test/faultproxy"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

func TestMain(m *testing.M) { lab.Main(m, lab.Options{}) }

func TestDoctor(t *testing.T) {
	t.Parallel()
	onMachines(t, map[string]func(*machine){
		"after setup nothing is wrong":                 (*machine).checkFresh,
		"without a profile there is little to check":   (*machine).checkNoProfile,
		"a profile that does not exist":                (*machine).checkNoSuchProfile,
		"a profile that others may write":              (*machine).checkWritableProfile,
		"a profile that others can read":               (*machine).checkReadableProfile,
		"a profile that is not understood":             (*machine).checkMalformedProfile,
		"a bootstrap credential that is gone":          (*machine).checkBootstrapGone,
		"a device that is gone":                        (*machine).checkDeviceGone,
		"an account that is gone":                      (*machine).checkAccountGone,
		"a device without its role":                    (*machine).checkRoleGone,
		"limits that allow more":                       (*machine).checkWideLimits,
		"a server that grants less than was asked for": (*machine).checkShortened,
		"a server that is down":                        (*machine).checkServerDown,
		"a server whose certificate is not trusted":    (*machine).checkOtherAuthority,
		"a clock that is wrong":                        (*machine).checkClock,
		"a store that is down":                         (*machine).checkStoreDown,
		"a policy that denies the plugin":              (*machine).checkPolicy,
		"a command that is missing":                    (*machine).checkCommandMissing,
		"a command that needs the shell's path":        (*machine).checkBareCommand,
		"a command that is another program":            (*machine).checkOtherProgram,
		"a context for another cluster":                (*machine).checkOtherCluster,
		"an exec section that does not work":           (*machine).checkExecSection,
		"a context without a profile":                  (*machine).checkStray,
		"a kubeconfig that cannot be read":             (*machine).checkBadKubeconfig,
		"a source that is another context":             (*machine).checkContextSource,
		"a context to recover with":                    (*machine).checkRecovery,
		"two hundred profiles":                         (*machine).checkMany,
	})
}

// onMachines runs each test on a machine of its own, with an administrator's kubeconfig of its own.
func onMachines(t *testing.T, tests map[string]func(*machine)) {
	t.Helper()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := &machine{lab.NewMachine(t, keyring.Keyring)}
			m.Profile = profileName
			m.Admin = m.Write(m.Path("admin.kubeconfig"), m.Read(m.Admin))
			test(m)
		})
	}
}

// machine is a lab's machine that doctor looks at.
type machine struct{ *lab.Machine }

type finding struct {
	Profile, Check, Result, Detail, Fix string
	Local                               bool
}

// doctor returns the findings, and the exit code.
func (m *machine) doctor(args ...string) ([]finding, int) {
	m.Helper()
	out := m.Plugin(append([]string{"doctor", "-o", "json"}, args...)...)
	var report struct {
		APIVersion, Kind string
		Items            []finding
	}
	if err := json.Unmarshal([]byte(out.Stdout), &report); err != nil {
		m.Fatalf("doctor: %v\n%s%s", err, out.Stdout, out.Stderr)
	}
	if report.APIVersion != "sa-exec-credential/v1" || report.Kind != "Report" ||
		out.Stderr != "" {
		m.Errorf("doctor: a %s of %s\n%s", report.Kind, report.APIVersion, out.Stderr)
	}
	for _, item := range report.Items {
		if item.Result != "ok" && item.Fix == "" {
			m.Errorf("nothing fixes %+v", item)
		}
	}
	return report.Items, out.Code
}

// of returns the findings of one check, worst first.
func of(items []finding, check string) []finding {
	found := slices.DeleteFunc(slices.Clone(items),
		func(item finding) bool { return item.Check != check })
	rank := map[string]int{"failed": 0, "warning": 1, "ok": 2}
	slices.SortStableFunc(found, func(a, b finding) int { return rank[a.Result] - rank[b.Result] })
	return found
}

// diagnosed expects that a check has this result, and everything else is well. It returns the
// finding.
func (m *machine) diagnosed(check, result string, code int, args ...string) finding {
	m.Helper()
	items, got := m.doctor(args...)
	found := of(items, check)
	if len(found) == 0 || found[0].Result != result || got != code {
		m.Fatalf("exit code %d, want %d and %s to be %s\n%s", got, code, check, result,
			listed(items))
	}
	for _, item := range items {
		if item.Result == "failed" && item.Check != check {
			m.Errorf("%s failed as well: %s", item.Check, item.Detail)
		}
	}
	return found[0]
}

// healthy expects that nothing failed, and returns all there is.
func (m *machine) healthy(args ...string) []finding {
	m.Helper()
	items, code := m.doctor(args...)
	if code != 0 {
		m.Fatalf("exit code %d\n%s", code, listed(items))
	}
	return items
}

func listed(items []finding) string {
	lines := make([]string, len(items))
	for i, item := range items {
		lines[i] = fmt.Sprintf("%s %s %s: %s", item.Result, item.Profile, item.Check,
			item.Detail)
	}
	return strings.Join(lines, "\n")
}

const profileName = "ci"

// setUp makes a profile, and returns the path of its file.
func (m *machine) setUp(flags ...string) string {
	m.Helper()
	m.Setup(append([]string{"ci", "-n", m.Namespace, "--profile", profileName, "--store",
		"keyring"}, flags...)...).Succeeds()
	return m.Path(".config", "sa-exec-credential", "profiles", profileName+".yaml")
}

func (m *machine) checkFresh() {
	m.setUp()
	items := m.healthy()
	for _, check := range []string{"locks", "bus", "store", "kubeconfig", "profile", "server",
		"clock", "bootstrap", "mint", "limits", "token", "context"} {
		found := of(items, check)
		// on a busy machine
		slow := check == "store" && len(found) == 1 && found[0].Result == "warning"
		if len(found) != 1 || found[0].Result != "ok" && !slow {
			m.Errorf("check %q: %+v", check, found)
		}
	}
	for check, detail := range map[string]string{
		"bootstrap": "system:serviceaccount:" + m.Namespace + ":" +
			m.Configuration().Device.Name, "token": "system:serviceaccount:" +
			m.Namespace + ":ci",
		"mint": "1h", "limits": "limited: ", "bus": m.Service.Address(), "server": m.Server,
	} {
		if text := of(items, check)[0].Detail; !strings.Contains(text, detail) {
			m.Errorf("check %q says %q, without %q", check, text, detail)
		}
	}
	table := m.Plugin("doctor").Succeeds().Stdout
	if !strings.Contains(table, "Nothing ") || !strings.Contains(table, "(1 profile).") ||
		strings.Contains(table, "\x1b") {
		m.Errorf("table:\n%s", table)
	}
	m.keepsNothing()
}

// keepsNothing expects that doctor leaves nothing but the profile's own two entries in the store,
// which all tests share.
func (m *machine) keepsNothing() {
	m.Helper()
	before := m.Plugin("status", "-o", "json").Succeeds().Stdout
	m.healthy()
	if after := m.Plugin("status", "-o", "json").Succeeds().Stdout; after != before {
		m.Errorf("status before:\n%safter:\n%s", before, after)
	}
}

func (m *machine) checkNoProfile() {
	items := m.healthy()
	if len(of(items, "store")) != 1 || len(of(items, "profile")) != 0 {
		m.Errorf("findings:\n%s", listed(items))
	}
}

func (m *machine) checkNoSuchProfile() {
	m.diagnosed("profile", "failed", 3, "--profile", "nobody")
	m.Plugin("doctor", "--profile", "../x").Fails(2)
}

func (m *machine) checkWritableProfile() {
	path := m.setUp()
	if err := os.Chmod(path, 0o666); err != nil {
		m.Fatal(err)
	}
	m.fixed(m.diagnosed("profile", "failed", 3), "profile")
}

// fixed does what doctor said, and expects that it helps. Others may take a moment to notice.
func (m *machine) fixed(sick finding, check string) {
	m.Helper()
	m.Exec("/bin/sh", "-c", sick.Fix).Succeeds()
	lab.Eventually(m.T, check+" is fixed", func() bool {
		items, code := m.doctor()
		found := of(items, check)
		return code == 0 && len(found) > 0 && found[0].Result == "ok"
	})
}

// typed types the command of a finding, which may stand after words.
func (m *machine) typed(sick finding) {
	m.Helper()
	command, err := lab.Hint("fix: " + sick.Fix)
	if err != nil {
		m.Fatal(err)
	}
	m.Exec("/bin/sh", "-c", command).Succeeds()
	m.NoteEntries()
}

func (m *machine) checkReadableProfile() {
	path := m.setUp()
	if err := os.Chmod(path, 0o644); err != nil {
		m.Fatal(err)
	}
	sick := m.diagnosed("profile", "warning", 0)
	m.Exec("/bin/sh", "-c", sick.Fix).Succeeds()
	m.diagnosed("profile", "ok", 0)
}

func (m *machine) checkMalformedProfile() {
	path := m.setUp()
	m.Write(path, "version: 1\nsurprise: true\n")
	m.typed(m.diagnosed("profile", "failed", 3))
}

func (m *machine) checkBootstrapGone() {
	m.setUp("--duration", "30m", "--bootstrap-duration", "48h", "--recover")
	m.Plugin("logout", "--profile", profileName, "--bootstrap").Succeeds()
	sick := m.diagnosed("bootstrap", "failed", 4)
	path := m.Path(".config", "sa-exec-credential", "profiles", profileName+".yaml")
	before := m.Read(path)
	m.fixed(sick, "bootstrap")
	if after := m.Read(path); after != before {
		m.Errorf("fixing with %s changed the profile from\n%s\nto\n%s", sick.Fix, before,
			after)
	}
}

func (m *machine) checkDeviceGone() {
	m.setUp()
	m.AsAdmin("delete", "secret", "-n", m.Namespace, "-l",
		"sa-exec-credential/account=ci,app.kubernetes.io/component=device")
	lab.Eventually(m.T, "the bootstrap credential is refused", func() bool {
		items, code := m.doctor()
		found := of(items, "bootstrap")
		return code == 4 && len(found) > 0 && found[0].Result == "failed"
	})
	m.fixed(m.diagnosed("bootstrap", "failed", 4), "token")
}

func (m *machine) checkAccountGone() {
	m.setUp()
	m.AsAdmin("delete", "serviceaccount", "ci", "-n", m.Namespace)
	m.fixed(m.diagnosed("mint", "failed", 5), "token")
}

func (m *machine) checkRoleGone() {
	m.setUp()
	m.AsAdmin("delete", "rolebinding", m.Configuration().Device.Name, "-n", m.Namespace)
	lab.Eventually(m.T, "RBAC has heard of it", func() bool {
		_,
			code := m.doctor()
		return code != 0
	})
	m.fixed(m.diagnosed("mint", "failed", 7), "mint")
}

// checkWideLimits has limits that an earlier setup needed. That there are none at all is for a
// control plane that nobody shares.
func (m *machine) checkWideLimits() {
	m.setUp("--duration", "2h")
	m.setUp("--duration", "1h")
	found := m.diagnosed("limits", "ok", 0)
	lab.Has(m.T, "doctor", found.Detail, "limited, though to more than the 1h of this profile")
}

func (m *machine) checkShortened() {
	m.setUp("--duration", "900h")
	m.fixed(m.diagnosed("mint", "warning", 0), "mint")
}

func (m *machine) checkServerDown() {
	server := lab.Proxy(m.T, faultproxy.Options{})
	m.Replace(m.Admin, m.Server, server.URL)
	m.setUp()
	server.Stop()
	sick := m.diagnosed("server", "failed", 5)
	if !strings.Contains(sick.Detail, server.URL) || !strings.Contains(sick.Fix, server.URL) {
		m.Errorf("finding: %+v", sick)
	}
}

func (m *machine) checkOtherAuthority() {
	path := m.setUp()
	withoutAuthority := regexp.MustCompile(`(?m)^ *certificateAuthorityData:.*\n`).ReplaceAllString(m.Read(path), "")
	m.Write(path, withoutAuthority) // the system's roots count now
	items, code := m.doctor()
	server := of(items, "server")[0]
	if server.Result != "failed" || code != 5 || !strings.Contains(server.Detail, "not trusted") {
		m.Errorf("exit code %d\n%s", code, listed(items))
	}
	m.typed(server)
	m.diagnosed("server", "ok", 0)
}

func (m *machine) checkClock() {
	m.Replace(m.Admin, m.Server, lab.Proxy(m.T, faultproxy.Options{Ahead: time.Hour}).URL)
	m.setUp()
	sick := m.diagnosed("clock", "warning", 0)
	if !strings.Contains(sick.Detail, "behind") {
		m.Errorf("finding: %+v", sick)
	}
	if mint := of(m.healthy(), "mint")[0]; mint.Result != "ok" {
		m.Errorf("mint: %+v", mint)
	}
}

func (m *machine) checkStoreDown() {
	m.setUp()
	m.Variables = []string{"DBUS_SESSION_BUS_ADDRESS=" +
		secretservicetest.NewBus(m.T).Address()}
	m.diagnosed("store", "failed", 6)
	m.Variables = []string{"DBUS_SESSION_BUS_ADDRESS=tcp:host=127.0.0.1,port=1"}
	items, code := m.doctor()
	if of(items, "bus")[0].Result != "failed" || code != 6 {
		m.Errorf("exit code %d\n%s", code, listed(items))
	}
}

func (m *machine) checkPolicy() {
	m.setUp()
	kuberc := m.Path(".kube", "kuberc")
	command := lab.Client
	const format = "apiVersion: kubectl.config.k8s.io/v1beta1\nkind: " +
		"Preference\ncredentialPluginPolicy: %s\n%s"
	for _, field := range []string{"command", "name"} {
		m.Write(kuberc, fmt.Sprintf(format, "Allowlist",
			"credentialPluginAllowlist:\n- "+field+": /usr/bin/other\n"))
		sick := m.diagnosed("policy", "failed", 3)
		m.fixed(sick, "policy")
		m.Write(kuberc, fmt.Sprintf(format, "Allowlist",
			"credentialPluginAllowlist:\n- "+field+": "+command+"\n"))
		m.diagnosed("policy", "ok", 0)
	}
	m.Write(kuberc, fmt.Sprintf(format, "DenyAll", ""))
	m.fixed(m.diagnosed("policy", "failed", 3), "policy")
	m.Write(kuberc, fmt.Sprintf(format, "Nonsense", ""))
	m.diagnosed("policy", "failed", 2)
}

func (m *machine) checkCommandMissing() {
	m.setUp()
	command := lab.Client
	m.Replace(m.Kubeconfig(), command, command+"-old")
	m.fixed(m.diagnosed("context", "failed", 3), "context")
}

func (m *machine) checkBareCommand() {
	m.setUp()
	m.Replace(m.Kubeconfig(), lab.Client, "sa-exec-credential")
	sick := m.diagnosed("context", "warning", 0)
	m.fixed(sick, "context")
}

func (m *machine) checkOtherProgram() {
	m.setUp()
	other := m.Path("sa-exec-credential")
	m.Write(other, m.Read(lab.Plugin))
	if err := os.Chmod(other, 0o700); err != nil {
		m.Fatal(err)
	}
	m.Replace(m.Kubeconfig(), lab.Client, other)
	m.fixed(m.diagnosed("context", "warning", 0), "context")
}

func (m *machine) checkOtherCluster() {
	m.setUp()
	m.Replace(m.Kubeconfig(), lab.Plane.Server, "https://example.com")
	m.fixed(m.diagnosed("context", "failed", 3), "context")
}

func (m *machine) checkExecSection() {
	m.setUp()
	good := m.Read(m.Kubeconfig())
	for _, test := range []struct{ old, changed, result string }{
		{"provideClusterInfo: true", "provideClusterInfo: false", "failed"},
		{`"client.authentication.k8s.io/v1"`, `"client.authentication.k8s.io/v7"`,
			"failed"},
		{"interactiveMode: Never", "", "failed"},
		{"[get, --profile,", "[status, --profile,", "failed"},
		{"interactiveMode: Never", "interactiveMode: Always", "warning"},
		{"interactiveMode: Never", "interactiveMode: Never\n      env: [{name: LANG, " +
			"value: C}]", "warning"},
	} {
		m.Write(m.Kubeconfig(), good)
		m.Replace(m.Kubeconfig(), test.old, test.changed)
		code := map[string]int{"failed": 3, "warning": 0}[test.result]
		m.fixed(m.diagnosed("context", test.result, code), "context")
	}
}

func (m *machine) checkStray() {
	path := m.setUp()
	if err := os.Remove(path); err != nil {
		m.Fatal(err)
	}
	m.typed(m.diagnosed("context", "failed", 3))
	m.healthy()
}

func (m *machine) checkBadKubeconfig() {
	m.setUp()
	m.Write(m.Kubeconfig(), "clusters: {a")
	m.diagnosed("kubeconfig", "failed", 2)
}

// checkContextSource has two, because such a profile takes the environment of the process.
func (m *machine) checkContextSource() {
	m.AsAdmin("create", "namespace", m.Namespace)
	for _, name := range []string{"one", "two"} {
		m.Setup(name, "-n", m.Namespace, "--profile", name, "--store", "keyring",
			"--bootstrap", "context=admin@test").Succeeds()
	}
	items := m.healthy()
	if tokens := of(items, "token"); len(tokens) != 2 || tokens[0].Result != "ok" ||
		tokens[1].Result != "ok" {
		m.Errorf("findings:\n%s", listed(items))
	}
	if text := of(items, "bootstrap")[0].Detail; !strings.Contains(text, "context=admin@test") {
		m.Errorf("bootstrap: %s", text)
	}
}

// checkRecovery takes the context away that setup was told to recover with.
func (m *machine) checkRecovery() {
	m.setUp("--recover")
	if text := of(m.healthy(), "recovery")[0].Detail; !strings.Contains(text,
		`with context "admin@test" of `+m.Admin) {
		m.Errorf("recovery: %s", text)
	}
	kubeconfig := m.Read(m.Admin)
	m.Write(m.Admin, "apiVersion: v1\nkind: Config\n")
	sick := m.diagnosed("recovery", "warning", 0)
	m.Write(m.Admin, kubeconfig)
	m.typed(sick)
	if found := of(m.healthy(), "recovery"); found[0].Result != "ok" {
		m.Errorf("with the context back: %s", found[0].Detail)
	}
}

const many = 200

func (m *machine) checkMany() {
	path := m.setUp()
	profile := m.Read(path)
	for i := range many {
		m.Write(filepath.Join(filepath.Dir(path), fmt.Sprintf("copy-%03d.yaml", i)),
			profile)
	}
	items := m.healthy()
	if tokens := of(items, "token"); len(tokens) != many+1 || tokens[0].Result != "ok" {
		m.Errorf("%d profiles with a token", len(tokens))
	}
	table := m.Plugin("doctor").Succeeds().Stdout
	if !strings.Contains(table, fmt.Sprintf("(%d profiles).", many+1)) || strings.Count(table,
		"\nProfile ") != many+1 {
		m.Errorf("table:\n%s", table)
	}
}
