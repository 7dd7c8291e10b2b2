//go:build linux

package lifecycle_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring/secretservicetest"
)

func doctorTests() map[string]func(*person) {
	return map[string]func(*person){
		"after setup nothing is wrong":                 (*person).checkFresh,
		"without a profile there is little to check":   (*person).checkNoProfile,
		"a profile that does not exist":                (*person).checkNoSuchProfile,
		"a profile that others may write":              (*person).checkWritableProfile,
		"a profile that others can read":               (*person).checkReadableProfile,
		"a profile that is not understood":             (*person).checkMalformedProfile,
		"a bootstrap credential that is gone":          (*person).checkBootstrapGone,
		"a device Secret that is gone":                 (*person).checkDeviceGone,
		"an account that is gone":                      (*person).checkAccountGone,
		"a minter without its role":                    (*person).checkRoleGone,
		"a cap that is gone":                           (*person).checkCapGone,
		"a server that grants less than was asked for": (*person).checkShortened,
		"a server that is down":                        (*person).checkServerDown,
		"a server whose certificate is not trusted":    (*person).checkOtherAuthority,
		"a clock that is wrong":                        (*person).checkClock,
		"a store that is down":                         (*person).checkStoreDown,
		"a policy that denies the plugin":              (*person).checkPolicy,
		"a command that is missing":                    (*person).checkCommandMissing,
		"a command that needs the shell's path":        (*person).checkBareCommand,
		"a command that is another program":            (*person).checkOtherProgram,
		"a context for another cluster":                (*person).checkOtherCluster,
		"an exec section that does not work":           (*person).checkExecSection,
		"a context without a profile":                  (*person).checkStray,
		"a kubeconfig that cannot be read":             (*person).checkBadKubeconfig,
		"a source that is another context":             (*person).checkContextSource,
		"a context to recover with":                    (*person).checkRecovery,
		"two hundred profiles":                         (*person).checkMany,
	}
}

type finding struct{ Profile, Check, Result, Detail, Mend string }

// doctor returns the findings, and the exit code.
func (p *person) doctor(args ...string) ([]finding, int) {
	p.Helper()
	out := p.plugin(append([]string{"doctor", "-o", "json"}, args...)...)
	var report struct {
		APIVersion, Kind string
		Items            []finding
	}
	if err := json.Unmarshal([]byte(out.stdout), &report); err != nil {
		p.Fatalf("doctor: %v\n%s%s", err, out.stdout, out.stderr)
	}
	if report.APIVersion != "sa-exec-credential/v1" || report.Kind != "Report" || out.stderr != "" {
		p.Errorf("doctor: a %s of %s\n%s", report.Kind, report.APIVersion, out.stderr)
	}
	for _, item := range report.Items {
		if item.Result != "ok" && item.Mend == "" {
			p.Errorf("nothing mends %+v", item)
		}
	}
	return report.Items, out.code
}

// of returns the findings of one check, worst first.
func of(items []finding, check string) []finding {
	found := slices.DeleteFunc(slices.Clone(items), func(item finding) bool { return item.Check != check })
	rank := map[string]int{"failed": 0, "warning": 1, "ok": 2}
	slices.SortStableFunc(found, func(a, b finding) int { return rank[a.Result] - rank[b.Result] })
	return found
}

// diagnosed expects that a check has this result, and everything else is well. It returns the finding.
func (p *person) diagnosed(check, result string, code int, args ...string) finding {
	p.Helper()
	items, got := p.doctor(args...)
	found := of(items, check)
	if len(found) == 0 || found[0].Result != result || got != code {
		p.Fatalf("exit code %d, want %d and %s to be %s\n%s", got, code, check, result, listed(items))
	}
	for _, item := range items {
		if item.Result == "failed" && item.Check != check {
			p.Errorf("%s failed as well: %s", item.Check, item.Detail)
		}
	}
	return found[0]
}

// healthy expects that nothing failed, and returns all there is.
func (p *person) healthy(args ...string) []finding {
	p.Helper()
	items, code := p.doctor(args...)
	if code != 0 {
		p.Fatalf("exit code %d\n%s", code, listed(items))
	}
	return items
}

func listed(items []finding) string {
	lines := make([]string, len(items))
	for i, item := range items {
		lines[i] = fmt.Sprintf("%s %s %s: %s", item.Result, item.Profile, item.Check, item.Detail)
	}
	return strings.Join(lines, "\n")
}

const profileName = "ci"

