//go:build unix

package bootstrap

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/sa-exec-credential/sa-exec-credential/internal/kuberc"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// The clusters of these tests have the system's roots, but for those that are about authorities.
const server = "https://k8s.example"

// kubeconfig is a file with one context x, whose cluster and user are given as YAML flow mappings.
func kubeconfigFile(t *testing.T, cluster, user string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "config")
	text := fmt.Sprintf("{apiVersion: v1, kind: Config, clusters: [{name: c, cluster: {%s}}], "+
		"users: [{name: u, user: {%s}}], contexts: [{name: x, context: {cluster: c, "+
		"user: u}}]}",
		cluster, user)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// fromContextX is a profile for server whose source is the context x.
func fromContextX(path string) profile.Profile {
	return profileWith(profile.Bootstrap{Source: profile.SourceContext, Context: "x",
		Kubeconfig:  []string{path},
		Environment: map[string]string{"AGREED": "yes", "PATH": "/usr/bin:/bin"}})
}

// execSection is a user whose plugin is a shell script; more are further fields.
func execSection(script string, more ...string) string {
	fields := []string{"command: /bin/sh", fmt.Sprintf("args: [-c, %q]", script)}
	version := "client.authentication.k8s.io/v1"
	for _, field := range more {
		if value, found := strings.CutPrefix(field, "apiVersion: "); found {
			version = value
			continue
		}
		fields = append(fields, field)
	}
	fields = append(fields, "interactiveMode: IfAvailable", "apiVersion: "+version)
	return "exec: {" + strings.Join(fields, ", ") + "}"
}

// answerOf is a script that prints an ExecCredential with a status.
func answerOf(status string) string { return answerIn("client.authentication.k8s.io/v1", status) }

func answerIn(version, status string) string {
	return fmt.Sprintf(`cat <<-END
		{"apiVersion":%q,"kind":"ExecCredential","status":%s}
		END`, version, status)
}

func TestContexts(t *testing.T) {
	cluster := "server: " + server
	certificate, key := newPair(t)
	inline := fmt.Sprintf("client-certificate-data: %s, client-key-data: %s",
		encoded(certificate), encoded(key))
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte("tok"), 0o600); err != nil {
		t.Fatal(err)
	}
	notRun := execSection(answerOf(`{"token": "plugin"}`))
	config := func(change func(*rest.Config)) *rest.Config {
		c := &rest.Config{Host: server}
		change(c)
		return c
	}
	tests := []struct {
		name    string
		cluster string
		user    string
		want    *rest.Config
		err     error
	}{
		{name: "a token is found", cluster: cluster, user: "token: tok",
			want: config(func(c *rest.Config) { c.BearerToken = "tok" })},
		{name: "a token's file is found", cluster: cluster, user: "tokenFile: " + file,
			want: config(func(c *rest.Config) {
				c.BearerToken,
					c.BearerTokenFile = "tok", file
			})},
		{name: "a missing one is none",
			cluster: cluster, user: "tokenFile: /nonexistent", err: ErrMissing},
		{name: "a client certificate is found", cluster: cluster, user: inline,
			want: config(func(c *rest.Config) {
				c.CertData, c.KeyData = certificate,
					key
			})},
		{name: "a password is found", cluster: cluster,
			user: "username: jane, password: secret",
			want: config(func(c *rest.Config) {
				c.Username, c.Password = "jane",
					"secret"
			})},
		{name: "nobody is nobody", cluster: cluster, want: config(func(*rest.Config) {})},
		{name: "a token goes before a plugin", cluster: cluster, user: "token: tok, " +
			notRun,
			want: config(func(c *rest.Config) { c.BearerToken = "tok" })},
		{name: "a certificate goes before a plugin", cluster: cluster, user: inline + ", " +
			notRun,
			want: config(func(c *rest.Config) {
				c.CertData, c.KeyData = certificate,
					key
			})},
		{name: "a password goes before a plugin",
			cluster: cluster, user: "username: jane, password: secret, " + notRun,
			want: config(func(c *rest.Config) {
				c.Username, c.Password = "jane",
					"secret"
			})},
		{name: "as another user", cluster: cluster,
			user: "token: tok, as: other, as-groups: [g]",
			want: config(func(c *rest.Config) {
				c.BearerToken = "tok"
				c.Impersonate = rest.ImpersonationConfig{UserName: "other",
					Groups: []string{"g"}}
			})},
		{name: "as another user with a plugin",
			cluster: cluster, user: "as: other, " +
				execSection(answerOf(`{"token": "tok"}`)),
			want: config(func(c *rest.Config) {
				c.BearerToken = "tok"
				c.Impersonate = rest.ImpersonationConfig{UserName: "other"}
			})},
		{name: "another server is refused",
			cluster: "server: https://other.example", user: "token: tok",
			err: ErrSource},
		{name: "another authority is refused",
			cluster: cluster + ", certificate-authority-data: " + encoded(certificate),
			user:    "token: tok", err: ErrSource},
		{name: "a cluster without TLS checks is refused",
			cluster: cluster + ", insecure-skip-tls-verify: true",
			user:    "token: tok", err: ErrSource},
		{name: "another tls-server-name is refused",
			cluster: cluster + ", tls-server-name: other", user: "token: tok",
			err: ErrSource},
		{name: "a server without TLS is refused",
			cluster: "server: http://k8s.example", user: "token: tok",
			err: profile.ErrCluster},
		{name: "a missing authority is refused",
			cluster: cluster + ", certificate-authority: /nonexistent",
			user:    "token: tok", err: ErrMissing},
		{name: "two ways at once are refused",
			cluster: cluster, user: "token: tok, username: jane", err: ErrMissing},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := fromContextX(kubeconfigFile(t, tt.cluster, tt.user))
			found, err := Find(t.Context(), p, systemWith(nil, nil))
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if err == nil {
				checkConfig(t, found.Config, tt.want)
			}
		})
	}
}

