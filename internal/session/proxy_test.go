package session

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/bootstrap"
	"github.com/sa-exec-credential/sa-exec-credential/internal/call"
	"github.com/sa-exec-credential/sa-exec-credential/internal/execcred"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

// hidden is a server that only a proxy finds: no name resolves below "invalid" (RFC 2606).
const hidden = "https://api.invalid:6443"

// apiServer counts what it is asked.
type apiServer struct {
	*httptest.Server
	asked atomic.Int32
	code  int
}

func newAPIServer(t *testing.T, certificates ...tls.Certificate) *apiServer {
	t.Helper()
	s := &apiServer{code: http.StatusCreated}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter,
		_ *http.Request) {
		s.asked.Add(1)
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(s.code)
		_, _ = io.WriteString(w, `{"kind":"SelfSubjectReview","apiVersion":"authentication.k8s.io/v1",`+
			`"status":{"userInfo":{"username":"jane"}}}`)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{Certificates: certificates} // none: httptest's own
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

// ownCertificate is one that nobody else has signed, for httptest's names.
func ownCertificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1),
		NotAfter: time.Now().Add(time.Hour), IsCA: true,
		BasicConstraintsValid: true, DNSNames: []string{"example.com"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func (s *apiServer) ca() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

// proxyTo leads every CONNECT to one address, and counts them.
func proxyTo(t *testing.T, address string) (proxyURL string, used *atomic.Int32) {
	t.Helper()
	used = &atomic.Int32{}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		used.Add(1)
		out, err := net.Dial("tcp", address)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer out.Close()
		in, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer in.Close()
		_, _ = io.WriteString(in, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(out, in) }()
		_, _ = io.Copy(in, out)
	}))
	t.Cleanup(proxy.Close)
	return proxy.URL, used
}

// closedPort is an address on which nobody listens.
func closedPort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().String()
}

// silentAddress accepts connections and says nothing.
func silentAddress(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	return listener.Addr().String()
}

// calledWith is a session whose client has named a proxy.
func calledWith(t *testing.T, cluster profile.Cluster, proxy string) *Session {
	t.Helper()
	h := host.System().With(host.Snapshot([]string{"HOME=" + t.TempDir()}))
	s := &Session{Call: call.Call{Host: h, Profile: profile.Profile{Name: "p", Cluster: cluster,
		Bootstrap: profile.Bootstrap{Source: profile.SourceKeyring}}}}
	info := execcred.Info{Cluster: &execcred.Cluster{Server: cluster.Server,
		TLSServerName:            cluster.TLSServerName,
		CertificateAuthorityData: cluster.CertificateAuthorityData, ProxyURL: proxy}}
	if err := s.CheckClient(info); err != nil {
		t.Fatal(err)
	}
	return s
}

// ask makes the one call that all calls stand for.
func (s *Session) ask(ctx context.Context, config *rest.Config) (user mint.User, err error) {
	_, err = s.call(ctx, config, func(ctx context.Context, client *mint.Client) error {
		user, err = client.WhoAmI(ctx)
		return err
	})
	return user, err
}

