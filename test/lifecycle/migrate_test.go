//go:build linux

package lifecycle_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

func migrateTests() map[string]func(*person) {
	return map[string]func(*person){
		"the token of a legacy Secret":                (*person).migrateLegacy,
		"a legacy Secret stays unless told otherwise": (*person).migrateKeepingSecret,
		"a legacy Secret stays while others hold it":  (*person).migrateHeld,
		"a token file":                                  (*person).migrateTokenFile,
		"contexts that share a user":                    (*person).migrateShared,
		"a user that is shared with another cluster":    (*person).migrateSharedElsewhere,
		"what is no service account's token":            (*person).migrateForeign,
		"a token that is no longer accepted":            (*person).migrateRefused,
		"an administrator that is none":                 (*person).migrateWithoutAdmin,
		"a profile that others use":                     (*person).migrateTaken,
		"a dry run":                                     (*person).migrateDry,
		"killed after any of its steps it can be ended": (*person).migrateKilled,
	}
}

// account makes a service account that may view, and a legacy Secret with a token of it.
func (p *person) account() (token string) {
	p.Helper()
	p.asAdmin("create", "namespace", p.namespace)
	p.asAdmin("create", "serviceaccount", "jenkins", "-n", p.namespace)
	p.asAdmin("create", "rolebinding", "jenkins", "--clusterrole=view", "--serviceaccount="+p.namespace+":jenkins", "-n", p.namespace)
	manifest := filepath.Join(p.home, "secret.yaml")
	p.write(manifest, []byte("apiVersion: v1\nkind: Secret\ntype: kubernetes.io/service-account-token\n"+
		"metadata:\n  name: jenkins-token\n  annotations: {kubernetes.io/service-account.name: jenkins}\n"))
	p.asAdmin("apply", "-n", p.namespace, "-f", manifest)
	p.eventually("the legacy Secret is filled", func() bool { token = p.legacyToken(); return token != "" })
	return token
}

func (p *person) legacyToken() string {
	p.Helper()
	data, err := base64.StdEncoding.DecodeString(p.asAdmin("get", "secret", "jenkins-token", "-n", p.namespace, "-o", "jsonpath={.data.token}"))
	if err != nil {
		p.Fatal(err)
	}
	return string(data)
}

// hasSecret reports whether the legacy Secret is there.
func (p *person) hasSecret() bool {
	p.Helper()
	return p.asAdmin("get", "secret", "jenkins-token", "-n", p.namespace, "--ignore-not-found", "-o", "name") != ""
}

// add adds a context with a user of the same name to the administrator's kubeconfig, by kubectl.
func (p *person) add(context string, credentials ...string) {
	p.Helper()
	p.kubectl(append([]string{"config", "--kubeconfig", p.admin, "set-credentials", context}, credentials...)...)
	p.addContext(context, "test", context)
}

func (p *person) addContext(context, cluster, user string) {
	p.Helper()
	p.kubectl("config", "--kubeconfig", p.admin, "set-context", context, "--cluster", cluster, "--user", user, "--namespace", p.namespace)
}

func (p *person) migrateArguments(context string, flags ...string) []string {
	return append([]string{"migrate", context, "--kubeconfig", p.admin, "--admin-context", "admin@test", "--store", "keyring"}, flags...)
}

func (p *person) username() string { return "system:serviceaccount:" + p.namespace + ":jenkins" }

func (p *person) migrateLegacy() {
	token := p.account()
	p.add("jenkins", "--token="+token)
	out := p.must(p.migrateArguments("jenkins", "--delete-legacy-secret")...)
	for _, text := range []string{"It works.", p.username(), "kubectl --context jenkins"} {
		if !strings.Contains(out.stdout, text) {
			p.Errorf("without %q:\n%s", text, out.stdout)
		}
	}
	if got := p.whoAmI(p.admin, "jenkins"); got != p.username() {
		p.Errorf("the context is %q", got)
	}
	if left := p.filesWith(token); len(left) > 0 {
		p.Errorf("the token is in %q", left)
	}
	if p.hasSecret() {
		p.Error("the legacy Secret is still there")
	}
	p.add("old", "--token="+token)
	p.eventually("the old token is refused", func() bool {
		return p.run(p.Kubectl, "--kubeconfig", p.admin, "--context", "old", "auth", "whoami").code != 0
	})
	if again := p.plugin(p.migrateArguments("jenkins")...); again.code != 2 || again.stdout != "" {
		p.Errorf("a second time: %+v", again)
	}
	p.healthy("--kubeconfig", p.admin)
}