func TestContextsThatAreMissing(t *testing.T) {
	// A pod's own credential is no context's, although clientcmd takes it for one that is
	// missing.
	t.Setenv("KUBERNETES_SERVICE_HOST", "k8s.example")
	t.Setenv("KUBERNETES_SERVICE_PORT", "443")
	path := kubeconfigFile(t, "server: "+server, "token: tok")
	broken := filepath.Join(t.TempDir(), "broken")
	if err := os.WriteFile(broken, []byte("token: tok: tok"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		context string
		path    string
	}{
		{"another name is missing", "y", path},
		{"a missing file has none", "x", path + ".not"},
		{"a file that cannot be read has none", "x", broken},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := fromContextX(tt.path)
			p.Bootstrap.Context = tt.context
			_, err := Find(t.Context(), p, systemWith(nil, nil))
			if !errors.Is(err, ErrMissing) {
				t.Fatalf("error %v", err)
			}
			if text := err.Error(); strings.Contains(text, "tok") ||
				strings.Contains(text, "\n") {
				t.Errorf("error %q", text)
			}
		})
	}
}

func checkConfig(t *testing.T, got, want *rest.Config) {
	t.Helper()
	if got.ExecProvider != nil {
		t.Error("a plugin is left for client-go to run")
	}
	shown := func(c *rest.Config) string {
		return fmt.Sprintf("%q %q %q %q %q %q %q %v", c.Host, c.BearerToken,
			c.BearerTokenFile,
			c.CertData, c.KeyData, c.Username, c.Password, c.Impersonate)
	}
	if shown(got) != shown(want) {
		t.Errorf("got %s, want %s", shown(got), shown(want))
	}
}

