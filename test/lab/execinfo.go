//go:build linux

package lab

import (
	"encoding/json"
	"time"
)

// ExecInfo is what client-go says of the cluster.
func (m *Machine) ExecInfo() string { return ExecInfo(m.Server, Plane.CAPEM) }

// ExecInfo is what client-go says of a cluster.
func ExecInfo(server string, ca []byte) string {
	encoded, err := json.Marshal(map[string]any{
		"kind": "ExecCredential", "apiVersion": "client.authentication.k8s.io/v1",
		"spec": map[string]any{"interactive": false,
			"cluster": map[string]any{"server": server,
				"certificate-authority-data": ca}},
	})
	if err != nil {
		panic(err) // maps of text always encode
	}
	return string(encoded)
}

// Token takes the token out of the answer to a get.
func (r Result) Token() string {
	r.T.Helper()
	var credential struct {
		Kind   string
		Status struct {
			Token               string
			ExpirationTimestamp time.Time
		}
	}
	if err := json.Unmarshal([]byte(r.Succeeds().Stdout), &credential); err != nil {
		r.T.Fatalf("%s: no JSON: %v", r, err)
	}
	status := credential.Status
	if credential.Kind != "ExecCredential" || TokenIn(status.Token) == "" ||
		!status.ExpirationTimestamp.After(time.Now()) {
		r.T.Fatalf("%s: kind %q, a token of %d characters that expires at %v", r,
			credential.Kind, len(status.Token),
			status.ExpirationTimestamp)
	}
	return status.Token
}
