package api

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"syscall"
)

// What an API server, or the way to it, can answer. Every error of this package wraps exactly one
// of them.
var (
	ErrUnauthorized = errors.New("the API server refused the credential (401)")
	ErrForbidden    = errors.New("forbidden")
	ErrNotFound     = errors.New("not found")
	ErrConflict     = errors.New("conflict")
	ErrInvalid      = errors.New("the API server refused the request")
	ErrThrottled    = errors.New("the API server is throttling (429)")
	ErrServer       = errors.New("the API server failed")
	ErrUnreachable  = errors.New("the API server is unreachable")
	ErrTLS          = errors.New("the API server's certificate is not trusted")
	ErrTimeout      = errors.New("the API server did not answer in time")
	ErrAnswer       = errors.New("the API server's answer makes no sense")
	ErrCredential   = errors.New("the credential cannot be obtained")
	// a panic: a bug, of this program or of a library
	ErrInternal = errors.New("internal error")
)

// ErrAdmission is wrapped, beside ErrForbidden or ErrInvalid, by what admission and not RBAC
// denies.
var ErrAdmission = errors.New("denied by admission")

// StatusError is an answer that is no success. Its text holds nothing of the answer's body, which a
// proxy or an attacker may have written; Message does.
type StatusError struct {
	Kind      error // one of the errors above
	Code      int   // HTTP status code
	Admission bool  // denied by admission, such as a policy, and not by RBAC
	// what the answer is about, for example "secrets"; empty when it is not the API server's
	// own
	Resource string
	// the server's own words: data, never to be printed unquoted, never of a TokenRequest
	Message string
	Causes  []Cause
}

// Cause is one of the reasons that the server gives, its own words as well.
type Cause struct {
	Message string `json:"message"`
	Field   string `json:"field"`
}

// Error implements error.
func (e *StatusError) Error() string {
	switch {
	case e.Admission:
		return fmt.Sprintf("denied by admission (%d)", e.Code)
	case e.Kind == ErrServer || e.Kind == ErrInvalid || e.Kind == ErrAnswer:
		return fmt.Sprintf("%v (%d)", e.Kind, e.Code)
	}
	return e.Kind.Error()
}

// Unwrap gives the kind.
func (e *StatusError) Unwrap() error { return e.Kind }

// Is makes what admission denies an ErrAdmission too.
func (e *StatusError) Is(target error) bool { return e.Admission && target == ErrAdmission }

var kinds = []error{ErrUnauthorized, ErrForbidden, ErrNotFound, ErrConflict, ErrInvalid,
	ErrThrottled, ErrServer, ErrUnreachable, ErrTLS, ErrTimeout, ErrAnswer, ErrCredential,
	ErrInternal}

// Kind returns which of this package's errors err wraps, nil when none.
func Kind(err error) error {
	for _, kind := range kinds {
		if errors.Is(err, kind) {
			return kind
		}
	}
	return nil
}

func classify(ctx context.Context, err error) error {
	var status *StatusError
	switch {
	case errors.As(err, &status):
		return status
	case Kind(err) != nil:
		return fmt.Errorf("%w", Kind(err))
	}
	return FromNetwork(ctx, err)
}

// status is what an API server answers with where something is wrong (metav1.Status).
type status struct {
	Kind    string `json:"kind"`
	Status  string `json:"status"`
	Message string `json:"message"`
	Code    int    `json:"code"`
	Details struct {
		Kind   string  `json:"kind"`
		Causes []Cause `json:"causes"`
	} `json:"details"`
}

// statusError reads an answer that is no success. What is no Status is not the API server's own.
func statusError(code int, body []byte) *StatusError {
	var s status
	if json.Unmarshal(body, &s) != nil || s.Kind != "Status" || s.Status != "Failure" {
		s = status{}
	}
	code = cmp.Or(s.Code, code)
	e := &StatusError{Kind: kindOf(code), Code: code, Message: s.Message,
		Causes: s.Details.Causes, Resource: s.Details.Kind}
	// The authorizer's message is `… cannot create resource …`; what admission denies has other
	// words, and a ValidatingAdmissionPolicy by default another code. The API has no field that
	// tells.
	denied := code == http.StatusForbidden || code == http.StatusUnprocessableEntity
	e.Admission = denied && (strings.Contains(e.Message, "denied request") ||
		strings.Contains(e.Message, "denied the request"))
	return e
}