func TestPluginsOfContexts(t *testing.T) {
	t.Setenv("FORGED", "forged")
	typed(t)
	certificate, key := newPair(t)
	_, otherKey := newPair(t)
	pair := func(certificate, key []byte) string {
		encoded, err := json.Marshal(map[string]string{
			"clientCertificateData": string(certificate), "clientKeyData": string(key)})
		if err != nil {
			t.Fatal(err)
		}
		return answerOf(string(encoded))
	}
	const beta = "client.authentication.k8s.io/v1beta1"
	token := func(text string) string { return answerOf(`{"token": "` + text + `"}`) }
	tests := []struct {
		name  string
		user  string
		token string
		pair  bool
		says  string // an error of ErrSource that says this
	}{
		{name: "its token is used", user: execSection(token("tok")), token: "tok"},
		{name: "v1beta1 is spoken, too",
			user:  execSection(answerIn(beta, `{"token": "tok"}`), "apiVersion: "+beta),
			token: "tok"},
		{name: "an answer in YAML is understood, as by client-go", token: "tok",
			user: execSection("printf 'apiVersion: client.authentication.k8s.io/v1\\n" +
				"kind: ExecCredential\\nstatus: {token: tok}\\n'")},
		{name: "its certificate is used", user: execSection(pair(certificate, key)),
			pair: true},
		{name: "it sees the environment of the profile",
			user: execSection(token("$AGREED")), token: "yes"},
		{name: "it sees the variables of its user",
			user:  execSection(token("$OWN"), "env: [{name: OWN, value: own}]"),
			token: "own"},
		{name: "those of its user count more",
			user:  execSection(token("$AGREED"), "env: [{name: AGREED, value: own}]"),
			token: "own"},
		{name: "it sees nothing of this process", user: execSection(token("a$FORGED")),
			token: "a"},
		{name: "it knows whose credential it is part of",
			user: execSection(token("$" + WithinVariable)), token: "p"},
		{name: "its user cannot hide that", token: "p",
			user: execSection(token("$"+WithinVariable),
				"env: [{name: "+WithinVariable+", value: other}]")},
		{name: "it does not run in the caller's directory",
			user: execSection(token("$(pwd)")), token: "/"},
		{name: "standard input is empty", user: execSection("cat; " + token("tok")),
			token: "tok"},
		{name: "what it says on standard error is dropped",
			user: execSection("echo noise >&2; " + token("tok")), token: "tok"},
		{name: "a child that keeps its output open is not waited for",
			user: execSection("sleep 30 & " + token("tok")), token: "tok"},
		{name: "a bare name is looked up in the PATH of the profile", token: "tok",
			user: strings.Replace(
				execSection(token("tok")), "/bin/sh", "sh", 1)},
		{name: "one that is not there has none", says: `there is no program "nonexistent"`,
			user: strings.Replace(execSection(""), "/bin/sh", "nonexistent", 1)},
		{name: "one whose path leads nowhere has none",
			says: `there is no program "/nonexistent/plugin"`,
			user: strings.Replace(execSection(""), "/bin/sh", "/nonexistent/plugin",
				1)},
		{name: "one that fails has none",
			user: execSection(token("tok") + "\nexit 3"), says: "exit status 3"},
		{name: "one that prints nonsense has none",
			user: execSection("echo tok"), says: "is no ExecCredential"},
		{name: "one that prints another kind has none", says: "is no ExecCredential",
			user: execSection(`echo '{"apiVersion":"v1","kind":"Secret","data":{"token":"tok"}}'`)},
		{name: "one that speaks another version has none",
			user: execSection(answerIn(beta, `{"token": "tok"}`)),
			says: "is not of apiVersion"},
		{name: "one that prints no status has none", says: "holds no status",
			user: execSection("printf 'kind: ExecCredential\\n" +
				"apiVersion: client.authentication.k8s.io/v1\\n'")},
		{name: "an empty status holds none",
			user: execSection(answerOf("{}")), says: "holds no credential"},
		{name: "a certificate without its key is none",
			user: execSection(pair(certificate, nil)),
			says: "holds no client certificate"},
		{name: "a key without its certificate is none",
			user: execSection(pair(nil, key)), says: "holds no client certificate"},
		{name: "another certificate's key is none",
			user: execSection(pair(certificate, otherKey)),
			says: "holds no client certificate"},
		{name: "a token of several lines is none",
			user: execSection(token(`tok\nHost: other`)), says: "holds no token"},
		{name: "one that prints without end has none", says: "is no ExecCredential",
			user: execSection("head -c 4000000 /dev/zero | tr '\\0' x")},
		{name: "a version that nobody knows is refused", says: "of apiVersion",
			user: execSection(token("tok"), "apiVersion: client.authentication.k8s.io/v1alpha1")},
		{name: "an auth-provider is refused", says: `has the auth-provider "gcp"`,
			user: "auth-provider: {name: gcp}"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			stderr := captureStderr(t)
			before := os.Environ()
			p := fromContextX(kubeconfigFile(t, "server: "+server, tt.user))
			found, err := Find(t.Context(), p, systemWith(nil, nil))
			if said := stderr(); said != "" {
				t.Errorf("on standard error: %q", said)
			}
			if !slices.Equal(os.Environ(), before) {
				t.Error("the environment of the process has changed")
			}
			if tt.says != "" {
				if !errors.Is(err, ErrSource) || !strings.Contains(err.Error(),
					tt.says) {
					t.Errorf("error %v, want %q", err, tt.says)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			want := &rest.Config{Host: server, BearerToken: tt.token}
			if tt.pair {
				want.CertData, want.KeyData = certificate, key
			}
			checkConfig(t, found.Config, want)
		})
	}
}

func TestPluginsAreToldOfTheirCaller(t *testing.T) {
	tests := []struct {
		name    string
		mode    string
		more    string
		proxy   string // of the profile
		cluster map[string]any
	}{
		{name: "that nobody can be asked", mode: "IfAvailable", more: "installHint: none"},
		{name: "also where somebody has to be", mode: "Always", more: "installHint: none"},
		{name: "which cluster it is, where the user wants that",
			mode: "Never", more: "provideClusterInfo: true",
			cluster: map[string]any{"server": server, "config": nil}},
		{name: "and through which proxy",
			mode: "Never", more: "provideClusterInfo: true",
			proxy: "http://proxy.example:3128",
			cluster: map[string]any{"server": server, "config": nil,
				"proxy-url": "http://proxy.example:3128"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "info")
			script := `printf %s "$KUBERNETES_EXEC_INFO" > ` + file + "; " +
				answerOf(`{"token": "tok"}`)
			user := strings.Replace(execSection(script, tt.more), "IfAvailable",
				tt.mode, 1)
			p := fromContextX(kubeconfigFile(t, "server: "+server+", proxy-url: "+
				"http://other.example", user))
			p.Cluster.ProxyURL = tt.proxy
			if _, err := Find(t.Context(), p, systemWith(nil, nil)); err != nil {
				t.Fatal(err)
			}
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			want := map[string]any{"kind": "ExecCredential",
				"apiVersion": "client.authentication.k8s.io/v1",
				"spec":       map[string]any{"interactive": false}}
			if tt.cluster != nil {
				want["spec"].(map[string]any)["cluster"] = tt.cluster
			}
			var got map[string]any
			if err := json.Unmarshal(text, &got); err != nil ||
				fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("told %v, want %v (%v)", got, want, err)
			}
		})
	}
}

