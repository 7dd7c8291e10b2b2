//go:build linux

package lifecycle_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

func TestMigrate(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]func(*migration){
		"the token of a legacy Secret":                (*migration).migrateLegacy,
		"a legacy Secret stays unless told otherwise": (*migration).migrateKeepingSecret,
		"a legacy Secret stays while others hold it":  (*migration).migrateHeld,
		"a token file":                      (*migration).migrateTokenFile,
		"a certificate authority in a file": (*migration).migrateForPython,
		"contexts that share a user":        (*migration).migrateShared,
		"a user that is shared with another " +
			"cluster": (*migration).migrateSharedElsewhere,
		"what is no service account's token":            (*migration).migrateForeign,
		"a token that is no longer accepted":            (*migration).migrateRefused,
		"an administrator that is none":                 (*migration).migrateWithoutAdmin,
		"a profile that others use":                     (*migration).migrateTaken,
		"a dry run":                                     (*migration).migrateDry,
		"killed after any of its steps it can be ended": (*migration).migrateKilled,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := &migration{newMachine(t)}
			m.Admin = m.Write(filepath.Join(t.TempDir(), "admin.kubeconfig"),
				m.Read(m.Admin))
			test(m)
		})
	}
}

// migration is a machine whose administrator's kubeconfig holds static tokens, outside of what is
// searched.
type migration struct{ *lab.Machine }

// outside is the directory of that kubeconfig.
func (m *migration) outside() string { return filepath.Dir(m.Admin) }

// account makes a service account that may view, and a legacy Secret with a token of it.
func (m *migration) account() (token string) {
	m.Helper()
	m.AsAdmin("create", "namespace", m.Namespace)
	m.AsAdmin("create", "serviceaccount", "jenkins", "-n", m.Namespace)
	m.AsAdmin("create", "rolebinding", "jenkins", "--clusterrole=view",
		"--serviceaccount="+m.Namespace+":jenkins", "-n", m.Namespace)
	m.AsAdminWith("apiVersion: v1\nkind: Secret\ntype: kubernetes.io/service-account-token\n"+
		"metadata:\n  name: jenkins-token\n  annotations: "+
		"{kubernetes.io/service-account.name: jenkins}\n",
		"apply", "-n", m.Namespace, "-f", "-")
	lab.Eventually(m.T, "the legacy Secret is filled",
		func() bool { token = m.legacyToken(); return token != "" })
	return token
}

func (m *migration) legacyToken() string {
	m.Helper()
	data, err := base64.StdEncoding.DecodeString(m.AdminsToken("get", "secret", "jenkins-token",
		"-n", m.Namespace, "-o", "jsonpath={.data.token}"))
	if err != nil {
		m.Fatal(err)
	}
	return string(data)
}

// hasSecret reports whether the legacy Secret is there.
func (m *migration) hasSecret() bool {
	m.Helper()
	return m.AsAdmin("get", "secret", "jenkins-token", "-n", m.Namespace, "--ignore-not-found",
		"-o", "name") != ""
}

// add adds a context with a user of the same name to the administrator's kubeconfig, as kubectl
// writes it. A token is in no argument that way.
func (m *migration) add(context string, user clientcmdapi.AuthInfo) {
	m.Helper()
	config := lab.LoadKubeconfig(m.T, m.Admin)
	config.AuthInfos[context] = &user
	m.WriteKubeconfig(m.Admin, config)
	m.addContext(context, "test", context)
}

func (m *migration) addToken(context, token string) {
	m.Helper()
	m.add(context, clientcmdapi.AuthInfo{Token: token})
}

func (m *migration) addContext(context, cluster, user string) {
	m.Helper()
	m.config("set-context", context, "--cluster", cluster, "--user", user, "--namespace",
		m.Namespace)
}

// config changes the administrator's kubeconfig with kubectl.
func (m *migration) config(args ...string) {
	m.Helper()
	m.Kubectl(append([]string{"config", "--kubeconfig", m.Admin}, args...)...).Succeeds()
}

func (m *migration) migrateArguments(context string, flags ...string) []string {
	return append([]string{"migrate", context, "--kubeconfig", m.Admin, "--admin-context",
		"admin@test", "--store", "keyring"}, flags...)
}

