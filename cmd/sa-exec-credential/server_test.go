//go:build unix

package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/sa-exec-credential/sa-exec-credential/internal/device"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

// issuedTokens are all tokens that the servers of all scripts gave out.
type issuedTokens struct {
	mu     sync.Mutex
	tokens []string
}

func (i *issuedTokens) add(token string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.tokens = append(i.tokens, token)
}

func (i *issuedTokens) list() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.tokens
}

// apiServer answers TokenRequests and reviews as its script wishes.
type apiServer struct {
	*httptest.Server
	issued *issuedTokens
	mu     sync.Mutex
	mode   string // good, revoked, refuse-tokens, or a status code
	mints  int
	checks int
	stop   chan struct{}
}

func startServer(env *testscript.Env, issued *issuedTokens) (*apiServer, error) {
	s := &apiServer{issued: issued, mode: "good", stop: make(chan struct{})}
	s.Server = httptest.NewUnstartedServer(http.HandlerFunc(s.answer))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.StartTLS()
	env.Defer(func() { close(s.stop); s.CloseClientConnections(); s.Close() })
	return s, nil
}

func (s *apiServer) ca() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

func (s *apiServer) clusterInfo() []byte {
	encoded, err := json.Marshal(map[string]any{"server": s.URL,
		"certificate-authority-data": s.ca()})
	if err != nil {
		panic(err)
	}
	return encoded
}

func (s *apiServer) answer(w http.ResponseWriter, r *http.Request) {
	mintsToken := strings.HasSuffix(r.URL.Path, "/token")
	s.mu.Lock()
	mode := s.mode
	if mintsToken {
		s.mints++
	} else {
		s.checks++
	}
	number := s.mints
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	token := strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer ")
	code, isCode := strconv.Atoi(mode)
	switch {
	case isCode == nil:
		refuse(w, code, token)
	case mode == "hang":
		<-s.stop
	case mode == "html":
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<html>"+token)
	case mode == "redirect":
		http.Redirect(w, r, s.URL+"/elsewhere", http.StatusTemporaryRedirect)
	case mode == "admission":
		refuse(w, 403, "admission webhook denied the request: ")
	case mode == "refuse-tokens" && !mintsToken:
		refuse(w, 401, "")
	case !strings.HasPrefix(tokenName(token), "bootstrap") && mintsToken, mode == "revoked":
		refuse(w, 401, token)
	case mintsToken:
		_, _ = w.Write(s.grant(number))
	default:
		_, _ = io.WriteString(w, `{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview"}`)
	}
}

// refuse puts into its message what nobody may print.
func refuse(w http.ResponseWriter, code int, message string) {
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]any{"apiVersion": "v1", "kind": "Status",
		"status": "Failure", "code": code, "message": message})
}

func (s *apiServer) grant(number int) []byte {
	token := namedToken(fmt.Sprintf("minted-%d", number))
	s.issued.add(token)
	encoded, err := json.Marshal(map[string]any{"apiVersion": "authentication.k8s.io/v1",
		"kind": "TokenRequest",
		"status": map[string]any{"token": token,
			"expirationTimestamp": time.Now().Add(time.Hour).UTC().Format(time.RFC3339)}})
	if err != nil {
		panic(err)
	}
	return encoded
}