// The proxy of a context may be its author's: what goes through it is the profile's decision.
func TestContextsAreReachedThroughTheProxyOfTheProfile(t *testing.T) {
	for _, user := range []string{"token: tok", execSection(answerOf(`{"token": "tok"}`))} {
		for _, proxy := range []string{"", "http://proxy.example:3128"} {
			cluster := "server: " + server + ", proxy-url: http://other.example:3128"
			p := fromContextX(kubeconfigFile(t, cluster, user))
			p.Cluster.ProxyURL = proxy
			found, err := Find(t.Context(), p, systemWith(nil, nil))
			if err != nil {
				t.Fatal(err)
			}
			if got := proxyOf(t, found.Config); got != proxy {
				t.Errorf("with a user of %.10s the way leads through %q, not %q",
					user, got, proxy)
			}
		}
	}
}

func proxyOf(t *testing.T, config *rest.Config) string {
	t.Helper()
	if config.Proxy == nil {
		return ""
	}
	request, err := http.NewRequest(http.MethodGet, config.Host, nil)
	if err != nil {
		t.Fatal(err)
	}
	found, err := config.Proxy(request)
	if err != nil {
		t.Fatal(err)
	}
	return found.String()
}

func TestPluginsOfOtherClustersAreNotRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ran")
	p := fromContextX(kubeconfigFile(t, "server: https://other.example",
		execSection("touch "+file)))
	if _, err := Find(t.Context(), p, systemWith(nil, nil)); !errors.Is(err, ErrSource) {
		t.Errorf("error %v", err)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("the plugin was run")
	}
}

