//go:build linux

package lab

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/sa-exec-credential/sa-exec-credential/test/controlplane"
)

// Issuer signs ID tokens as the identity providers of CI systems and of people do. Below its URL
// each system has a path of its own, with a discovery document and keys (OpenID Connect Discovery
// 1.0), and some an endpoint that their jobs ask for tokens. It serves TLS on loopback; the API
// server has its authority among those of its system.
type Issuer struct {
	URL    string
	CAFile string

	server *httptest.Server
	key    *rsa.PrivateKey
	other  *rsa.PrivateKey // that nobody publishes

	mu    sync.Mutex
	jobs  map[string]*Job   // by what they may ask with
	files map[string][]byte // by their paths
	down  bool
}

// IssuerHost is a name of the issuer's that resolves nowhere, for those behind a proxy.
const IssuerHost = "issuer.example.test"

// Jobs is the issuer of the package's own plane; see Options.
var Jobs *Issuer

// The systems that the issuer knows.
const (
	GitHub = "github"
	GitLab = "gitlab"
	Azure  = "azure"
	SSO    = "sso" // of people
)

// openIssuer starts Jobs, and has the plane take its tokens.
func openIssuer(o Options, plane *controlplane.Options) (err error) {
	dir := filepath.Join(shared.root, "issuer")
	if Jobs, err = startIssuer(dir); err != nil {
		return err
	}
	file := Jobs.configuration()
	plane.APIServerArgs = append(plane.APIServerArgs, "--authentication-config="+file)
	plane.Environment = append(plane.Environment, "SSL_CERT_FILE="+Jobs.CAFile)
	return os.WriteFile(file, []byte(o.Authentication(Jobs)), 0o600)
}

func (i *Issuer) configuration() string {
	return filepath.Join(filepath.Dir(i.CAFile), "authentication.yaml")
}

// NewIssuer starts one that no API server knows.
func NewIssuer(t *testing.T) *Issuer {
	t.Helper()
	i, err := startIssuer(filepath.Join(Dir(t, "issuer"), "own"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.server.Close)
	return i
}

func startIssuer(dir string) (*Issuer, error) {
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	authority, err := controlplane.NewAuthority("issuer", time.Now().AddDate(1, 0, 0))
	if err != nil {
		return nil, err
	}
	pair, err := authority.IssueServingCert("127.0.0.1", "localhost", IssuerHost)
	if err != nil {
		return nil, err
	}
	certificate, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	if err != nil {
		return nil, err
	}
	i := &Issuer{CAFile: filepath.Join(dir, "ca.pem"), jobs: map[string]*Job{},
		files: map[string][]byte{}}
	if i.key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		return nil, err
	}
	if i.other, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		return nil, err
	}
	i.server = httptest.NewUnstartedServer(i)
	i.server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	i.server.Config.ErrorLog = log.New(io.Discard, "", 0)
	i.server.StartTLS()
	i.URL = i.server.URL
	return i, os.WriteFile(i.CAFile, authority.PEM, 0o600)
}

// Of is the issuer of a system, as its tokens name it.
func (i *Issuer) Of(system string) string { return i.URL + "/" + system }

// Configure starts the API server again with another authentication configuration.
func (i *Issuer) Configure(t *testing.T, content string) {
	t.Helper()
	WriteFile(t, i.configuration(), content, 0o600)
	if err := Plane.StartAPIServer(context.Background()); err != nil {
		t.Fatal(err)
	}
}

// Sign returns a token of a system, which the tests search for from then on. Claims beside the
// given ones are those that every token has: now is when it is issued, and it lives five minutes.
func (i *Issuer) Sign(t testing.TB, system string, now time.Time, claims map[string]any) string {
	t.Helper()
	token, err := i.sign(i.key, system, now, claims)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// idTokenLife is how long ID tokens live at GitHub.
const idTokenLife = 5 * time.Minute

const keyID = "38826b17-6a30-5f9b-b169-8beb8202f723"

func (i *Issuer) sign(key *rsa.PrivateKey, system string, now time.Time,
	claims map[string]any) (string, error) {
	options := (&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", keyID)
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: key}, options)
	if err != nil {
		return "", err
	}
	all := map[string]any{"iss": i.Of(system), "jti": rand.Text(), "iat": now.Unix(),
		"nbf": now.Add(-2 * idTokenLife).Unix(), "exp": now.Add(idTokenLife).Unix()}
	maps.Copy(all, claims)
	token, err := jwt.Signed(signer).Claims(all).Serialize()
	Note(token)
	return token, err
}

// SetDown has every connection to the issuer break, as when it is down.
func (i *Issuer) SetDown(down bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.down = down
}

// Publish has a file be at a path below the issuer's URL, as what jobs download is.
func (i *Issuer) Publish(path string, content []byte) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.files["/"+path] = content
}

// ServeHTTP implements http.Handler. http.ServeMux would redirect GitHub's own URLs, which have an
// empty segment.
func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	down, file := i.down, i.files[r.URL.Path]
	i.mu.Unlock()
	switch {
	case down:
		panic(http.ErrAbortHandler)
	case file != nil:
		_, _ = w.Write(file)
		return
	}
	system, path, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	switch {
	case path == ".well-known/openid-configuration":
		answer(w, map[string]any{"issuer": i.Of(system), "jwks_uri": i.Of(system) + "/keys",
			"response_types_supported":              []string{"id_token"},
			"subject_types_supported":               []string{"public"},
			"id_token_signing_alg_values_supported": []string{"RS256"}})
	case path == "keys":
		answer(w, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: i.key.Public(),
			KeyID: keyID, Algorithm: string(jose.RS256), Use: "sig"}}})
	default:
		i.serveJob(w, r, system)
	}
}

func answer(w http.ResponseWriter, content any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(content); err != nil {
		panic(fmt.Sprintf("encoding an answer: %v", err)) // maps of text always encode
	}
}