func (p *person) migrateKeepingSecret() {
	p.add("jenkins", "--token="+p.account())
	out := p.must(p.migrateArguments("jenkins")...)
	line := "kubectl --kubeconfig " + p.admin + " --context admin@test -n " + p.namespace + " delete secret jenkins-token"
	if !p.hasSecret() || !strings.Contains(out.stderr, line) {
		p.Errorf("not told to %s:\n%s", line, out.stderr)
	}
	p.shell(line)
	if p.hasSecret() {
		p.Error("that does not delete it")
	}
}

func (p *person) migrateHeld() {
	token := p.account()
	p.add("jenkins", "--token="+token)
	p.add("copy", "--token="+token)
	out := p.plugin(p.migrateArguments("jenkins", "--delete-legacy-secret")...)
	if out.code != 2 || !strings.Contains(out.stderr, `"copy"`) || !p.hasSecret() {
		p.Errorf("outcome: %+v", out)
	}
	for _, context := range []string{"jenkins", "copy"} {
		if got := p.whoAmI(p.admin, context); got != p.username() {
			p.Errorf("context %q is %q", context, got)
		}
	}
	p.must(p.migrateArguments("copy", "--delete-legacy-secret")...)
	if left := p.filesWith(token); len(left) > 0 || p.hasSecret() {
		p.Errorf("after the other one, the token is in %q", left)
	}
}

func (p *person) migrateTokenFile() {
	p.account()
	path := filepath.Join(p.home, "token file")
	p.write(path, []byte(p.asAdmin("create", "token", "jenkins", "-n", p.namespace)+"\n"))
	p.add("jenkins")
	p.replace(p.admin, "- name: jenkins\n  user: {}", "- name: jenkins\n  user:\n    tokenFile: token file")
	out := p.must(p.migrateArguments("jenkins")...)
	if !strings.Contains(out.stderr, "rm '"+path+"'") {
		p.Errorf("not told of the file:\n%s", out.stderr)
	}
	if got := p.whoAmI(p.admin, "jenkins"); got != p.username() || bytes.Contains(p.read(p.admin), []byte("tokenFile")) {
		p.Errorf("the context is %q", got)
	}
}

func (p *person) migrateShared() {
	p.add("jenkins", "--token="+p.account())
	p.addContext("also", "test", "jenkins")
	out := p.must(p.migrateArguments("jenkins")...)
	if got := p.whoAmI(p.admin, "also"); got != p.username() || !strings.Contains(out.stderr, `"also"`) {
		p.Errorf("the other context is %q:\n%s", got, out.stderr)
	}
}

// refused expects that migrate changes nothing and says why.
func (p *person) refused(code int, args ...string) {
	p.Helper()
	before := p.read(p.admin)
	out := p.plugin(args...)
	if out.code != code || out.stdout != "" || !strings.Contains(out.stderr, "error: ") || !strings.Contains(out.stderr, "hint: ") {
		p.Errorf("%v: %+v", args, out)
	}
	if !bytes.Equal(before, p.read(p.admin)) {
		p.Errorf("%v changed the kubeconfig", args)
	}
	if _, err := os.Stat(filepath.Join(p.home, ".config", "sa-exec-credential", "profiles")); err == nil {
		p.Errorf("%v made a profile", args)
	}
}

func (p *person) migrateSharedElsewhere() {
	p.add("jenkins", "--token="+p.account())
	p.kubectl("config", "--kubeconfig", p.admin, "set-cluster", "other", "--server", "https://example.com")
	p.addContext("elsewhere", "other", "jenkins")
	p.refused(2, p.migrateArguments("jenkins")...)
}