// setUp makes a profile, and returns the path of its file.
func (p *person) setUp(flags ...string) string {
	p.Helper()
	p.must(append([]string{"setup", "ci", "-n", p.namespace, "--profile", profileName, "--store", "keyring", "--kubeconfig", p.admin}, flags...)...)
	return filepath.Join(p.home, ".config", "sa-exec-credential", "profiles", profileName+".yaml")
}

func (p *person) checkFresh() {
	p.setUp()
	items := p.healthy()
	for _, check := range []string{"locks", "bus", "store", "kubeconfig", "profile", "server", "clock", "bootstrap", "mint", "cap", "token", "context"} {
		found := of(items, check)
		slow := check == "store" && len(found) == 1 && found[0].Result == "warning" // on a busy machine
		if len(found) != 1 || found[0].Result != "ok" && !slow {
			p.Errorf("check %q: %+v", check, found)
		}
	}
	for check, detail := range map[string]string{
		"bootstrap": "system:serviceaccount:" + p.namespace + ":ci-bootstrap", "token": "system:serviceaccount:" + p.namespace + ":ci",
		"mint": "1h", "cap": "limited", "bus": p.bus, "server": p.Server,
	} {
		if text := of(items, check)[0].Detail; !strings.Contains(text, detail) {
			p.Errorf("check %q says %q, without %q", check, text, detail)
		}
	}
	table := p.must("doctor").stdout
	if !strings.Contains(table, "Nothing ") || !strings.Contains(table, "(1 profile).") || strings.Contains(table, "\x1b") {
		p.Errorf("table:\n%s", table)
	}
	p.keepsNothing()
}

// keepsNothing expects that doctor leaves nothing but the profile's own two entries in the store, which all tests share.
func (p *person) keepsNothing() {
	p.Helper()
	before := p.must("status", "-o", "json").stdout
	p.healthy()
	if after := p.must("status", "-o", "json").stdout; after != before {
		p.Errorf("status before:\n%safter:\n%s", before, after)
	}
}

func (p *person) checkNoProfile() {
	items := p.healthy()
	if len(of(items, "store")) != 1 || len(of(items, "profile")) != 0 {
		p.Errorf("findings:\n%s", listed(items))
	}
}

func (p *person) checkNoSuchProfile() {
	p.diagnosed("profile", "failed", 3, "--profile", "nobody")
	if out := p.plugin("doctor", "--profile", "../x"); out.code != 2 || out.stdout != "" {
		p.Errorf("a name that is none: %+v", out)
	}
}

func (p *person) checkWritableProfile() {
	path := p.setUp()
	if err := os.Chmod(path, 0o666); err != nil {
		p.Fatal(err)
	}
	p.mended(p.diagnosed("profile", "failed", 3), "profile")
}

// mended does what doctor said, and expects that it helps. Others may take a moment to notice.
func (p *person) mended(sick finding, check string) {
	p.Helper()
	p.shell(sick.Mend)
	p.eventually(check+" is mended", func() bool {
		items, code := p.doctor()
		found := of(items, check)
		return code == 0 && len(found) > 0 && found[0].Result == "ok"
	})
}

func (p *person) checkReadableProfile() {
	path := p.setUp()
	if err := os.Chmod(path, 0o644); err != nil {
		p.Fatal(err)
	}
	sick := p.diagnosed("profile", "warning", 0)
	p.shell(sick.Mend)
	p.diagnosed("profile", "ok", 0)
}

func (p *person) checkMalformedProfile() {
	path := p.setUp()
	p.write(path, []byte("version: 1\nsurprise: true\n"))
	p.diagnosed("profile", "failed", 3)
}

func (p *person) checkBootstrapGone() {
	p.setUp("--duration", "30m", "--bootstrap-duration", "48h", "--recover")
	p.must("logout", "--profile", profileName, "--bootstrap")
	sick := p.diagnosed("bootstrap", "failed", 4)
	before := p.read(filepath.Join(p.home, ".config", "sa-exec-credential", "profiles", profileName+".yaml"))
	p.mended(sick, "bootstrap")
	if after := p.read(filepath.Join(p.home, ".config", "sa-exec-credential", "profiles", profileName+".yaml")); string(after) != string(before) {
		p.Errorf("mending with %s changed the profile from\n%s\nto\n%s", sick.Mend, before, after)
	}
}

