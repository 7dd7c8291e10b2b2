package profile

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestServersThatAreTheSame(t *testing.T) {
	tests := []struct{ name, one, other string }{
		{"the same text is the same server", "https://k8s.example:6443",
			"https://k8s.example:6443"},
		{"the case of a host does not matter", "https://K8s.Example:6443",
			"https://k8s.example:6443"},
		{"the case of the scheme does not matter", "HTTPS://k8s.example",
			"https://k8s.example"},
		{"a host's final dot does not matter", "https://k8s.example.:6443",
			"https://k8s.example:6443"},
		{"final slashes do not matter", "https://k8s.example:6443///",
			"https://k8s.example:6443"},
		{"a path's final slashes do not matter", "https://k8s.example/k8s/c-1//",
			"https://k8s.example/k8s/c-1"},
		{"443 is the default port", "https://k8s.example:443", "https://k8s.example"},
		{"an empty port is the default port", "https://k8s.example:",
			"https://k8s.example"},
		{"a port's zeros do not matter", "https://k8s.example:00443",
			"https://k8s.example"},
		{"an IPv6 address has several spellings", "https://[2001:0DB8:0:0::1]:6443",
			"https://[2001:db8::1]:6443"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if one, other := identity(t, tt.one, "", nil), identity(t, tt.other, "",
				nil); one != other {
				t.Errorf("%+v is not %+v", one, other)
			}
		})
	}
}