func (m *migration) username() string { return "system:serviceaccount:" + m.Namespace + ":jenkins" }

// whoAmI asks the API server whom a context of the administrator's kubeconfig stands for.
func (m *migration) whoAmI(context string) string {
	m.Helper()
	return m.Kubectl("--kubeconfig", m.Admin, "--context", context, "auth", "whoami", "-o",
		"jsonpath={.status.userInfo.username}").Succeeds().Stdout
}

// must runs the program for what has to succeed.
func (m *migration) must(args ...string) lab.Result {
	m.Helper()
	return m.Plugin(args...).Succeeds()
}

// healthy expects that doctor finds nothing that failed.
func (m *migration) healthy(args ...string) {
	m.Helper()
	m.must(append([]string{"doctor"}, args...)...)
}

// filesWith lists the files that hold text.
func (m *migration) filesWith(text string) (found []string) {
	m.Helper()
	for _, dir := range []string{m.Home, m.outside()} {
		for _, name := range lab.FilesBelow(m.T, dir) {
			path := filepath.Join(dir, name)
			if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() &&
				strings.Contains(m.Read(path), text) {
				found = append(found, path)
			}
		}
	}
	return found
}

func (m *migration) migrateLegacy() {
	token := m.account()
	m.addToken("jenkins", token)
	out := m.must(m.migrateArguments("jenkins", "--delete-legacy-secret")...)
	m.Follow(out, "--context jenkins get pods")
	for _, text := range []string{"It works.", m.username()} {
		if !strings.Contains(out.Stdout, text) {
			m.Errorf("without %q:\n%s", text, out.Stdout)
		}
	}
	if got := m.whoAmI("jenkins"); got != m.username() {
		m.Errorf("the context is %q", got)
	}
	if left := m.filesWith(token); len(left) > 0 {
		m.Errorf("the token is in %q", left)
	}
	if m.hasSecret() {
		m.Error("the legacy Secret is still there")
	}
	m.addToken("old", token)
	lab.Eventually(m.T, "the old token is refused", func() bool {
		return m.Kubectl("--kubeconfig", m.Admin, "--context", "old", "auth",
			"whoami").Code != 0
	})
	m.Plugin(m.migrateArguments("jenkins")...).Fails(2)
	m.healthy("--kubeconfig", m.Admin)
}

func (m *migration) migrateKeepingSecret() {
	m.addToken("jenkins", m.account())
	out := m.must(m.migrateArguments("jenkins")...)
	if !m.hasSecret() {
		m.Errorf("the Secret is gone")
	}
	m.Follow(out, "delete secret jenkins-token")
	if m.hasSecret() {
		m.Error("that does not delete it")
	}
}

func (m *migration) migrateHeld() {
	token := m.account()
	m.addToken("jenkins", token)
	m.addToken("copy", token)
	out := m.Plugin(m.migrateArguments("jenkins", "--delete-legacy-secret")...)
	if out.Code != 2 || !strings.Contains(out.Stderr, `"copy"`) || !m.hasSecret() {
		m.Errorf("exit code %d\n%s%s", out.Code, out.Stdout, out.Stderr)
	}
	for _, context := range []string{"jenkins", "copy"} {
		if got := m.whoAmI(context); got != m.username() {
			m.Errorf("context %q is %q", context, got)
		}
	}
	m.must(m.migrateArguments("copy", "--delete-legacy-secret")...)
	if left := m.filesWith(token); len(left) > 0 || m.hasSecret() {
		m.Errorf("after the other one, the token is in %q", left)
	}
}

func (m *migration) migrateTokenFile() {
	m.account()
	path := filepath.Join(m.outside(), "token file")
	m.Write(path, m.AdminsToken("create", "token", "jenkins", "-n", m.Namespace)+"\n")
	m.add("jenkins", clientcmdapi.AuthInfo{})
	m.Replace(m.Admin, "- name: jenkins\n  user: {}",
		"- name: jenkins\n  user:\n    tokenFile: token file")
	out := m.must(m.migrateArguments("jenkins")...)
	m.Follow(out, "rm '"+path+"'")
	if got := m.whoAmI("jenkins"); got != m.username() || strings.Contains(m.Read(m.Admin),
		"tokenFile") {
		m.Errorf("the context is %q", got)
	}
}

