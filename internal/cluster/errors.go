package cluster

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
)

// What is wrong with a wish before a server is asked, or with what the cluster holds already.
var (
	ErrUsage          = errors.New("contradicting or unusable settings")
	ErrDefaultAccount = errors.New("every pod of the namespace has this service account")
	ErrAdmin          = errors.New("the service account would get to do everything")
	ErrForeign        = errors.New("it exists and is not managed by sa-exec-credential")
	ErrTerminating    = errors.New("it is being deleted")
)

// Ref names an object in messages. Namespace is empty for what lives in none.
type Ref struct{ Kind, Namespace, Name string }

// String is for example `Role "build/ci-bootstrap"`.
func (r Ref) String() string {
	if r.Namespace == "" {
		return fmt.Sprintf("%s %q", r.Kind, r.Name)
	}
	return fmt.Sprintf("%s %q", r.Kind, r.Namespace+"/"+r.Name)
}

// ObjectError says what was being done with which object. It wraps one of the typed errors here, or
// one of package api: with api.ErrForbidden for a role or a binding, the caller cannot prepare RBAC
// at all.
type ObjectError struct {
	Doing  string // a gerund, such as "applying"
	Object Ref
	Err    error
}

// Error implements error.
func (e *ObjectError) Error() string { return fmt.Sprintf("%s %v: %v", e.Doing, e.Object, e.Err) }

// Unwrap gives the cause.
func (e *ObjectError) Unwrap() error { return e.Err }

// ConflictError says that others manage fields which setup would have to change (server-side apply,
// KEP-555).
type ConflictError struct{ Fields []OwnedField }

// OwnedField is a field and the field manager that owns it.
type OwnedField struct{ Field, Manager string }

// Error implements error.
func (e *ConflictError) Error() string {
	fields := make([]string, len(e.Fields))
	for i, f := range e.Fields {
		fields[i] = fmt.Sprintf("field %q is owned by %q", f.Field, f.Manager)
	}
	return strings.Join(fields, ", ")
}

// Unwrap makes it an api.ErrConflict.
func (e *ConflictError) Unwrap() error { return api.ErrConflict }

// EscalationError is the API server's refusal to let a user grant what they do not hold themselves.
// On GKE, an owner of the project holds nothing in RBAC's eyes until bound to cluster-admin.
type EscalationError struct {
	// the rules not held, such as "get, list: secrets"; empty when the server's words are not
	// understood
	Missing []string
}

// shownRules bounds a line.
const shownRules = 5

// Error implements error.
func (e *EscalationError) Error() string {
	text := "forbidden: it grants permissions that you do not hold yourself"
	if len(e.Missing) == 0 {
		return text
	}
	text += ": " + strings.Join(e.Missing[:min(len(e.Missing), shownRules)], "; ")
	if more := len(e.Missing) - shownRules; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// Unwrap makes it an api.ErrForbidden.
func (e *EscalationError) Unwrap() error { return api.ErrForbidden }

// RoleRefError is a binding that exists under the wanted name for another role. What a binding
// refers to cannot be changed, only deleted.
type RoleRefError struct{ Has, Wanted string }

// Error implements error.
func (e *RoleRefError) Error() string {
	return fmt.Sprintf("it binds %s, not %s, and that cannot be changed", e.Has, e.Wanted)
}

// UnknownError is a verb, resource or role that the cluster does not have.
type UnknownError struct {
	What    string // "verb", "resource", "role" or "cluster role"
	Given   string
	Nearest []string // names that exist and look alike, best first; may be empty
}

// Error implements error.
func (e *UnknownError) Error() string {
	if len(e.Nearest) == 0 {
		return fmt.Sprintf("there is no %s %q", e.What, e.Given)
	}
	quoted := make([]string, len(e.Nearest))
	for i, name := range e.Nearest {
		quoted[i] = fmt.Sprintf("%q", name)
	}
	return fmt.Sprintf("there is no %s %q; similar: %s", e.What, e.Given,
		strings.Join(quoted, ", "))
}

const escalation = "attempting to grant RBAC permissions not currently held"

// managerOf takes the name out of the server's `conflict with "kubectl-edit" using v1: .rules`.
var managerOf = regexp.MustCompile(`conflict with "([^"]*)"`)

// explain gives an answer of the API server its own type where there is one.
func explain(err error) error {
	var status *api.StatusError
	if !errors.As(err, &status) {
		return err
	}
	if _, rules, found := strings.Cut(status.Message, escalation); found &&
		status.Kind == api.ErrForbidden {
		return &EscalationError{Missing: missingRules(rules)}
	}
	if fields := ownedFields(status); len(fields) > 0 {
		return &ConflictError{Fields: fields}
	}
	return err
}

// missingRules reads the rules that the server lists one a line, such as {APIGroups:["apps"],
// Resources:["deployments"], Verbs:["get" "list"]} (k8s.io/kubernetes,
// pkg/apis/rbac/v1/helpers.go). What it cannot read it leaves out: nothing else of the server's
// words is shown.
func missingRules(text string) []string {
	var rules []Rule
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "{") {
			rules = append(rules,
				Rule{Verbs: fieldOf(line, "Verbs"), APIGroups: fieldOf(line,
					"APIGroups"),
					Resources:       fieldOf(line, "Resources"),
					ResourceNames:   fieldOf(line, "ResourceNames"),
					NonResourceURLs: fieldOf(line, "NonResourceURLs")})
		}
	}
	var missing []string
	for _, permission := range sumUp(rules) {
		missing = append(missing, printable(permission.String()))
	}
	return missing
}

// fieldOf returns the values of a rule's field, which Go has written with %+q.
func fieldOf(rule, field string) []string {
	_, rest, _ := strings.Cut(rule, field+":[")
	var values []string
	for {
		quoted, err := strconv.QuotedPrefix(rest)
		if err != nil {
			return values
		}
		value, _ := strconv.Unquote(quoted)
		values = append(values, value)
		rest = strings.TrimPrefix(rest[len(quoted):], " ")
	}
}

func ownedFields(status *api.StatusError) []OwnedField {
	var fields []OwnedField
	for _, cause := range status.Causes {
		if match := managerOf.FindStringSubmatch(cause.Message); match != nil &&
			status.Kind == api.ErrConflict {
			fields = append(fields, OwnedField{Field: cause.Field, Manager: match[1]})
		}
	}
	return fields
}
