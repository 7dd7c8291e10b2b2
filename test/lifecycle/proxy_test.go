//go:build linux

package lifecycle_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"regexp"
	"strconv"
	"time"
)

// proxy stands before the API server, with a certificate of the cluster's own authority, and makes its clock look ahead by
// that much.
func (p *person) proxy(ahead time.Duration) *httptest.Server {
	p.Helper()
	target, err := url.Parse(p.Server)
	if err != nil {
		p.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(p.CAPEM)
	forward := httputil.NewSingleHostReverseProxy(target)
	forward.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	forward.ModifyResponse = func(response *http.Response) error { return shift(response, ahead) }
	pair, err := p.CA.IssueServingCert("127.0.0.1")
	if err != nil {
		p.Fatal(err)
	}
	certificate, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	if err != nil {
		p.Fatal(err)
	}
	server := httptest.NewUnstartedServer(forward)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.StartTLS()
	p.Cleanup(server.Close)
	return server
}

var expiry = regexp.MustCompile(`"expirationTimestamp":"([^"]*)"`)

// shift moves the times of an answer, as far as the program reads them.
func shift(response *http.Response, ahead time.Duration) error {
	response.Header.Set("Date", time.Now().Add(ahead).UTC().Format(http.TimeFormat))
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if match := expiry.FindSubmatch(body); match != nil {
		granted, err := time.Parse(time.RFC3339, string(match[1]))
		if err != nil {
			return err
		}
		body = bytes.Replace(body, match[1], []byte(granted.Add(ahead).Format(time.RFC3339)), 1)
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	response.ContentLength = int64(len(body))
	response.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return nil
}

// adminThrough replaces the administrator's kubeconfig by one that goes through a proxy. A client certificate would end
// there, so it has a token.
func (p *person) adminThrough(server string) {
	p.Helper()
	account := p.namespace + "-admin"
	p.asAdmin("create", "serviceaccount", account, "-n", "kube-system")
	p.asAdmin("create", "clusterrolebinding", account, "--clusterrole=cluster-admin", "--serviceaccount=kube-system:"+account)
	token := p.asAdmin("create", "token", account, "-n", "kube-system")
	p.write(p.admin, fmt.Appendf(nil, staticKubeconfig, server, base64.StdEncoding.EncodeToString(p.CAPEM), "admin", token))
}

// staticKubeconfig takes the server, the authority, the user's name and its token.
const staticKubeconfig = `apiVersion: v1
kind: Config
clusters:
- name: test
  cluster:
    server: %[1]s
    certificate-authority-data: %[2]s
users:
- name: %[3]s
  user:
    token: %[4]s
contexts:
- name: %[3]s@test
  context:
    cluster: test
    user: %[3]s
current-context: %[3]s@test
`
