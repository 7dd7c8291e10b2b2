package kubeconfig

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/sa-exec-credential/sa-exec-credential/internal/files/filestest"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

const command = "/opt/bin/sa-exec-credential"

var testCA = sync.OnceValue(func() []byte {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	certificate := &x509.Certificate{SerialNumber: big.NewInt(1),
		NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, certificate, certificate, &key.PublicKey,
		key)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
})

func testEntry() Entry {
	return Entry{
		ContextName: "ci.build@prod", ClusterName: "ci.build@prod-0a1b2c3d",
		UserName: "ci.build@prod-0a1b2c3d",
		Server:   "https://api.example.com:6443", TLSServerName: "kubernetes", CA: testCA(),
		ProxyURL:  "socks5://localhost:1080",
		Namespace: "build", Profile: "ci.build@prod", Command: command,
	}
}

func TestRenderedKubeconfigsDifferInOneComment(t *testing.T) {
	e := testEntry()
	desktop := "# Absolute, because desktop programs"
	for source, comment := range map[profile.Source]string{
		"": desktop, profile.SourceKeyring: desktop, profile.SourceContext: desktop,
		profile.SourceInCluster: "# The path in the container's image.",
		profile.SourceTokenFile: "in the job's PATH",
		profile.SourceEnv:       "in the job's PATH",
		profile.SourceCommand:   "in the job's PATH",
	} {
		t.Run(string(source), func(t *testing.T) {
			e.Source = source
			data, err := Render(e)
			if err != nil {
				t.Fatal(err)
			}
			before, _, _ := strings.Cut(string(data), "      command:")
			_, above, _ := strings.Cut(before, "apiVersion: \""+defaultAPIVersion+"\"\n")
			if !strings.Contains(above, comment) ||
				strings.Contains(above, desktop) != (comment == desktop) {
				t.Errorf("above the command: %q", above)
			}
			if !strings.HasPrefix(string(data), "apiVersion: v1\n") {
				t.Errorf("the template's own comment is there:\n%s", data)
			}
			got := mustLoad(t, data)
			checkEntry(t, got, e)
			if got.CurrentContext != e.ContextName {
				t.Errorf("current context %q", got.CurrentContext)
			}
		})
	}
}

func TestRenderLeavesOutWhatIsEmpty(t *testing.T) {
	e := testEntry()
	e.TLSServerName, e.CA, e.ProxyURL, e.Namespace = "", nil, "", ""
	data, err := Render(e)
	if err != nil {
		t.Fatal(err)
	}
	for _, field := range []string{"tls-server-name", "certificate-authority-data", "proxy-url",
		"namespace"} {
		if strings.Contains(string(data), field+":") {
			t.Errorf("%s is there:\n%s", field, data)
		}
	}
	checkEntry(t, mustLoad(t, data), e)
}

func TestRenderTakesValuesForData(t *testing.T) {
	for _, value := range []string{
		`"`, `'`, "a\nb: c", "{{ .Profile }}", "\x1b[31mred\x1b[0m", "CLUSTER", "SERVER",
		"yes", "null",
		"0x10", "1:20", "~", "#x",
		"*a", "&a", "!!binary x", "- a", "a: b", "<<", " a ", "\t", "\u2028", "\u0085",
		"\x00", "|",
		">-", "%YAML", "---", "ü",
	} {
		e := testEntry()
		e.ContextName, e.ClusterName, e.UserName, e.Namespace = value, value, value, value
		e.Command = "/" + value
		data, err := Render(e)
		if err != nil {
			t.Errorf("%q: %v", value, err)
			continue
		}
		checkEntry(t, mustLoad(t, data), e)
		path := filepath.Join(t.TempDir(), "config")
		if _, err := Merge([]string{path}, e, true); err != nil {
			t.Errorf("%q: merging: %v", value, err)
			continue
		}
		checkEntry(t, mustLoadFile(t, path), e)
	}
}