// unsigned is a JWT of these claims without a good signature.
func unsigned(claims string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"RS256"}`)) + "." + encode([]byte(claims)) + "." + encode([]byte("signature"))
}

func (p *person) migrateForeign() {
	for context, credentials := range map[string][]string{
		"opaque":   {"--token=abcdef.0123456789abcdef"},
		"person":   {"--token=" + unsigned(`{"iss":"https://accounts.example.com","sub":"jane"}`)},
		"nobody":   {"--token=" + unsigned(`{"iss":"x","sub":"system:serviceaccount:a:b"}`)},
		"password": {"--username=jane", "--password=secret"},
		"plugin":   {"--exec-command=other", "--exec-api-version=client.authentication.k8s.io/v1beta1"},
		"nothing":  {},
	} {
		p.add(context, credentials...)
		p.refused(2, p.migrateArguments(context)...)
	}
	p.refused(2, p.migrateArguments("admin@test")...)
	p.refused(2, p.migrateArguments("no such context")...)
}

// migrateRefused has the claims of a good token and a signature that nobody would take.
func (p *person) migrateRefused() {
	token := p.account()
	p.add("jenkins", "--token="+token[:strings.LastIndex(token, ".")]+".c2lnbmF0dXJl")
	out := p.must(p.migrateArguments("jenkins")...)
	if got := p.whoAmI(p.admin, "jenkins"); got != p.username() || !strings.Contains(out.stderr, "its own word") {
		p.Errorf("the context is %q:\n%s", got, out.stderr)
	}
}

func (p *person) migrateWithoutAdmin() {
	p.add("jenkins", "--token="+p.account())
	p.refused(2, "migrate", "jenkins", "--kubeconfig", p.admin)
	p.refused(7, "migrate", "jenkins", "--kubeconfig", p.admin, "--admin-context", "jenkins", "--store", "keyring")
	p.kubectl("config", "--kubeconfig", p.admin, "set-cluster", "other", "--server", "https://example.com")
	p.addContext("elsewhere", "other", "admin")
	p.refused(2, "migrate", "jenkins", "--kubeconfig", p.admin, "--admin-context", "elsewhere")
}

func (p *person) migrateTaken() {
	p.add("jenkins", "--token="+p.account())
	path := p.setUp()
	profile, kubeconfig := p.read(path), p.read(p.admin)
	out := p.plugin(p.migrateArguments("jenkins", "--profile", profileName)...)
	if out.code != 2 || out.stdout != "" || !bytes.Equal(profile, p.read(path)) || !bytes.Equal(kubeconfig, p.read(p.admin)) {
		p.Errorf("outcome: %+v", out)
	}
	p.must(p.migrateArguments("jenkins")...)
	p.healthy()
}

func (p *person) migrateDry() {
	p.add("jenkins", "--token="+p.account())
	before := p.read(p.admin)
	out := p.must(p.migrateArguments("jenkins", "--dry-run", "--delete-legacy-secret")...)
	for _, text := range []string{"jenkins-bootstrap", "ValidatingAdmissionPolicy", "provideClusterInfo: true", `Secret "` + p.namespace + `/jenkins-token" would be deleted`} {
		if !strings.Contains(out.stdout, text) {
			p.Errorf("without %q:\n%s", text, out.stdout)
		}
	}
	accounts := p.asAdmin("get", "serviceaccounts", "-n", p.namespace, "-o", "name")
	if strings.Contains(accounts, "bootstrap") || !p.hasSecret() || !bytes.Equal(before, p.read(p.admin)) {
		p.Error("it did something")
	}
}

// migrateKilled kills migrate after each line that it says, until it gets to its end.
func (p *person) migrateKilled() {
	token := p.account()
	p.add("jenkins", "--token="+token)
	for lines := 1; ; lines++ {
		ended := p.killedAfter(lines, p.migrateArguments("jenkins")...)
		if got := p.whoAmI(p.admin, "jenkins"); got != p.username() {
			p.Fatalf("killed after %d lines, the context is %q", lines, got)
		}
		left := slices.DeleteFunc(p.filesWith(token), func(path string) bool { return path == p.admin })
		if len(left) > 0 {
			p.Errorf("killed after %d lines, the token is in %q", lines, left)
		}
		if ended {
			break
		}
	}
	if left := p.filesWith(token); len(left) > 0 {
		p.Errorf("at the end the token is in %q", left)
	}
	p.healthy("--kubeconfig", p.admin)
}

// killedAfter kills the program when it has printed that many lines to standard error, and reports whether it, or an
// earlier one, was done by then.
func (p *person) killedAfter(lines int, args ...string) (ended bool) {
	p.Helper()
	command := exec.CommandContext(p.Context(), filepath.Join(p.home, "path", "sa-exec-credential"), args...)
	command.Env, command.Dir = p.environment(), p.home
	stderr, err := command.StderrPipe()
	if err != nil {
		p.Fatal(err)
	}
	if err := command.Start(); err != nil {
		p.Fatal(err)
	}
	var said strings.Builder
	reader := bufio.NewReader(io.TeeReader(stderr, &said))
	for range lines {
		if _, err = reader.ReadString('\n'); err != nil {
			break
		}
	}
	_ = command.Process.Kill()
	_, _ = io.Copy(io.Discard, reader)
	_ = command.Wait()
	done := command.ProcessState.ExitCode() == 0 || strings.Contains(said.String(), "uses sa-exec-credential already")
	if err != nil && !done {
		p.Fatal(fmt.Errorf("%w: %s", err, &said))
	}
	return done
}