func (p *person) checkDeviceGone() {
	p.setUp()
	p.asAdmin("delete", "secret", "-n", p.namespace, "-l", "sa-exec-credential/account=ci,app.kubernetes.io/component=device")
	p.eventually("the bootstrap credential is refused", func() bool {
		items, code := p.doctor()
		found := of(items, "bootstrap")
		return code == 4 && len(found) > 0 && found[0].Result == "failed"
	})
	p.mended(p.diagnosed("bootstrap", "failed", 4), "token")
}

func (p *person) checkAccountGone() {
	p.setUp()
	p.asAdmin("delete", "serviceaccount", "ci", "-n", p.namespace)
	p.mended(p.diagnosed("mint", "failed", 5), "token")
}

func (p *person) checkRoleGone() {
	p.setUp()
	p.asAdmin("delete", "rolebinding", "ci-bootstrap", "-n", p.namespace)
	p.eventually("RBAC has heard of it", func() bool { _, code := p.doctor(); return code != 0 })
	p.mended(p.diagnosed("mint", "failed", 7), "mint")
}

func (p *person) checkCapGone() {
	p.setUp()
	p.asAdmin("delete", "validatingadmissionpolicybinding,validatingadmissionpolicy", "sa-exec-credential."+p.namespace+".ci")
	p.eventually("admission has heard of it", func() bool { return of(p.healthy(), "cap")[0].Result == "warning" })
	p.mended(of(p.healthy(), "cap")[0], "cap")
}

func (p *person) checkShortened() {
	p.setUp("--duration", "900h")
	p.mended(p.diagnosed("mint", "warning", 0), "mint")
}

func (p *person) checkServerDown() {
	server := p.proxy(0)
	p.adminThrough(server.URL)
	p.setUp()
	server.Close()
	sick := p.diagnosed("server", "failed", 5)
	if !strings.Contains(sick.Detail, server.URL) || !strings.Contains(sick.Mend, server.URL) {
		p.Errorf("finding: %+v", sick)
	}
}

func (p *person) checkOtherAuthority() {
	path := p.setUp()
	withoutAuthority := regexp.MustCompile(`(?m)^ *certificateAuthorityData:.*\n`).ReplaceAll(p.read(path), nil)
	p.write(path, withoutAuthority) // the system's roots count now
	items, code := p.doctor()
	if server := of(items, "server")[0]; server.Result != "failed" || code != 5 || !strings.Contains(server.Detail, "not trusted") {
		p.Errorf("exit code %d\n%s", code, listed(items))
	}
}

func (p *person) checkClock() {
	p.adminThrough(p.proxy(time.Hour).URL)
	p.setUp()
	sick := p.diagnosed("clock", "warning", 0)
	if !strings.Contains(sick.Detail, "behind") {
		p.Errorf("finding: %+v", sick)
	}
	if mint := of(p.healthy(), "mint")[0]; mint.Result != "ok" {
		p.Errorf("mint: %+v", mint)
	}
}

func (p *person) checkStoreDown() {
	p.setUp()
	p.bus = secretservicetest.NewBus(p.T).Address()
	p.diagnosed("store", "failed", 6)
	p.bus = "tcp:host=127.0.0.1,port=1"
	items, code := p.doctor()
	if of(items, "bus")[0].Result != "failed" || code != 6 {
		p.Errorf("exit code %d\n%s", code, listed(items))
	}
}

func (p *person) checkPolicy() {
	p.setUp()
	kuberc := filepath.Join(p.home, ".kube", "kuberc")
	command := filepath.Join(p.home, "path", "sa-exec-credential")
	const format = "apiVersion: kubectl.config.k8s.io/v1beta1\nkind: Preference\ncredentialPluginPolicy: %s\n%s"
	for _, field := range []string{"command", "name"} {
		p.write(kuberc, fmt.Appendf(nil, format, "Allowlist", "credentialPluginAllowlist:\n- "+field+": /usr/bin/other\n"))
		sick := p.diagnosed("policy", "failed", 3)
		p.mended(sick, "policy")
		p.write(kuberc, fmt.Appendf(nil, format, "Allowlist", "credentialPluginAllowlist:\n- "+field+": "+command+"\n"))
		p.diagnosed("policy", "ok", 0)
	}
	p.write(kuberc, fmt.Appendf(nil, format, "DenyAll", ""))
	p.mended(p.diagnosed("policy", "failed", 3), "policy")
	p.write(kuberc, fmt.Appendf(nil, format, "Nonsense", ""))
	p.diagnosed("policy", "failed", 2)
}