// migrateForPython has a kubeconfig that Python's client could say nothing of its cluster with.
func (m *migration) migrateForPython() {
	m.addToken("jenkins", m.account())
	authority := m.Write(filepath.Join(m.outside(), "ca.crt"), string(lab.Plane.CAPEM))
	m.config("set-cluster", "test", "--certificate-authority="+authority)
	m.config("unset", "clusters.test.certificate-authority-data")
	out := m.must(m.migrateArguments("jenkins")...)
	lab.Has(m.T, "migrate", out.Stderr, `cluster "test": has its certificate authorities and an extension in the kubeconfig itself`)
	if err := os.Remove(authority); err != nil {
		m.Fatal(err)
	}
	profile := "jenkins." + m.Namespace + "@test"
	get := m.Command("/bin/sh", "-c", `export "$0"; "$@"; exit $?`,
		"KUBERNETES_EXEC_INFO="+m.PythonExecInfo(m.Admin, "jenkins"),
		lab.Plugin, "get", "--profile", profile)
	get.PrintsToken = true
	if get.Run(m.T).Silent().Token() == "" {
		m.Error("Python's client gets no token")
	}
	for context, want := range map[string]string{"jenkins": m.username(),
		"admin@test": "admin"} {
		if got := m.whoAmI(context); got != want {
			m.Errorf("context %q is %q", context, got)
		}
	}
}

func (m *migration) migrateShared() {
	m.addToken("jenkins", m.account())
	m.addContext("also", "test", "jenkins")
	out := m.must(m.migrateArguments("jenkins")...)
	if got := m.whoAmI("also"); got != m.username() || !strings.Contains(out.Stderr, `"also"`) {
		m.Errorf("the other context is %q:\n%s", got, out.Stderr)
	}
}

// refused expects that migrate changes nothing and says why.
func (m *migration) refused(code int, args ...string) {
	m.Helper()
	before := m.Read(m.Admin)
	m.Plugin(args...).Fails(code, "error: ", "hint: ")
	if before != m.Read(m.Admin) {
		m.Errorf("%v changed the kubeconfig", args)
	}
	if names, err := m.Profiles().Names(); err != nil || len(names) > 0 {
		m.Errorf("%v created the profiles %q, %v", args, names, err)
	}
}

func (m *migration) migrateSharedElsewhere() {
	m.addToken("jenkins", m.account())
	m.config("set-cluster", "other", "--server", "https://example.com")
	m.addContext("elsewhere", "other", "jenkins")
	m.refused(2, m.migrateArguments("jenkins")...)
}

