package mint

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"k8s.io/client-go/rest"
)

// credential is what the tests authenticate with, and what nothing may show.
const credential = "bootstrap-credential"

// serve starts a TLS server and returns how to reach it.
func serve(t *testing.T, handler http.HandlerFunc) (*httptest.Server, *rest.Config) {
	t.Helper()
	server := httptest.NewUnstartedServer(handler)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.EnableHTTP2 = true // as an API server offers it
	server.StartTLS()
	t.Cleanup(server.Close)
	return server, configFor(server)
}

func configFor(server *httptest.Server) *rest.Config {
	return &rest.Config{Host: server.URL, BearerToken: credential,
		TLSClientConfig: rest.TLSClientConfig{CAData: caOf(server)}}
}

func caOf(server *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
}

// certificateFor is a self-signed certificate for 127.0.0.1 with the edits made to it.
func certificateFor(t *testing.T, edit func(*x509.Certificate)) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore:   time.Now().Add(-2 * time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	edit(template)
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// tokenOf is a token with these claims and a signature that nobody checks.
func tokenOf(claims string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"RS256"}`)) + "." + encode([]byte(claims)) + "." +
		encode([]byte("signature"))
}

// answerWith is the API server's answer to a TokenRequest.
func answerWith(token string, expires time.Time) string {
	encoded, err := json.Marshal(map[string]any{"apiVersion": "authentication.k8s.io/v1",
		"kind": "TokenRequest",
		"status": map[string]any{"token": token,
			"expirationTimestamp": expires.UTC().Format(time.RFC3339)}})
	if err != nil {
		panic(err)
	}
	return string(encoded)
}

// failure is an API server's Status.
func failure(code int, message string, details map[string]any) string {
	encoded, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "Status",
		"status": "Failure",
		"code":   code, "message": message, "details": details})
	if err != nil {
		panic(err)
	}
	return string(encoded)
}

// respond answers every request alike.
func respond(code int, contentType, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", contentType)
		w.WriteHeader(code)
		_, _ = io.WriteString(w, body)
	}
}
