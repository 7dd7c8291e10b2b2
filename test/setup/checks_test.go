//go:build linux

package setup_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

// withAuthorities gives all clusters of the administrator's kubeconfig another bundle.
func (m *machine) withAuthorities(bundle []byte) {
	m.Helper()
	m.AdminWith(func(config *clientcmdapi.Config) {
		for _, cluster := range config.Clusters {
			cluster.CertificateAuthorityData = bundle
		}
	})
}

// strangers are certificate authorities that have nothing to do with the control plane, of some
// size together.
func strangers(t *testing.T, size int) []byte {
	t.Helper()
	var bundle bytes.Buffer
	for bundle.Len() < size {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		template := &x509.Certificate{SerialNumber: big.NewInt(1), IsCA: true,
			BasicConstraintsValid: true, NotAfter: time.Now().Add(time.Hour),
			Subject: pkix.Name{CommonName: "stranger",
				OrganizationalUnit: []string{strings.Repeat("x", 4000)}}}
		der, err := x509.CreateCertificate(rand.Reader, template, template,
			&key.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		_ = pem.Encode(&bundle, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	return bundle.Bytes()
}

// TestABundleThatNoClientCanHandOn has one of which kubectl itself says "argument list too long".
func TestABundleThatNoClientCanHandOn(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	m.withAuthorities(slices.Concat(strangers(t, 100<<10), lab.Plane.CAPEM))
	arguments := []string{"ci", "-n", m.Namespace, "--profile", "it", "--cluster-role", "view"}
	const said = "the profile and its context get what the server's certificate is signed by"
	dry := m.Setup(append(arguments, "--dry-run")...).Succeeds()
	lab.Has(t, "the dry run", dry.Stderr, said)
	lab.Has(t, "setup", m.Setup(arguments...).Succeeds().Stderr, said)
	m.Kubectl("--context", "it", "get", "pods").Succeeds()
	if size := len(m.Load("it").Cluster.CertificateAuthorityData); size > 4<<10 {
		t.Errorf("the profile has a bundle of %d bytes", size)
	}

	// The administrator's context still has all of them, and goes on with those of the profile.
	before := m.Read(m.Kubeconfig())
	m.Setup(arguments...).Succeeds()
	if m.Read(m.Kubeconfig()) != before {
		t.Error("a second setup changed the kubeconfig")
	}
	m.Plugin("rotate", "--profile", "it").Succeeds()
	m.Kubectl("--context", "it", "get", "pods").Succeeds()
	m.Setup("ci", "-n", m.Namespace, "--profile", "other", "--bootstrap",
		"context=admin@test").Succeeds()
	m.Kubectl("--context", "other", "get", "pods").Succeeds()

	// A context with a static token gets them, too.
	token := m.AdminsToken("create", "token", "ci", "-n", m.Namespace)
	m.AdminWith(func(config *clientcmdapi.Config) {
		config.AuthInfos["old"] = &clientcmdapi.AuthInfo{Token: token}
		config.Contexts["old"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: "old",
			Namespace: m.Namespace}
	})
	lab.Permit(token) // in the kubeconfig that it is migrated out of
	m.Plugin("migrate", "old", "--kubeconfig", m.Admin, "--admin-context", "admin@test",
		"--profile", "old").Succeeds()
	m.Exec(lab.Plane.Kubectl, "--kubeconfig", m.Admin, "--context", "old", "get",
		"pods").Succeeds()
	m.Plugin("uninstall", "ci", "-n", m.Namespace, "--kubeconfig", m.Admin, "--context",
		"admin@test").Succeeds()
}

// TestABundleWithSomethingElse has one that kubectl takes, because it passes over what it cannot
// read.
func TestABundleWithSomethingElse(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	junk := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("c0nt3nt")})
	ca := lab.Plane.CAPEM
	m.withAuthorities(slices.Concat(ca, []byte("# ours\n"), junk, ca))
	arguments := []string{"ci", "-n", m.Namespace, "--cluster-role", "view"}
	for _, more := range [][]string{nil, {"--dry-run"}, {"--no-limits"}} {
		r := m.Setup(append(arguments, more...)...)
		r.Fails(3, `cluster "test": not a usable cluster: the certificate authority `+
			`bundle holds a malformed certificate: number 2 of 3, at line`)
		if strings.Contains(r.Stderr, "c0nt3nt") {
			t.Error("what is in it is shown")
		}
	}
	token := m.AdminsToken("create", "token", "default", "-n", "default")
	m.AdminWith(func(config *clientcmdapi.Config) {
		config.AuthInfos["old"] = &clientcmdapi.AuthInfo{Token: token}
		config.Contexts["old"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: "old"}
	})
	lab.Permit(token)
	for _, more := range [][]string{nil, {"--dry-run"}} {
		m.Plugin(append([]string{"migrate", "old", "--kubeconfig", m.Admin,
			"--admin-context", "admin@test", "--allow-default-account"},
			more...)...).Fails(3, "number 2 of 3, at line")
	}
	if lab.AsAdmin(t, "", "get", "namespace", m.Namespace).Code == 0 {
		t.Error("something was created")
	}
}

// loginProxy is in front of the control plane as Rancher is: it knows whoever has its own token,
// acts as the administrator for them, and refuses everybody else.
type loginProxy struct {
	url string
	ca  []byte

	mu       sync.Mutex
	requests []string          // that write
	answers  map[string]string // of its own, by path
}

const proxyToken = "kubeconfig-u-abc:0123456789"

func newLoginProxy(t *testing.T, as *rest.Config) *loginProxy {
	t.Helper()
	transport, err := rest.TransportFor(as)
	if err != nil {
		t.Fatal(err)
	}
	target, err := url.Parse(lab.Plane.Server)
	if err != nil {
		t.Fatal(err)
	}
	p := &loginProxy{}
	forward := &httputil.ReverseProxy{Transport: transport,
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.Header.Del("Authorization")
		}}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter,
		r *http.Request) {
		if r.Header.Get("Authorization") != "Bearer "+proxyToken {
			http.Error(w, "clusters need a login", http.StatusUnauthorized)
			return
		}
		line := r.Method + " " + r.URL.Path
		if lab.Writes(line) && !r.URL.Query().Has("dryRun") {
			p.mu.Lock()
			p.requests = append(p.requests, line)
			p.mu.Unlock()
		}
		p.mu.Lock()
		answer := p.answers[r.URL.Path]
		p.mu.Unlock()
		if answer != "" {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write([]byte(answer))
			return
		}
		forward.ServeHTTP(w, r)
	}))
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	server.StartTLS()
	t.Cleanup(server.Close)
	p.url = server.URL
	p.ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	return p
}

