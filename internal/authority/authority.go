// Package authority sees to it that a client can hand a cluster to a plugin: the bundle of its
// certificate authorities is in an environment variable then, and systems bound these.
//
// Of this module it imports internal/bootstrap, internal/api, internal/execcred and
// internal/profile. It changes nothing.
package authority

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/bootstrap"
	"github.com/sa-exec-credential/sa-exec-credential/internal/connect"
	"github.com/sa-exec-credential/sa-exec-credential/internal/execcred"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// ErrTooLarge is a bundle that no client can hand to a plugin: it would fail with "argument list
// too long".
var ErrTooLarge = errors.New("the certificate authority bundle is larger than clients can hand " +
	"to a plugin")

// deadline bounds the connection that shows who signed the server's certificate.
const deadline = 10 * time.Second

// maxVariable is how long one environment variable can be, its name with it, in bytes: Linux'
// MAX_ARG_STRLEN (execve(2)), Windows' limit
// (https://learn.microsoft.com/windows/win32/procthread/environment-variables), and half of what
// macOS allows all arguments and variables together.
func maxVariable(system string) int {
	switch system {
	case "windows":
		return 32767
	case "darwin":
		return 512 << 10
	}
	return 128 << 10
}

// others is what exec info holds beside the server's URLs and the bundle, and more than that.
const others = 2 << 10

// Fits reports whether clients can hand a cluster to a plugin on this system.
func Fits(c profile.Cluster) bool { return fits(c, runtime.GOOS) }

func fits(c profile.Cluster, system string) bool {
	size := len(execcred.EnvironmentVariable) + len("=\x00") + others + len(c.Server) +
		len(c.TLSServerName) + len(c.ProxyURL) +
		base64.StdEncoding.EncodedLen(len(c.CertificateAuthorityData))
	return size <= maxVariable(system)
}

// Fit is the cluster with no more of its bundle than clients can hand to a plugin: without what
// is between the certificates, and where that is not enough, with those alone that the server's
// certificate leads to. taken says of these what they are called; it is empty where all were kept.
// It is an ErrTooLarge where even they are too many, or one of package api when the server cannot
// be asked.
func Fit(ctx context.Context, c profile.Cluster) (fitting profile.Cluster, taken []string,
	err error) {
	if Fits(c) {
		return c, nil, nil
	}
	all := parse(c.CertificateAuthorityData)
	if c.CertificateAuthorityData = encode(all); Fits(c) {
		return c, nil, nil
	}
	roots, err := signers(ctx, c)
	if err != nil {
		return c, nil, err
	}
	c.CertificateAuthorityData = encode(roots)
	if len(roots) == 0 || !Fits(c) {
		return c, nil, ErrTooLarge
	}
	for _, root := range roots {
		taken = append(taken, root.Subject.String())
	}
	return c, taken, nil
}

// parse leaves out what is there twice, and what is no certificate.
func parse(bundle []byte) (all []*x509.Certificate) {
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		certificate, err := x509.ParseCertificate(block.Bytes)
		if err == nil && !slices.ContainsFunc(all, certificate.Equal) {
			all = append(all, certificate)
		}
	}
	return all
}

func encode(all []*x509.Certificate) []byte {
	var bundle bytes.Buffer
	for _, certificate := range all {
		_ = pem.Encode(&bundle, &pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})
	}
	return bundle.Bytes()
}

// signers are the certificates of the bundle that vouch for the server, several where it was
// signed across. No credential is sent.
func signers(ctx context.Context, c profile.Cluster) ([]*x509.Certificate, error) {
	config, err := bootstrap.Anonymous(c)
	if err != nil {
		return nil, err
	}
	client, err := connect.HTTPClient(config)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", profile.ErrCluster, profile.ErrBundle)
	}
	ctx, cancel := context.WithTimeout(ctx, deadline)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, c.Server, nil)
	if err != nil {
		return nil, fmt.Errorf("%w: server %q is not a URL", profile.ErrCluster, c.Server)
	}
	answer, err := client.Do(request)
	if err != nil {
		return nil, api.FromNetwork(ctx, err)
	}
	defer answer.Body.Close()
	var roots []*x509.Certificate
	for _, chain := range answer.TLS.VerifiedChains {
		root := chain[len(chain)-1]
		if !slices.ContainsFunc(roots, root.Equal) {
			roots = append(roots, root)
		}
	}
	return roots, nil
}