func (p *person) checkCommandMissing() {
	p.setUp()
	command := filepath.Join(p.home, "path", "sa-exec-credential")
	p.replace(p.own, command, command+"-old")
	p.mended(p.diagnosed("context", "failed", 3), "context")
}

func (p *person) checkBareCommand() {
	p.setUp()
	p.replace(p.own, filepath.Join(p.home, "path", "sa-exec-credential"), "sa-exec-credential")
	sick := p.diagnosed("context", "warning", 0)
	p.mended(sick, "context")
}

func (p *person) checkOtherProgram() {
	p.setUp()
	other := filepath.Join(p.home, "sa-exec-credential")
	p.write(other, p.read(p.program))
	if err := os.Chmod(other, 0o700); err != nil {
		p.Fatal(err)
	}
	p.replace(p.own, filepath.Join(p.home, "path", "sa-exec-credential"), other)
	p.mended(p.diagnosed("context", "warning", 0), "context")
}

func (p *person) checkOtherCluster() {
	p.setUp()
	p.replace(p.own, p.Server, "https://example.com")
	p.mended(p.diagnosed("context", "failed", 3), "context")
}

func (p *person) checkExecSection() {
	p.setUp()
	good := string(p.read(p.own))
	for _, test := range []struct{ old, changed, result string }{
		{"provideClusterInfo: true", "provideClusterInfo: false", "failed"},
		{`"client.authentication.k8s.io/v1"`, `"client.authentication.k8s.io/v7"`, "failed"},
		{"interactiveMode: Never", "", "failed"},
		{"[get, --profile,", "[status, --profile,", "failed"},
		{"interactiveMode: Never", "interactiveMode: Always", "warning"},
		{"interactiveMode: Never", "interactiveMode: Never\n      env: [{name: LANG, value: C}]", "warning"},
	} {
		p.write(p.own, []byte(good))
		p.replace(p.own, test.old, test.changed)
		code := map[string]int{"failed": 3, "warning": 0}[test.result]
		p.mended(p.diagnosed("context", test.result, code), "context")
	}
}

func (p *person) checkStray() {
	path := p.setUp()
	if err := os.Remove(path); err != nil {
		p.Fatal(err)
	}
	p.diagnosed("context", "failed", 3)
}

func (p *person) checkBadKubeconfig() {
	p.setUp()
	p.write(p.own, []byte("clusters: {a"))
	p.diagnosed("kubeconfig", "failed", 2)
}

// checkContextSource has two, because such a profile takes the environment of the process.
func (p *person) checkContextSource() {
	p.asAdmin("create", "namespace", p.namespace)
	for _, name := range []string{"one", "two"} {
		p.must("setup", name, "-n", p.namespace, "--profile", name, "--store", "keyring", "--kubeconfig", p.admin, "--bootstrap", "context=admin@test")
	}
	items := p.healthy()
	if tokens := of(items, "token"); len(tokens) != 2 || tokens[0].Result != "ok" || tokens[1].Result != "ok" {
		p.Errorf("findings:\n%s", listed(items))
	}
	if text := of(items, "bootstrap")[0].Detail; !strings.Contains(text, "context=admin@test") {
		p.Errorf("bootstrap: %s", text)
	}
}

// checkRecovery takes the context away that setup was told to recover with.
func (p *person) checkRecovery() {
	p.setUp("--recover")
	if text := of(p.healthy(), "recovery")[0].Detail; !strings.Contains(text, `with context "admin@test" of `+p.admin) {
		p.Errorf("recovery: %s", text)
	}
	kubeconfig := p.read(p.admin)
	p.write(p.admin, []byte("apiVersion: v1\nkind: Config\n"))
	p.diagnosed("recovery", "warning", 0)
	p.write(p.admin, kubeconfig)
	if found := of(p.healthy(), "recovery"); found[0].Result != "ok" {
		p.Errorf("with the context back: %s", found[0].Detail)
	}
}

const many = 200

func (p *person) checkMany() {
	path := p.setUp()
	profile := p.read(path)
	for i := range many {
		p.write(filepath.Join(filepath.Dir(path), fmt.Sprintf("copy-%03d.yaml", i)), profile)
	}
	items := p.healthy()
	if tokens := of(items, "token"); len(tokens) != many+1 || tokens[0].Result != "ok" {
		p.Errorf("%d profiles with a token", len(tokens))
	}
	table := p.must("doctor").stdout
	if !strings.Contains(table, fmt.Sprintf("(%d profiles).", many+1)) || strings.Count(table, "\nProfile ") != many+1 {
		p.Errorf("table:\n%s", table)
	}
}