// wrote are the requests that changed something; a token that was tried does not.
func (p *loginProxy) wrote() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(p.requests), func(line string) bool {
		return strings.HasSuffix(line, "/token")
	})
}

// through has the administrator reach the control plane through the proxy.
func (m *machine) through(p *loginProxy) {
	m.Helper()
	m.AdminWith(func(config *clientcmdapi.Config) {
		config.Clusters = map[string]*clientcmdapi.Cluster{"test": {Server: p.url,
			CertificateAuthorityData: p.ca}}
		for name := range config.AuthInfos {
			config.AuthInfos[name] = &clientcmdapi.AuthInfo{Token: proxyToken}
		}
	})
}

func TestAServerThatTakesNoAccountTokens(t *testing.T) {
	t.Parallel()
	m := newMachine(t)
	p := newLoginProxy(t, lab.Config())
	m.through(p)
	arguments := []string{"ci", "-n", m.Namespace, "--cluster-role", "view"}
	const (
		info  = "/api/v1/namespaces/kube-public/configmaps/cluster-info"
		slice = "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"
		own   = "; the cluster's own address, as it says: "
	)
	published := func(server string) string {
		return `{"data": {"kubeconfig": "clusters: [{name: '', cluster: {server: '` +
			server + `'}}]"}}`
	}
	for _, tt := range []struct {
		name    string
		answers map[string]string
		says    string // at the end of the error
	}{
		{"that says nothing of the cluster", nil, "is a proxy with logins of its own"},
		{"in front of a cluster of kubeadm", map[string]string{
			info: published("https://k8s.example.com:6443")},
			own + "https://k8s.example.com:6443"},
		{"in front of others", map[string]string{slice: `{"endpoints": [{"addresses": ` +
			`["10.0.0.7"]}, {"addresses": ["fd00::7"]}], "ports": [{"port": 6443}]}`},
			own + "https://10.0.0.7:6443, https://[fd00::7]:6443"},
		{"that the cluster knows itself by", map[string]string{info: published(p.url)},
			"is a proxy with logins of its own"},
		{"that answers nonsense", map[string]string{info: published("ftp://x"),
			slice: "[]"}, "is a proxy with logins of its own"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := m.in(t)
			p.mu.Lock()
			p.answers = tt.answers
			p.mu.Unlock()
			for _, more := range [][]string{nil, {"--dry-run"}} {
				m.Setup(append(arguments, more...)...).Fails(5,
					"the server does not accept ServiceAccount tokens: one "+
						"that was issued a moment ago is refused (401), "+
						"so "+p.url,
					tt.says+"\n", "authorized cluster endpoint")
			}
		})
	}
	if wrote := p.wrote(); len(wrote) > 0 {
		t.Errorf("something was written: %q", wrote)
	}
	if files, err := filepath.Glob(m.Path(".config", "sa-exec-credential", "profiles",
		"*.yaml")); err != nil || len(files) > 0 {
		t.Errorf("there are the profiles %q", files)
	}
}