func TestEntriesThatNoClientShouldGet(t *testing.T) {
	tests := []struct {
		name   string
		change func(*Entry)
		want   error
	}{
		{"a relative command would be looked for beside the kubeconfig",
			func(e *Entry) { e.Command = "./x" }, ErrEntry},
		{"no command", func(e *Entry) { e.Command = "" }, ErrEntry},
		{"no context name", func(e *Entry) { e.ContextName = "" }, ErrEntry},
		{"text that is no UTF-8", func(e *Entry) { e.ContextName = "\xff" }, ErrEntry},
		{"an old apiVersion", func(e *Entry) { e.APIVersion = "client.authentication.k8s.io/v1alpha1" },
			ErrEntry},
		{"a profile name with a path", func(e *Entry) { e.Profile = "../x" },
			profile.ErrName},
		{"a server without TLS", func(e *Entry) { e.Server = "http://x" },
			profile.ErrCluster},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			e := testEntry()
			tt.change(&e)
			if _, err := Render(e); !errors.Is(err, tt.want) {
				t.Errorf("error %v", err)
			}
			path := filepath.Join(t.TempDir(), "config")
			if _, err := Merge([]string{path}, e, true); !errors.Is(err, tt.want) {
				t.Errorf("merging: %v", err)
			}
			if _, err := os.Lstat(path); err == nil {
				t.Error("a file was created")
			}
		})
	}
	e := testEntry()
	e.Command = "sa-exec-credential"
	if _, err := Render(e); err != nil {
		t.Errorf("a bare name, for PATH: %v", err)
	}
}

func TestNamesAreUniqueForEachCluster(t *testing.T) {
	p := profile.Profile{Name: "ci", Namespace: "build",
		Cluster: profile.Cluster{Server: "https://a"}}
	one, err := EntryFor(p, command)
	if err != nil {
		t.Fatal(err)
	}
	p.Cluster.Server = "https://b"
	two, err := EntryFor(p, command)
	if err != nil {
		t.Fatal(err)
	}
	if one.UserName == two.UserName || one.ClusterName == two.ClusterName ||
		one.ContextName != "ci" {
		t.Errorf("names %+v and %+v", one, two)
	}
}

// checkEntry compares what clients read with an entry.
func checkEntry(t *testing.T, config *clientcmdapi.Config, e Entry) {
	t.Helper()
	context, cluster, user := config.Contexts[e.ContextName], config.Clusters[e.ClusterName],
		config.AuthInfos[e.UserName]
	if context == nil || cluster == nil || user == nil || user.Exec == nil {
		t.Fatalf("entries of %q are missing in %v", e.ContextName, config)
	}
	if context.Cluster != e.ClusterName || context.AuthInfo != e.UserName ||
		context.Namespace != e.Namespace {
		t.Errorf("context %+v", context)
	}
	if cluster.Server != e.Server || cluster.TLSServerName != e.TLSServerName ||
		cluster.ProxyURL != e.ProxyURL ||
		string(cluster.CertificateAuthorityData) != string(e.CA) ||
		cluster.Extensions[execExtension] == nil {
		t.Errorf("cluster %+v", cluster)
	}
	section := user.Exec
	if section.Command != e.Command || strings.Join(section.Args,
		"|") != "get|--profile|"+e.Profile ||
		section.APIVersion != defaultAPIVersion || !section.ProvideClusterInfo ||
		section.InteractiveMode != "Never" ||
		section.InstallHint == "" || len(section.Env) != 0 {
		t.Errorf("exec section %+v", section)
	}
}

func mustLoad(t *testing.T, data []byte) *clientcmdapi.Config {
	t.Helper()
	config, err := clientcmd.Load(data)
	if err != nil {
		t.Fatalf("client-go: %v\n%s", err, data)
	}
	return config
}

func mustLoadFile(t *testing.T, path string) *clientcmdapi.Config {
	t.Helper()
	return mustLoad(t, []byte(read(t, path)))
}

var (
	read      = filestest.Read
	write     = filestest.Write
	onlyFiles = filestest.Only
)

func mustEqual(t *testing.T, want, got *clientcmdapi.Config) {
	t.Helper()
	left, err := clientcmd.Write(*want)
	if err != nil {
		t.Fatal(err)
	}
	right, err := clientcmd.Write(*got)
	if err != nil {
		t.Fatal(err)
	}
	if string(left) != string(right) {
		t.Errorf("want\n%s\ngot\n%s", left, right)
	}
}