func kindOf(code int) error {
	switch code {
	case http.StatusUnauthorized:
		return ErrUnauthorized
	case http.StatusForbidden:
		return ErrForbidden
	case http.StatusNotFound:
		return ErrNotFound
	case http.StatusConflict:
		return ErrConflict
	case http.StatusTooManyRequests:
		return ErrThrottled
	}
	switch {
	case code >= 500:
		return ErrServer
	case code < 400: // a redirect, which an API server has no use for
		return ErrAnswer
	}
	return ErrInvalid
}

// FromNetwork says what went wrong on the way. It passes on no text of the packages that read an
// answer: they quote what they cannot read, and a server could have put the credential there.
func FromNetwork(ctx context.Context, err error) error {
	var (
		verification *tls.CertificateVerificationError
		authority    x509.UnknownAuthorityError
		hostname     x509.HostnameError
		invalid      x509.CertificateInvalidError
		timeout      net.Error
		refused      proxyError
		address      *net.DNSError
		alert        *net.OpError
		number       syscall.Errno
		record       tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &verification), errors.As(err, &authority), errors.As(err, &hostname),
		errors.As(err, &invalid):
		return fmt.Errorf("%w: %s", ErrTLS, certificateProblem(err))
	case fromCredential(err):
		return fmt.Errorf("%w: %s", ErrCredential, credentialProblem(err))
	case ctx.Err() != nil, errors.As(err, &timeout) && timeout.Timeout():
		return ErrTimeout
	case errors.As(err, &refused):
		return fmt.Errorf("%w: %w", ErrUnreachable, refused)
	case errors.As(err, &address):
		return fmt.Errorf("%w: its name cannot be resolved", ErrUnreachable)
	case errors.As(err, &alert) && strings.HasSuffix(alert.Op, " error"):
		// a TLS alert: Go's own words for its number
		return fmt.Errorf("%w: %s", ErrUnreachable, alert.Err)
	case errors.As(err, &number):
		return fmt.Errorf("%w: %w", ErrUnreachable, number)
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &record):
		return fmt.Errorf("%w: it does not speak TLS", ErrUnreachable)
	}
	return fmt.Errorf("%w: the connection broke, or what came over it is not HTTP",
		ErrUnreachable)
}

// proxyError is a proxy that does not let a request through. Its own words are dropped.
type proxyError int

// Error implements error.
func (e proxyError) Error() string {
	return fmt.Sprintf("the proxy refused the connection (%d)", int(e))
}

// CheckProxy is http.Transport's OnProxyConnectResponse, which tells a proxy's refusal from other
// troubles.
func CheckProxy(_ context.Context, _ *url.URL, _ *http.Request, response *http.Response) error {
	if response.StatusCode == http.StatusOK {
		return nil
	}
	return proxyError(response.StatusCode)
}

// fromCredential reports whether client-go could not get what it was to authenticate with, for
// which it has no type.
func fromCredential(err error) bool {
	text := err.Error()
	return strings.Contains(text, "getting credentials: ") ||
		strings.Contains(text, "failed to read token file")
}

// credentialProblem is what client-go says of a plugin that did not run, or failed. Its words about
// what a plugin has printed stay unsaid.
func credentialProblem(err error) string {
	if _, said, ran := strings.Cut(err.Error(), "getting credentials: exec: "); ran {
		line, _, _ := strings.Cut(said, "\n")
		return line
	}
	return "what its credential plugin or token file holds makes no sense"
}

// certificateProblem is the x509 package's text without the certificate's own names, which a
// stranger chose.
func certificateProblem(err error) string {
	var invalid x509.CertificateInvalidError
	var hostname x509.HostnameError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "it has expired or is not valid yet"
	case errors.As(err, &hostname):
		return "it is for another name"
	}
	return "it is not signed by the profile's certificate authority"
}

// IsAny reports whether err is one of some kinds.
func IsAny(err error, kinds ...error) bool {
	return slices.ContainsFunc(kinds, func(kind error) bool { return errors.Is(err, kind) })
}
