package api

import (
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

// serve answers with the credential and the protocol of a request.
func serve(t *testing.T) (server *httptest.Server, authority []byte) {
	t.Helper()
	server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter,
		r *http.Request) {
		_, _ = io.WriteString(w, r.Header.Get("Authorization")+" "+r.Proto)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.EnableHTTP2 = true // as an API server offers it
	server.StartTLS()
	t.Cleanup(server.Close)
	return server, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE",
		Bytes: server.Certificate().Raw})
}

func TestDirectTellsTheTokenToNobodyElse(t *testing.T) {
	server, authority := serve(t)
	for name, test := range map[string]struct {
		serverName  string
		authorities []byte
		err         error
	}{
		"the server itself":                 {authorities: authority},
		"by another of its names":           {serverName: "example.com", authorities: authority},
		"one that the system does not know": {err: ErrTLS},
		"one that has another name": {serverName: "other.example", authorities: authority,
			err: ErrTLS},
	} {
		t.Run(name, func(t *testing.T) {
			way, err := Direct(test.serverName, test.authorities, secret.New("t"))
			if err != nil {
				t.Fatal(err)
			}
			target, err := url.Parse(server.URL)
			if err != nil {
				t.Fatal(err)
			}
			answer, err := New(target, way).Get(t.Context(), "/x", "", nil)
			if !errors.Is(err, test.err) ||
				err == nil && string(answer) != "Bearer t HTTP/1.1" {
				t.Errorf("%q, %v", answer, err)
			}
		})
	}
	if _, err := Direct("", []byte("nothing"), secret.New("t")); !errors.Is(err, ErrTLS) {
		t.Errorf("without an authority that can be read: %v", err)
	}
}
