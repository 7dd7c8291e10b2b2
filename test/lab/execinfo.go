//go:build linux

package lab

import (
	"encoding/json"
	"time"

	"sigs.k8s.io/yaml"
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

// PythonExecInfo is what Python's client says of a context since version 32: the cluster as it
// stands in the kubeconfig, and the extension for plugins, which it looks for whether there are
// extensions or not (kubernetes-client/python, kubernetes/base/config/exec_provider.py).
func (m *Machine) PythonExecInfo(kubeconfig, context string) string {
	m.Helper()
	var config struct {
		Clusters []struct {
			Name    string
			Cluster map[string]any
		}
		Contexts []struct {
			Name    string
			Context struct{ Cluster string }
		}
	}
	if err := yaml.Unmarshal([]byte(m.Read(kubeconfig)), &config); err != nil {
		m.Fatal(err)
	}
	for _, c := range config.Contexts {
		for _, found := range config.Clusters {
			if c.Name == context && c.Context.Cluster == found.Name {
				return m.pythonExecInfo(found.Cluster)
			}
		}
	}
	m.Fatalf("%s has no context %q", kubeconfig, context)
	return ""
}

func (m *Machine) pythonExecInfo(cluster map[string]any) string {
	m.Helper()
	extensions, found := cluster["extensions"].([]any)
	if !found {
		m.Fatal("KeyError: 'extensions'")
	}
	for _, item := range extensions {
		if extension := item.(map[string]any); extension["name"] == "client.authentication.k8s.io/exec" {
			cluster["config"] = extension["extension"]
			break
		}
	}
	encoded, err := json.Marshal(map[string]any{"kind": "ExecCredential",
		"apiVersion": "client.authentication.k8s.io/v1",
		"spec":       map[string]any{"interactive": false, "cluster": cluster}})
	if err != nil {
		m.Fatal(err)
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