func TestServersThatAreNotTheSame(t *testing.T) {
	tests := []struct{ name, one, other string }{
		{"another host is another server", "https://k8s.example",
			"https://k8s.example.evil"},
		{"another port is another server", "https://k8s.example:6443",
			"https://k8s.example:6444"},
		{"another path is another server", "https://k8s.example/c-1",
			"https://k8s.example/c-2"},
		{"a path's case matters", "https://k8s.example/c-1", "https://k8s.example/C-1"},
		{"an escaped slash is no slash", "https://k8s.example/a/b",
			"https://k8s.example/a%2Fb"},
		{"an address is not its IPv6 form", "https://10.0.0.1",
			"https://[::ffff:10.0.0.1]"},
		{"another zone is another address", "https://[fe80::1%25eth0]",
			"https://[fe80::1%25eth1]"},
		{"a letter that some clients take for another one is not it",
			"https://\u212a8s.example",
			"https://k8s.example"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := identity(t, tt.one, "", nil).difference(identity(t, tt.other, "",
				nil))
			if !errors.Is(err, ErrOtherCluster) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestServersThatAreRefused(t *testing.T) {
	tests := []struct{ name, server string }{
		{"nothing", ""},
		{"text that is no URL", "https://a b"},
		{"plain HTTP", "http://k8s.example"},
		{"a host without a scheme", "k8s.example:6443"},
		{"another scheme", "unix:///var/run/api"},
		{"no host", "https://:6443"},
		{"a host of dots", "https://..:6443"},
		{"an escaped letter in the host", "https://k8s.%65xample"},
		{"two final dots", "https://k8s.example..:6443"},
		{"a port out of range", "https://k8s.example:65536"},
		{"a zone that is no name", "https://[fe80::1%25%20]"},
		{"user information", "https://k8s.example@evil.example"},
		{"a user and a password", "https://u:p@k8s.example"},
		{"empty user information", "https://@k8s.example"},
		{"a query", "https://k8s.example?a=b"},
		{"an empty query", "https://k8s.example?"},
		{"a fragment", "https://k8s.example#x"},
		{"an empty fragment", "https://k8s.example#"},
		{"a path that goes up", "https://k8s.example/c-2/../c-1"},
		{"a path that goes up in escapes", "https://k8s.example/c-2/%2e%2E/c-1"},
		{"a path that stays", "https://k8s.example/./c-1"},
		{"a path with an empty part", "https://k8s.example/a//b"},
		{"a path with an escaped backslash", "https://k8s.example/a%5c..%5cb"},
		{"a control character", "https://k8s.example/\x1b[2J"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got, err := IdentityOf(tt.server, "", nil); !errors.Is(err, ErrCluster) {
				t.Errorf("identity %+v, error %v", got, err)
			}
		})
	}
}

func TestTLSServerName(t *testing.T) {
	const server = "https://k8s.example:6443"
	if identity(t, server, "K8S.example.", nil) != identity(t, server, "", nil) {
		t.Error("the server's own name is not the default")
	}
	if identity(t, server, "Other.example", nil) != identity(t, server, "other.example.", nil) {
		t.Error("case or a final dot matters")
	}
	own, other := identity(t, server, "", nil), identity(t, server, "other.example", nil)
	if err := own.difference(other); !errors.Is(err, ErrOtherCluster) {
		t.Errorf("another name: %v", err)
	}
	for _, name := range []string{".", "..", "k8s.example.."} {
		if _, err := IdentityOf(server, name, nil); !errors.Is(err, ErrCluster) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestCertificateAuthorities(t *testing.T) {
	a, b := certificate(t), certificate(t)
	tests := []struct {
		name   string
		bundle []byte
		same   bool // as a and b
		err    error
	}{
		{name: "the order does not matter", bundle: join(b, a), same: true},
		{name: "repetition does not matter", bundle: join(a, b, a, a), same: true},
		{name: "text between certificates does not matter",
			bundle: join([]byte("# ours\n"), a, []byte("\n\n# theirs\n"), b),
			same:   true},
		{name: "line ends do not matter",
			bundle: bytes.ReplaceAll(join(a, b), []byte("\n"), []byte("\r\n")),
			same:   true},
		{name: "a certificate less is another authority", bundle: a},
		{name: "a certificate more is another authority", bundle: join(a, b,
			certificate(t))},
		{name: "a replaced certificate is another authority", bundle: join(a,
			certificate(t))},
		{name: "no bundle is the system's roots", bundle: nil},
		{name: "a private key is refused", bundle: join(a, b, block("PRIVATE KEY", nil)),
			err: ErrCluster},
		{name: "a trusted certificate is refused",
			bundle: join(a, b, block("TRUSTED CERTIFICATE", nil)), err: ErrCluster},
		{name: "a certificate with headers is refused",
			bundle: join(a, b, block("CERTIFICATE", map[string]string{"A": "b"})),
			err:    ErrCluster},
		{name: "a block that cannot be decoded is refused", err: ErrCluster,
			bundle: join(a, b,
				[]byte("-----BEGIN CERTIFICATE-----\n!!\n-----END "+
					"CERTIFICATE-----\n"))},
		{name: "a block that does not begin its line is refused",
			bundle: join(a, b, []byte(" "), certificate(t)), err: ErrCluster},
		{name: "a bundle without a certificate is refused", bundle: []byte("\n"),
			err: ErrCluster},
	}
	wanted := identity(t, "https://k", "", join(a, b))
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := IdentityOf("https://k", "", tt.bundle)
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v", err)
			}
			if err == nil && (wanted.difference(got) == nil) != tt.same {
				t.Errorf("difference %v", wanted.difference(got))
			}
		})
	}
}

