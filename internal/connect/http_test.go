package connect

import (
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"testing"

	"k8s.io/client-go/rest"
)

func TestClientsOfOneServerShareConnections(t *testing.T) {
	connections := map[string]bool{}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		connections[r.RemoteAddr] = true
	}))
	defer server.Close()
	bundle := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	for _, token := range []string{"a", "b", "c"} {
		client, err := To(&rest.Config{Host: server.URL, BearerToken: token,
			TLSClientConfig: rest.TLSClientConfig{CAData: bundle}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Get(t.Context(), "/x", "", nil); err != nil {
			t.Fatal(err)
		}
	}
	if len(connections) != 1 {
		t.Errorf("%d connections", len(connections))
	}
}
