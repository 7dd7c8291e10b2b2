package main

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
)

// kubeloginName is what a hit of kubelogin's is called, the plugin that most people know who log in
// with OIDC.
const kubeloginName = "kubelogin, hit, keyring"

// kubelogins is a hit of kubelogin's in the same Secret Service, where it is installed: by itself,
// or as krew calls it.
func (b *bench) kubelogins() ([]*subject, error) {
	path, err := exec.LookPath("kubelogin")
	if err != nil {
		if path, err = exec.LookPath("kubectl-oidc_login"); err != nil {
			say("there is no kubelogin in PATH, so it is not compared with")
			return nil, nil
		}
	}
	issuer, err := b.startIssuer()
	if err != nil {
		return nil, err
	}
	command := func() *exec.Cmd {
		command := exec.Command(path, "get-token", "--oidc-issuer-url", issuer,
			"--oidc-client-id", "bench", "--grant-type", "password", "--username", "jane",
			"--password", "any", "--certificate-authority", b.plane.CAFile,
			"--token-cache-storage", "keyring",
			"--token-cache-dir", filepath.Join(b.dir, "kubelogin"))
		command.Env = append(os.Environ(), b.execInfo())
		return command
	}
	if output, err := command().CombinedOutput(); err != nil { // fills its cache
		return nil, fmt.Errorf("logging in with kubelogin: %w\n%s", err, output)
	}
	return []*subject{{name: kubeloginName, command: command}}, nil
}

// issuer is an OpenID Connect provider that believes everybody, once.
type issuer struct {
	url    string
	key    *rsa.PrivateKey
	logins int
}

func (b *bench) startIssuer() (url string, err error) {
	pair, err := b.plane.CA.IssueServingCert("127.0.0.1")
	if err != nil {
		return "", err
	}
	certificate, err := tls.X509KeyPair(pair.CertPEM, pair.KeyPEM)
	if err != nil {
		return "", err
	}
	i := &issuer{}
	if i.key, err = rsa.GenerateKey(rand.Reader, 2048); err != nil {
		return "", err
	}
	server := httptest.NewUnstartedServer(i)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.StartTLS() // until this process ends
	i.url = server.URL
	return i.url, nil
}

// ServeHTTP implements http.Handler.
func (i *issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var answer any
	switch r.URL.Path {
	case "/.well-known/openid-configuration":
		answer = map[string]any{"issuer": i.url, "jwks_uri": i.url + "/keys",
			"authorization_endpoint": i.url + "/auth", "token_endpoint": i.url + "/token",
			"response_types_supported":              []string{"code"},
			"subject_types_supported":               []string{"public"},
			"id_token_signing_alg_values_supported": []string{"RS256"}}
	case "/keys":
		answer = jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: i.key.Public(),
			KeyID: "bench", Algorithm: string(jose.RS256), Use: "sig"}}}
	case "/token":
		token, err := i.login()
		if err != nil {
			http.Error(w, err.Error(), http.StatusForbidden)
			return
		}
		answer = map[string]any{"token_type": "Bearer", "access_token": rand.Text(),
			"id_token": token, "expires_in": 24 * 60 * 60}
	default:
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

// login is an ID token for a day. A second one would mean that nothing was found in the keyring.
func (i *issuer) login() (string, error) {
	if i.logins++; i.logins > 1 {
		return "", fmt.Errorf("login %d: the first token was not kept", i.logins)
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: i.key},
		(&jose.SignerOptions{}).WithType("JWT").WithHeader("kid", "bench"))
	if err != nil {
		return "", err
	}
	now := time.Now()
	return jwt.Signed(signer).Claims(map[string]any{"iss": i.url, "aud": "bench",
		"sub": "jane", "iat": now.Unix(), "exp": now.Add(24 * time.Hour).Unix()}).Serialize()
}
