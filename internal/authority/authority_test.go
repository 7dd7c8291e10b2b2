package authority

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// issuer is a certificate authority, or what one has signed.
type issuer struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newIssuer(t *testing.T, name string, by *issuer, size int) *issuer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1),
		NotAfter: time.Now().Add(time.Hour), Subject: pkix.Name{CommonName: name}, IsCA: by == nil, BasicConstraintsValid: true,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	if size > 0 {
		template.Subject.OrganizationalUnit = []string{strings.Repeat("x", size)}
	}
	if by == nil {
		by = &issuer{template, key}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.certificate, &key.PublicKey,
		by.key)
	if err != nil {
		t.Fatal(err)
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &issuer{certificate, key}
}

func (i *issuer) pem() []byte { return encode([]*x509.Certificate{i.certificate}) }

// serve answers everybody with 403 behind a certificate of an authority.
func serve(t *testing.T, by *issuer) string {
	t.Helper()
	leaf := newIssuer(t, "server", by, 0)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter,
		r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("a credential was sent")
		}
		w.WriteHeader(http.StatusForbidden)
	}))
	server.TLS = &tls.Config{Certificates: []tls.Certificate{{
		Certificate: [][]byte{leaf.certificate.Raw}, PrivateKey: leaf.key}}}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server.URL
}

// many are certificates of others, of some size together.
func many(t *testing.T, size int) []byte {
	t.Helper()
	var all bytes.Buffer
	for i := 0; all.Len() < size; i++ {
		all.Write(newIssuer(t, fmt.Sprintf("other %d", i), nil, 8000).pem())
	}
	return all.Bytes()
}

func TestFit(t *testing.T) {
	ours, other := newIssuer(t, "ours", nil, 0), newIssuer(t, "stranger", nil, 0)
	server := serve(t, ours)
	large := many(t, 130<<10)
	huge := newIssuer(t, "huge", nil, 100<<10)
	tests := []struct {
		name   string
		server string
		bundle []byte
		want   []byte
		taken  []string
		err    error
	}{
		{name: "a small one stays as it is, and nobody is asked",
			server: "https://127.0.0.1:1", bundle: append([]byte("# ours\n"), ours.pem()...),
			want: append([]byte("# ours\n"), ours.pem()...)},
		{name: "what is between the certificates goes first", server: "https://127.0.0.1:1",
			bundle: append(bytes.Repeat([]byte("# comment\n"), 20<<10),
				append(ours.pem(), other.pem()...)...),
			want: append(ours.pem(), other.pem()...)},
		{name: "one that is there often stays once", server: "https://127.0.0.1:1",
			bundle: bytes.Repeat(ours.pem(), 400), want: ours.pem()},
		{name: "the one that has signed is taken", server: server,
			bundle: slices.Concat(large, ours.pem(), other.pem()), want: ours.pem(),
			taken: []string{"CN=ours"}},
		{name: "nobody there has signed", server: server,
			bundle: slices.Concat(large, other.pem()), err: api.ErrTLS},
		{name: "nobody answers", server: "https://127.0.0.1:1",
			bundle: slices.Concat(large, ours.pem()), err: api.ErrUnreachable},
		{name: "one alone is too large", server: serve(t, huge),
			bundle: slices.Concat(large, huge.pem()), err: ErrTooLarge},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, taken, err := Fit(t.Context(), profile.Cluster{Server: tt.server,
				CertificateAuthorityData: tt.bundle})
			if !errors.Is(err, tt.err) || tt.err == nil && err != nil {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if err != nil {
				return
			}
			if !bytes.Equal(got.CertificateAuthorityData, tt.want) ||
				!slices.Equal(taken, tt.taken) {
				t.Errorf("got %d bytes, want %d; took %q",
					len(got.CertificateAuthorityData), len(tt.want), taken)
			}
			if block, _ := pem.Decode(got.CertificateAuthorityData); block == nil ||
				!Fits(got) {
				t.Error("what is left cannot be handed on")
			}
		})
	}
}

// The numbers are what a plugin was started with, and what not: execve(2) takes 128 KiB.
func TestFits(t *testing.T) {
	tests := []struct {
		system string
		size   int
		fits   bool
	}{
		{"linux", 95 << 10, false}, {"linux", 94 << 10, true},
		{"windows", 24 << 10, false}, {"windows", 20 << 10, true},
		{"darwin", 380 << 10, true}, {"darwin", 400 << 10, false},
	}
	for _, tt := range tests {
		c := profile.Cluster{Server: "https://x",
			CertificateAuthorityData: make([]byte, tt.size)}
		if fits(c, tt.system) != tt.fits {
			t.Errorf("%s: %d bytes", tt.system, tt.size)
		}
	}
}
