package api

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

// connectLimit is how long one address may take to be connected to.
const connectLimit = 30 * time.Second

// Direct is a way to a server without a proxy, with a bearer token. serverName is the name in the
// server's certificate, empty: that of its URL; authorities are PEM, empty: the system's.
func Direct(serverName string, authorities []byte, token secret.String) (http.RoundTripper, error) {
	config := &tls.Config{ServerName: serverName, MinVersion: tls.VersionTLS12}
	if len(authorities) > 0 {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(authorities) {
			return nil, fmt.Errorf("%w: there is no certificate authority", ErrTLS)
		}
	}
	dialer := &net.Dialer{Timeout: connectLimit}
	return &bearer{token, &http.Transport{DialContext: dialer.DialContext,
		TLSClientConfig: config, TLSHandshakeTimeout: connectLimit / 3}}, nil
}

// bearer authenticates with a token.
type bearer struct {
	token secret.String
	next  http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (b *bearer) RoundTrip(request *http.Request) (*http.Response, error) {
	request = request.Clone(request.Context()) // which is the caller's
	request.Header.Set("Authorization", "Bearer "+b.token.Reveal())
	return b.next.RoundTrip(request)
}