func TestClustersThatAreTheSame(t *testing.T) {
	a, b := certificate(t), certificate(t)
	own := Cluster{Server: "https://k8s.example:6443", TLSServerName: "kubernetes",
		CertificateAuthorityData: a}
	with := func(edit func(*Cluster)) Cluster { other := own; edit(&other); return other }
	tests := []struct {
		name  string
		other Cluster
		err   error
	}{
		{"itself", own, nil},
		{"another spelling", with(func(c *Cluster) { c.Server = "https://K8S.example.:6443/" }),
			nil},
		{"another way through the network",
			with(func(c *Cluster) { c.ProxyURL = "http://proxy.example:3128" }), nil},
		{"another server", with(func(c *Cluster) { c.Server = "https://k8s.example" }),
			ErrOtherCluster},
		{"another TLS server name", with(func(c *Cluster) { c.TLSServerName = "" }),
			ErrOtherCluster},
		{"another certificate authority", with(func(c *Cluster) { c.CertificateAuthorityData = b }),
			ErrOtherCluster},
		{"the system's certificate authorities",
			with(func(c *Cluster) { c.CertificateAuthorityData = nil }),
			ErrOtherCluster},
		{"no cluster at all", Cluster{}, ErrOtherCluster},
		{"a server without TLS", with(func(c *Cluster) { c.Server = "http://k8s.example:6443" }),
			ErrOtherCluster},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := own.Difference(tt.other); !errors.Is(err, tt.err) {
				t.Errorf("from here: %v", err)
			}
			if err := tt.other.Difference(own); (err == nil) != (tt.err == nil) {
				t.Errorf("from there: %v", err)
			}
		})
	}
	if err := (Cluster{}).Difference(own); !errors.Is(err, ErrCluster) ||
		errors.Is(err, ErrOtherCluster) {
		t.Errorf("from what is no cluster: %v", err)
	}
}

func FuzzIdentityOf(f *testing.F) {
	f.Add("https://k8s.example:6443/a/", "name",
		[]byte("-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----\n"))
	f.Add("https://[2001:DB8::1%25eth0]:443", "10.0.0.1", []byte(nil))
	f.Add("https://u:p@h/%2e%2e/?q#f", "", []byte("x"))
	f.Add("https://h", "..", []byte(nil))
	f.Add("https://[0::%25%20]", "0", []byte(nil))
	// an "@" behind the first slash is a part of the path
	f.Add("https://h/u:p@other:443/%3F%23", "", []byte(nil))
	f.Fuzz(func(t *testing.T, server, name string, ca []byte) {
		got, err := IdentityOf(server, name, ca)
		if err != nil {
			if !errors.Is(err, ErrCluster) {
				t.Errorf("error of no kind: %v", err)
			}
			return
		}
		again, err := IdentityOf(got.Server, got.TLSServerName, ca)
		if err != nil || again != got {
			t.Errorf("%+v becomes %+v, %v", got, again, err)
		}
		if !strings.HasPrefix(got.Server, "https://") || strings.ContainsAny(got.Server,
			"?#") {
			t.Errorf("server %q", got.Server)
		}
		before, err := url.Parse(server)
		if err != nil {
			t.Fatal(err)
		}
		after, err := url.Parse(got.Server)
		if err != nil || before.User != nil || after.User != nil ||
			after.Hostname() != normaliseHost(before.Hostname()) {
			t.Errorf("server %q leads to %v, %q to %v, %v", server, before, got.Server,
				after, err)
		}
	})
}

func identity(t *testing.T, server, name string, ca []byte) Identity {
	t.Helper()
	got, err := IdentityOf(server, name, ca)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// certificate is a new certificate authority in PEM.
func certificate(t testing.TB) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1),
		Subject:  pkix.Name{CommonName: "ca"},
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func block(kind string, headers map[string]string) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Headers: headers, Bytes: []byte("abc")})
}

func join(parts ...[]byte) []byte { return slices.Concat(parts...) }

func TestNoErrorShowsUserInformation(t *testing.T) {
	const password = "hunter2"
	for _, server := range []string{
		"https://jane:" + password + "@host", "http://jane:" + password + "@host",
		"https://" + password + "@host", "jane:" + password + "@host:6443",
		"https://jane:" + password + "%zz@host", "https://jane:" + password + "@ho st",
		"https://jane:" + password + "/@host:6443", "https://host?token=" + password,
		"ftp://jane:" + password + "@host?x", "https://jane:" + password + "@host:99999",
		"https://host#" + password, "https://jane:" + password + "@host/a/../b",
	} {
		_, err := IdentityOf(server, "", nil)
		if !errors.Is(err, ErrCluster) || strings.Contains(err.Error(), password) {
			t.Errorf("%q: %v", server, err)
		}
	}
}
