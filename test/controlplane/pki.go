package controlplane

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"time"
)

// The files of the state that more than one program reads, relative to Dir.
const (
	caFile                      = "ca.crt"
	caKeyFile                   = "ca.key"
	servingCertFile             = "apiserver.crt"
	servingKeyFile              = "apiserver.key"
	serviceAccountKeyFile       = "service-account.key"
	serviceAccountPublicKeyFile = "service-account.pub"
)

// ServingHosts returns the names and addresses in the API server's certificate.
// The example.test ones resolve nowhere: they are for tls-server-name.
func ServingHosts() []string {
	return []string{
		"127.0.0.1", "::1", "localhost",
		"10.0.0.1", "kubernetes", "kubernetes.default", "kubernetes.default.svc",
		"api.example.test", "other.example.test",
	}
}

// Authority signs certificates, as the certificate authority of a cluster does.
type Authority struct {
	// PEM is the authority's own certificate.
	PEM []byte

	certificate *x509.Certificate
	key         crypto.Signer
}

// KeyPair is a certificate and its private key, PEM-encoded.
type KeyPair struct{ CertPEM, KeyPEM []byte }

// NewAuthority makes a self-signed authority that is valid from an hour ago to
// notAfter, and so do its certificates: a time in the past gives a cluster whose
// certificates have expired.
func NewAuthority(name string, notAfter time.Time) (*Authority, error) {
	template := template(notAfter)
	template.Subject.CommonName = name
	template.IsCA = true
	template.BasicConstraintsValid = true
	template.KeyUsage |= x509.KeyUsageCertSign
	a := &Authority{certificate: template}
	pair, err := a.sign(template)
	if err != nil {
		return nil, err
	}
	a.PEM = pair.CertPEM
	return a, nil
}

// IssueServingCert issues a server certificate for names and IP addresses.
func (a *Authority) IssueServingCert(hosts ...string) (KeyPair, error) {
	if len(hosts) == 0 {
		return KeyPair{}, errors.New("serving certificate for no host")
	}
	template := template(a.certificate.NotAfter)
	template.Subject.CommonName = hosts[0]
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, host := range hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	return a.sign(template)
}

// IssueClientCert issues a client certificate. Kubernetes takes the user's name
// from its common name and the groups from its organizations.
func (a *Authority) IssueClientCert(user string, groups ...string) (KeyPair, error) {
	template := template(a.certificate.NotAfter)
	template.Subject = pkix.Name{CommonName: user, Organization: groups}
	template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	return a.sign(template)
}

func template(notAfter time.Time) *x509.Certificate {
	return &x509.Certificate{
		NotBefore: time.Now().Add(-time.Hour),
		NotAfter:  notAfter,
		KeyUsage:  x509.KeyUsageDigitalSignature,
	}
}

// sign makes a key and signs template for it. An authority without a key yet
// takes that one, and so signs itself.
func (a *Authority) sign(template *x509.Certificate) (KeyPair, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return KeyPair{}, err
	}
	if a.key == nil {
		a.key = key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(),
		a.key)
	if err != nil {
		return KeyPair{}, err
	}
	keyPEM, err := encodePrivateKey(key)
	return KeyPair{CertPEM: encodePEM("CERTIFICATE", der), KeyPEM: keyPEM}, err
}

// write keeps the authority for readAuthority.
func (a *Authority) write(certFile, keyFile string) error {
	key, err := encodePrivateKey(a.key)
	if err != nil {
		return err
	}
	return KeyPair{CertPEM: a.PEM, KeyPEM: key}.write(certFile, keyFile)
}

// readAuthority reads what write has kept.
func readAuthority(certFile, keyFile string) (*Authority, error) {
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		return nil, err
	}
	key, ok := pair.PrivateKey.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("key of the authority is a %T", pair.PrivateKey)
	}
	return &Authority{PEM: encodePEM("CERTIFICATE", pair.Leaf.Raw), certificate: pair.Leaf,
		key: key}, nil
}

// writeCertificates makes the authority, the API server's certificate and the
// administrator's, and everything that is built on them.
func (c *ControlPlane) writeCertificates() (err error) {
	if c.CA, err = NewAuthority("test-control-plane", time.Now().AddDate(1, 0, 0)); err != nil {
		return err
	}
	c.CAPEM, c.CAFile = c.CA.PEM, c.path(caFile)
	if err := c.CA.write(c.CAFile, c.path(caKeyFile)); err != nil {
		return err
	}
	serving, err := c.CA.IssueServingCert(ServingHosts()...)
	if err != nil {
		return err
	}
	if err := serving.write(c.path(servingCertFile), c.path(servingKeyFile)); err != nil {
		return err
	}
	admin, err := c.CA.IssueClientCert("admin", "system:masters")
	if err != nil {
		return err
	}
	if c.admin, err = c.client(admin); err != nil {
		return err
	}
	c.AdminKubeconfig = c.path(adminKubeconfig)
	return os.WriteFile(c.AdminKubeconfig, c.Kubeconfig("admin", admin), 0o600)
}

func (p KeyPair) write(certFile, keyFile string) error {
	return errors.Join(
		os.WriteFile(certFile, p.CertPEM, 0o600),
		os.WriteFile(keyFile, p.KeyPEM, 0o600),
	)
}

// client returns an HTTP client that trusts the plane and authenticates with
// user. It goes through no proxy.
func (c *ControlPlane) client(user KeyPair) (*http.Client, error) {
	certificate, err := tls.X509KeyPair(user.CertPEM, user.KeyPEM)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(c.CAPEM)
	return &http.Client{
		Timeout: 10 * time.Second,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{
			RootCAs:      roots,
			Certificates: []tls.Certificate{certificate},
		}},
	}, nil
}

// writeServiceAccountKeys makes an RSA key, as kubeadm does, so that tokens are
// as long as on most clusters.
func (c *ControlPlane) writeServiceAccountKeys() error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	private, err := encodePrivateKey(key)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(c.path(serviceAccountKeyFile), private, 0o600),
		os.WriteFile(c.path(serviceAccountPublicKeyFile), encodePEM("PUBLIC KEY", public),
			0o600),
	)
}

func encodePrivateKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	return encodePEM("PRIVATE KEY", der), err
}

func encodePEM(kind string, der []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der})
}