// unsigned is a JWT of these claims without a good signature.
func unsigned(claims string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"RS256"}`)) + "." + encode([]byte(claims)) + "." +
		encode([]byte("signature"))
}

func (m *migration) migrateForeign() {
	plugin := &clientcmdapi.ExecConfig{Command: "other",
		APIVersion: "client.authentication.k8s.io/v1beta1", InteractiveMode: "IfAvailable"}
	for context, user := range map[string]clientcmdapi.AuthInfo{
		"opaque":   {Token: "abcdef.0123456789abcdef"},
		"person":   {Token: unsigned(`{"iss":"https://accounts.example.com","sub":"jane"}`)},
		"nobody":   {Token: unsigned(`{"iss":"x","sub":"system:serviceaccount:a:b"}`)},
		"password": {Username: "jane", Password: "secret"},
		"plugin":   {Exec: plugin},
		"nothing":  {},
	} {
		m.add(context, user)
		m.refused(2, m.migrateArguments(context)...)
	}
	m.refused(2, m.migrateArguments("admin@test")...)
	m.refused(2, m.migrateArguments("no such context")...)
}

// migrateRefused has the claims of a good token and a signature that nobody would take. Whoever
// wrote it may have chosen another account, and a Secret that is to be deleted.
func (m *migration) migrateRefused() {
	token := m.account()
	m.addToken("jenkins", token[:strings.LastIndex(token, ".")]+".c2lnbmF0dXJl")
	m.refused(2, m.migrateArguments("jenkins")...)
	named := []string{"--serviceaccount", "jenkins", "-n", m.Namespace}
	m.refused(2, m.migrateArguments("jenkins", append(named, "--delete-legacy-secret")...)...)
	out := m.must(m.migrateArguments("jenkins", named...)...)
	if got := m.whoAmI("jenkins"); got != m.username() || !strings.Contains(out.Stderr,
		"as named") || !m.hasSecret() {
		m.Errorf("the context is %q:\n%s", got, out.Stderr)
	}
}

func (m *migration) migrateWithoutAdmin() {
	m.addToken("jenkins", m.account())
	m.refused(2, "migrate", "jenkins", "--kubeconfig", m.Admin)
	m.refused(7, "migrate", "jenkins", "--kubeconfig", m.Admin, "--admin-context", "jenkins",
		"--store", "keyring")
	m.config("set-cluster", "other", "--server", "https://example.com")
	m.addContext("elsewhere", "other", "admin")
	m.refused(2, "migrate", "jenkins", "--kubeconfig", m.Admin, "--admin-context", "elsewhere")
}

func (m *migration) migrateTaken() {
	m.addToken("jenkins", m.account())
	m.Setup("ci", "-n", m.Namespace, "--profile", m.Profile, "--store", "keyring").Succeeds()
	path := m.Path(".config", "sa-exec-credential", "profiles", m.Profile+".yaml")
	profile, kubeconfig := m.Read(path), m.Read(m.Admin)
	out := m.Plugin(m.migrateArguments("jenkins", "--profile", m.Profile)...)
	if out.Code != 2 || out.Stdout != "" || profile != m.Read(path) ||
		kubeconfig != m.Read(m.Admin) {
		m.Errorf("exit code %d\n%s%s", out.Code, out.Stdout, out.Stderr)
	}
	m.Follow(out, "--take-over")
	m.healthy()
}

func (m *migration) migrateDry() {
	m.addToken("jenkins", m.account())
	before := m.Read(m.Admin)
	out := m.must(m.migrateArguments("jenkins", "--dry-run", "--delete-legacy-secret")...)
	for _, text := range []string{"kind: ValidatingAdmissionPolicy", "name: limits",
		"provideClusterInfo: true", `Secret "` + m.Namespace +
			`/jenkins-token" would be deleted`} {
		if !strings.Contains(out.Stdout, text) {
			m.Errorf("without %q:\n%s", text, out.Stdout)
		}
	}
	accounts := m.AsAdmin("get", "serviceaccounts", "-n", m.Namespace, "-o", "name")
	if strings.Contains(accounts, "-device-") || !m.hasSecret() || before != m.Read(m.Admin) {
		m.Error("it did something")
	}
}

// migrateKilled kills migrate after each line that it says, until it gets to its end.
func (m *migration) migrateKilled() {
	token := m.account()
	m.addToken("jenkins", token)
	for lines := 1; ; lines++ {
		ended := m.killedAfter(lines, m.migrateArguments("jenkins")...)
		if got := m.whoAmI("jenkins"); got != m.username() {
			m.Fatalf("killed after %d lines, the context is %q", lines, got)
		}
		left := slices.DeleteFunc(m.filesWith(token),
			func(path string) bool { return path == m.Admin })
		if len(left) > 0 {
			m.Errorf("killed after %d lines, the token is in %q", lines, left)
		}
		if ended {
			break
		}
	}
	if left := m.filesWith(token); len(left) > 0 {
		m.Errorf("at the end the token is in %q", left)
	}
	m.healthy("--kubeconfig", m.Admin)
}

// killedAfter kills the program when it has printed that many lines to standard error, and
// reports whether it, or an earlier one, was done by then.
func (m *migration) killedAfter(lines int, args ...string) (ended bool) {
	m.Helper()
	migrate := m.Command(append([]string{lab.Plugin}, args...)...)
	migrate.Heard = func(migrate *lab.Started) {
		if strings.Count(migrate.Stderr.String(), "\n") >= lines {
			migrate.Signal(syscall.SIGKILL)
		}
	}
	r := migrate.Run(m.T)
	m.RestartKeyring()
	ended = r.Code == 0 || strings.Contains(r.Stderr, "uses sa-exec-credential already")
	if !ended && r.Code != lab.EndedBySignal {
		m.Fatalf("%s: exit code %d\n%s", r, r.Code, r.Stderr)
	}
	return ended
}