func TestPluginsThatKubectlWouldNotRunAreNotRun(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ran")
	script := "touch " + file + "; " + answerOf(`{"token": "tok"}`)
	p := fromContextX(kubeconfigFile(t, "server: "+server, execSection(script)))
	system := systemWith(nil, nil)
	system.Kuberc = filepath.Join(t.TempDir(), "kuberc")
	policy := func(text string) {
		text = "apiVersion: kubectl.config.k8s.io/v1beta1\nkind: Preference\n" + text
		if err := os.WriteFile(system.Kuberc, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	const list = "credentialPluginPolicy: Allowlist\ncredentialPluginAllowlist: "
	for _, text := range []string{"credentialPluginPolicy: DenyAll\n", list +
		"[{command: aws}]\n",
		"credentialPluginPolicy: Some\n"} {
		policy(text)
		_, err := Find(t.Context(), p, system)
		if !errors.Is(err, kuberc.ErrDenied) || !errors.Is(err, ErrSource) ||
			!strings.Contains(err.Error(), fmt.Sprintf("%q", system.Kuberc)) {
			t.Errorf("%s: error %v", text, err)
		}
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("the plugin was run")
	}
	for _, text := range []string{"", list + "[{command: /bin/sh}]\n", list +
		"[{name: sh}]\n"} {
		policy(text)
		p.Bootstrap.Environment["PATH"] = "/bin"
		found, err := Find(t.Context(), p, system)
		check(t, found, err, "tok", nil)
	}
	// A token needs no plugin, as for kubectl.
	policy("credentialPluginPolicy: DenyAll\n")
	p = fromContextX(kubeconfigFile(t, "server: "+server, "token: tok"))
	found, err := Find(t.Context(), p, system)
	check(t, found, err, "tok", nil)
}

func TestABareNameIsNotLookedUpInThePathOfTheProcess(t *testing.T) {
	dir := t.TempDir()
	script := "#!/bin/sh\nPATH=/usr/bin:/bin\n" + answerOf(`{"token": "tok"}`) + "\n"
	if err := os.WriteFile(filepath.Join(dir, "forged-plugin"), []byte(script),
		0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", dir)
	t.Chdir(dir)
	user := strings.Replace(execSection(""), "/bin/sh", "forged-plugin", 1)
	p := fromContextX(kubeconfigFile(t, "server: "+server, user))
	for _, path := range []string{"/usr/bin:/bin", "", ".", ":/bin"} {
		p.Bootstrap.Environment["PATH"] = path
		if _, err := Find(t.Context(), p, systemWith(nil, nil)); !errors.Is(err,
			ErrSource) {
			t.Errorf("with PATH=%q: error %v", path, err)
		}
	}
	p.Bootstrap.Environment["PATH"] = "relative:" + dir
	found, err := Find(t.Context(), p, systemWith(nil, nil))
	check(t, found, err, "tok", nil)
}

func TestAPluginThatHangsIsEndedWithItsChildren(t *testing.T) {
	file := filepath.Join(t.TempDir(), "pid")
	ctx := untilWritten(t, file)
	user := execSection("sleep 1000 & echo $! > " + file + "; wait")
	p := fromContextX(kubeconfigFile(t, "server: "+server, user))
	if _, err := Find(ctx, p, systemWith(nil, nil)); !errors.Is(err, ErrSource) {
		t.Errorf("error %v", err)
	}
	waitUntilEnded(t, file)
}

// typed gives the process a standard input on which somebody has typed something.
func typed(t *testing.T) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "stdin")
	if err := os.WriteFile(path, []byte("typed\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	before := os.Stdin
	os.Stdin = file
	t.Cleanup(func() { os.Stdin = before; _ = file.Close() })
}

// newPair is a client certificate and its key, in PEM.
func newPair(t *testing.T) (certificate, key []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1),
		NotAfter: time.Now().Add(time.Hour)}
	signed, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey,
		private)
	if err != nil {
		t.Fatal(err)
	}
	encoded, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: signed}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: encoded})
}
