package controlplane

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"sync"
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
	AuditID    string    `json:"auditID"`
	Verb       string    `json:"verb"`
	RequestURI string    `json:"requestURI"`
	UserAgent  string    `json:"userAgent"`
	User       AuditUser `json:"user"`
	// whom the user acted as; empty: nobody else
	ImpersonatedUser AuditUser         `json:"impersonatedUser"`
	ObjectRef        AuditObject       `json:"objectRef"`
	ResponseStatus   AuditStatus       `json:"responseStatus"`
	Annotations      map[string]string `json:"annotations"`
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
	return c.audited.read(c.AuditLog)
}

// audited is what was read of an audit log so far: the log of all packages' tests is long, and some
// of them ask again and again.
type audited struct {
	mu     sync.Mutex
	events []AuditEvent
	offset int64
}

// read adds what has come since. The log is not rotated: it is appended to until the end.
func (a *audited) read(path string) ([]AuditEvent, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.NewSectionReader(file, a.offset, math.MaxInt64-a.offset))
	if err != nil {
		return nil, fmt.Errorf("reading the audit log: %w", err)
	}
	for {
		line, rest, isWhole := bytes.Cut(data, []byte("\n"))
		if !isWhole { // an event that is being written
			return slices.Clip(a.events), nil
		}
		var event AuditEvent
		if err := json.Unmarshal(line, &event); err != nil {
			return nil, fmt.Errorf("reading event %d of the audit log: %w",
				len(a.events)+1, err)
		}
		a.events = append(a.events, event)
		a.offset += int64(len(line)) + 1
		data = rest
	}
}