func TestTheClientsProxyIsUsedWhenThereIsNoOtherConnection(t *testing.T) {
	server, impostor := newAPIServer(t), newAPIServer(t, ownCertificate(t))
	address := server.Listener.Addr().String()
	cluster := profile.Cluster{Server: hidden, TLSServerName: "example.com",
		CertificateAuthorityData: server.ca()}
	direct := profile.Cluster{Server: server.URL, CertificateAuthorityData: server.ca()}
	through := func(c profile.Cluster, proxy string) profile.Cluster { c.ProxyURL = proxy; return c }
	elsewhere := direct
	elsewhere.CertificateAuthorityData = impostor.ca()
	good, _ := proxyTo(t, address)
	tests := []struct {
		name    string
		cluster profile.Cluster
		leads   string // where the client's proxy leads to; empty: it names none
		code    int    // of the server's answers; 0: 201
		used    int32
		err     error
	}{
		{name: "a name that cannot be resolved", cluster: cluster, leads: address, used: 1},
		{name: "a proxy of the profile's that is gone", leads: address, used: 1,
			cluster: through(cluster, "http://"+closedPort(t))},
		{name: "a proxy of the profile's that refuses", leads: address, used: 1,
			cluster: through(cluster, refusing(t))},
		{name: "a server that says nothing", leads: address, used: 1,
			cluster: profile.Cluster{Server: "https://" + silentAddress(t),
				TLSServerName:            "example.com",
				CertificateAuthorityData: server.ca()}},
		{name: "the profile's own way works", cluster: direct, leads: address},
		{name: "the profile's own proxy works", cluster: through(cluster, good),
			leads: address},
		{name: "the server answers with an error", cluster: direct, leads: address,
			code: http.StatusInternalServerError, err: api.ErrServer},
		{name: "the server is not trusted", cluster: elsewhere, leads: address,
			err: api.ErrTLS},
		{name: "the proxy leads to a server that is not trusted", cluster: cluster,
			leads: impostor.Listener.Addr().String(), used: 1, err: api.ErrTLS},
		{name: "the proxy leads nowhere", cluster: cluster, leads: closedPort(t), used: 1,
			err: api.ErrUnreachable},
		{name: "the client names none", cluster: cluster, err: api.ErrUnreachable},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			server.code = http.StatusCreated
			if tt.code != 0 {
				server.code = tt.code
			}
			proxy, used := "", &atomic.Int32{}
			if tt.leads != "" {
				proxy, used = proxyTo(t, tt.leads)
			}
			s := calledWith(t, tt.cluster, proxy)
			config, err := bootstrap.WithToken(tt.cluster, secret.New("secret"))
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
			defer cancel()
			user, err := s.ask(ctx, config)
			if !errors.Is(err, tt.err) || err == nil && user.Name != "jane" {
				t.Errorf("user %+v, error %v, want %v", user, err, tt.err)
			}
			if used.Load() != tt.used {
				t.Errorf("the client's proxy was used %d times", used.Load())
			}
		})
	}
	if impostor.asked.Load() != 0 {
		t.Error("something was sent to a server that is not trusted")
	}
}

func TestAProxyWithTLSOfItsOwnIsShownNoClientCertificate(t *testing.T) {
	s := calledWith(t, profile.Cluster{Server: hidden,
		CertificateAuthorityData: newAPIServer(t).ca()}, "https://proxy.example.com")
	if s.throughClient(&rest.Config{BearerToken: "tok"}) == nil {
		t.Error("not used for a token")
	}
	for _, config := range []*rest.Config{
		{TLSClientConfig: rest.TLSClientConfig{CertData: []byte("x")}},
		{TLSClientConfig: rest.TLSClientConfig{CertFile: "/x"}},
	} {
		if s.throughClient(config) != nil {
			t.Errorf("used with %+v", config.TLSClientConfig)
		}
	}
}

func TestWhatIsNoProxyIsNotUsed(t *testing.T) {
	ca := newAPIServer(t).ca()
	for _, proxy := range []string{"", "proxy:3128", "file:///etc/passwd", "http://",
		"ftp://proxy", ":"} {
		s := calledWith(t, profile.Cluster{Server: hidden, CertificateAuthorityData: ca},
			proxy)
		if s.throughClient(&rest.Config{}) != nil {
			t.Errorf("%q is used", proxy)
		}
	}
	same := calledWith(t, profile.Cluster{Server: hidden, CertificateAuthorityData: ca,
		ProxyURL: "http://proxy"}, "http://proxy")
	if same.throughClient(&rest.Config{}) != nil {
		t.Error("the profile's own is tried twice")
	}
}

// refusing is a proxy that lets nobody through.
func refusing(t *testing.T) (url string) {
	t.Helper()
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusProxyAuthRequired)
	}))
	t.Cleanup(proxy.Close)
	return proxy.URL
}