// namedToken has its name as its id, and a signature that no other token has.
func namedToken(name string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"none"}`)) + "." + encode(fmt.Appendf(nil, `{"jti":%q}`,
		name)) + "." +
		encode(fmt.Appendf(nil, "signature of %s at %d", name, time.Now().UnixNano()))
}

func tokenName(token string) string { return mint.ParseClaims(token).ID }

func serverOf(ts *testscript.TestScript) *apiServer { return ts.Value("server").(*apiServer) }

// serverCommand is "server MODE"; "server down" closes it for good.
func serverCommand(ts *testscript.TestScript, _ bool, args []string) {
	s := serverOf(ts)
	s.mu.Lock()
	s.mode = args[0]
	s.mu.Unlock()
	if args[0] == "down" {
		s.Listener.Close()
		s.CloseClientConnections()
	}
}

// requestsCommand is "requests MINTS CHECKS": what the server has been asked so far.
func requestsCommand(ts *testscript.TestScript, _ bool, args []string) {
	s := serverOf(ts)
	s.mu.Lock()
	defer s.mu.Unlock()
	if got := fmt.Sprintf("%d %d", s.mints, s.checks); got != strings.Join(args, " ") {
		ts.Fatalf("%s requests, not %s", got, strings.Join(args, " "))
	}
}

// profileCommand is "profile NAME [source=S] [field=value]...", for the script's server. What it
// writes is deleted from the store at the end.
func profileCommand(ts *testscript.TestScript, _ bool, args []string) {
	p := profile.Profile{Name: args[0], Cluster: profile.Cluster{Server: serverOf(ts).URL,
		CertificateAuthorityData: serverOf(ts).ca()},
		Namespace: "build", ServiceAccount: "ci",
		Duration:  profile.Duration{Duration: time.Hour},
		Store:     keyring.Kind(ts.Getenv("STORE")),
		Bootstrap: profile.Bootstrap{Source: profile.SourceKeyring}}
	folder := profile.DirIn(ts.Getenv("XDG_CONFIG_HOME"))
	for _, arg := range args[1:] {
		name, value, _ := strings.Cut(arg, "=")
		switch name {
		case "source":
			p.Bootstrap.Source = profile.Source(value)
		case "variable":
			p.Bootstrap.Variable = value
		case "path":
			p.Bootstrap.Path = ts.MkAbs(value)
		case "command":
			p.Bootstrap.Command = []string{"/bin/sh", "-c", value}
		case "store":
			p.Store = keyring.Kind(value)
		case "server":
			p.Cluster.Server = value
		case "allow":
			p.AllowMissingClusterInfo = true
		case "recover":
			p.Recovery = &profile.Recovery{Credential: profile.Bootstrap{Source: profile.SourceContext, Context: "admin", Kubeconfig: []string{ts.MkAbs(value)}}}
		case "roots":
			p.Cluster.CertificateAuthorityData = nil
		case "in":
			folder = profile.DirIn(ts.MkAbs(value))
		default:
			ts.Fatalf("unknown field %q", name)
		}
	}
	if p.Bootstrap.Source == profile.SourceKeyring {
		p.Bootstrap.Duration = &profile.Duration{Duration: 720 * time.Hour}
	}
	ts.Check(os.MkdirAll(filepath.Dir(filepath.Dir(string(folder))), 0o700))
	current := writeRecord(ts, filepath.Dir(filepath.Dir(string(folder))), &p)
	ts.Check(folder.Save(p))
	if store := storeOf(ts, p); store != nil {
		ts.Defer(func() {
			_ = store.Delete(context.Background(), p.TokenKey(current))
			_ = store.Delete(context.Background(), p.BootstrapKey(current))
		})
	}
}

// writeRecord makes the machine a device of the profile's account, below a user configuration
// directory.
func writeRecord(ts *testscript.TestScript, configDir string, p *profile.Profile) *profile.Device {
	record, err := device.DirIn(configDir).Lock(context.Background(), *p)
	ts.Check(err)
	defer record.Release()
	record.Current = &profile.Device{Name: "ci-device-x", SecretUID: "uid", AccountUID: "uid"}
	ts.Check(record.Save())
	p.Device = record.Name
	return record.Current
}

func storeOf(ts *testscript.TestScript, p profile.Profile) keyring.Store {
	store, err := keyring.Open(context.Background(), p.Store,
		keyring.System{Getenv: func(string) string { return "" }})
	ts.Check(err)
	return store
}

// bootstrapCommand is "bootstrap NAME [expired]": it puts a bootstrap credential for the profile
// into the store.
func bootstrapCommand(ts *testscript.TestScript, _ bool, args []string) {
	p, err := profile.DirIn(ts.Getenv("XDG_CONFIG_HOME")).Load(args[0])
	ts.Check(err)
	record, err := device.DirIn(ts.Getenv("XDG_CONFIG_HOME")).Load(p.Device)
	ts.Check(err)
	entry := keyring.Entry{Token: secret.New(namedToken("bootstrap")),
		IssuedAt: time.Now().Add(-time.Hour), ExpiresAt: time.Now().Add(24 * time.Hour)}
	serverOf(ts).issued.add(entry.Token.Reveal())
	ts.Check(storeOf(ts, p).Set(context.Background(), p.BootstrapKey(record.Current), entry))
}

// modeCommand is "mode FILE OCTAL": it makes sure that a file has this mode.
func modeCommand(ts *testscript.TestScript, _ bool, args []string) {
	matches, err := filepath.Glob(ts.MkAbs(args[0]))
	ts.Check(err)
	if len(matches) == 0 {
		ts.Fatalf("there is no %s", args[0])
	}
	for _, match := range matches {
		info, err := os.Lstat(match)
		ts.Check(err)
		if got := fmt.Sprintf("%04o", info.Mode().Perm()); got != args[1] {
			ts.Fatalf("%s has mode %s, not %s", match, got, args[1])
		}
	}
}

// umaskCommand takes the umask away from all processes that begin later.
func umaskCommand(*testscript.TestScript, bool, []string) { syscall.Umask(0) }
