package controlplane

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
)

// auditPolicy has every request in the log, once, without its body. With the two
// early stages left out the event is the one that tells the answer.
const auditPolicy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived, ResponseStarted]
rules:
- level: Metadata
`

// AuditEvent is one request, with those fields of audit.k8s.io/v1 Event that a
// test asks for.
type AuditEvent struct {
	AuditID        string            `json:"auditID"`
	Verb           string            `json:"verb"`
	RequestURI     string            `json:"requestURI"`
	UserAgent      string            `json:"userAgent"`
	User           AuditUser         `json:"user"`
	ObjectRef      AuditObject       `json:"objectRef"`
	ResponseStatus AuditStatus       `json:"responseStatus"`
	Annotations    map[string]string `json:"annotations"`
}

// AuditUser is who asked. Extra holds, for a service account token, its
// authentication.kubernetes.io/credential-id.
type AuditUser struct {
	Username string              `json:"username"`
	Groups   []string            `json:"groups"`
	Extra    map[string][]string `json:"extra"`
}

// AuditObject is what was asked for. It is empty for paths like /readyz.
type AuditObject struct {
	Resource    string `json:"resource"`
	Subresource string `json:"subresource"`
	Namespace   string `json:"namespace"`
	Name        string `json:"name"`
}

// AuditStatus is the HTTP status of the answer.
type AuditStatus struct {
	Code int `json:"code"`
}

// IsTokenRequest tells a TokenRequest for a service account, whatever its answer.
func (e AuditEvent) IsTokenRequest(namespace, name string) bool {
	return e.Verb == "create" && e.ObjectRef == AuditObject{
		Resource: "serviceaccounts", Subresource: "token", Namespace: namespace, Name: name,
	}
}

// AuditEvents returns all requests that have been answered, oldest first. The
// API server writes the event of a short answer, as that to a TokenRequest,
// before it lets go of the answer: whoever has the answer finds the event. Of
// long answers and watches the event may come a little later.
func (c *ControlPlane) AuditEvents() ([]AuditEvent, error) {
	data, err := os.ReadFile(c.AuditLog)
	if err != nil {
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	// What follows the last line end is an event that is being written.
	lines := bytes.Split(data, []byte("\n"))
	lines = lines[:len(lines)-1]
	events := make([]AuditEvent, len(lines))
	for i, line := range lines {
		if err := json.Unmarshal(line, &events[i]); err != nil {
			return nil, fmt.Errorf("reading line %d of the audit log: %w", i+1, err)
		}
	}
	return events, nil
}
