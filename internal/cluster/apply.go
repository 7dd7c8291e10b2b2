package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/parallel"
)

// callDeadline bounds each single call of this package.
const callDeadline = 10 * time.Second

// applyPatch is the content type of server-side apply. JSON is YAML.
const applyPatch = "application/apply-patch+yaml"

// WarningKind says what setup went on without.
type WarningKind string

// The kinds of warnings.
const (
	// the caller cannot create admission policies, or limits
	LimitsForbidden WarningKind = "limits-forbidden"
	// the server has no admission policies (before Kubernetes 1.30)
	LimitsUnsupported WarningKind = "limits-unsupported"
	// an earlier setup allowed more, and that stays
	LimitsKept WarningKind = "limits-kept"
)

// Warning is something that a person should know, though nothing failed.
type Warning struct {
	Kind   WarningKind
	Object Ref
	Limits Limits // LimitsKept: what is allowed
}

// The results, each the last word of a progress line.
const (
	created   Result = "created"
	changed   Result = "changed"
	applied   Result = "applied" // what was there before could not be seen
	unchanged Result = "unchanged"
	leftAlone Result = "left as it is"
	unseen    Result = "left as it is, if it is there: you cannot read it"
	skipped   Result = "skipped"
)

// Result is what Apply did with an object.
type Result string

// Wrote reports whether the object in the cluster is another one now.
func (r Result) Wrote() bool { return r == created || r == changed || r == applied }

// Apply brings the cluster to hold objects, in their order, and calls progress after each. What
// is right already is not written to, so that a second run changes no resourceVersion, and
// namespaces and accounts that exist are left alone. Errors are *ObjectError; what was applied
// before one stays.
func Apply(ctx context.Context, client *api.Client, objects []Object, progress func(Ref,
	Result)) ([]Warning, error) {
	var warnings []Warning
	for _, object := range objects {
		result, warning, err := applyOne(ctx, client, object)
		if err != nil {
			return warnings, &ObjectError{Doing: "applying", Object: object.Ref(),
				Err: err}
		}
		warnings = addWarning(warnings, warning, object.Ref())
		progress(object.Ref(), result)
	}
	return warnings, nil
}

// addWarning says once that something cannot be had, however many objects it is about.
func addWarning(warnings []Warning, warning *Warning, object Ref) []Warning {
	if warning == nil {
		return warnings
	}
	said := slices.ContainsFunc(warnings, func(w Warning) bool { return w.Kind == warning.Kind })
	if said {
		return warnings
	}
	warning.Object = object
	return append(warnings, *warning)
}

// applyOne turns a refusal of an object that can be done without into a warning.
func applyOne(ctx context.Context, client *api.Client, object Object) (Result, *Warning, error) {
	result, err := reconcile(ctx, client, object.normalised())
	if err == nil || object.lenient == "" {
		return result, nil, err
	}
	switch isPolicy := text(object.content, "metadata", "labels",
		componentLabel) == componentPolicy; {
	case isPolicy && errors.Is(err, api.ErrNotFound):
		return skipped, &Warning{Kind: LimitsUnsupported}, nil
	case errors.Is(err, api.ErrForbidden):
		return skipped, &Warning{Kind: object.lenient}, nil
	}
	return result, nil, err
}

func reconcile(ctx context.Context, client *api.Client, object Object) (Result, error) {
	if client.Memo() != nil && object.decision != "" { // of many, each looks once
		switch isShared := isShared(object.Ref().path()); {
		case !object.decision.Wrote():
			return object.decision, nil
		case object.decision == created && object.isPlace() && !isShared:
			return createPlace(ctx, client, object)
		case object.inAbsent:
			return object.decision, write(ctx, client, object)
		case object.decision == created && !isShared && object.isAccess():
			return created, writeAbsent(ctx, client, object)
		}
	}
	defer lockShared(client, object.Ref().path())()
	// Looked at again: what a Plan has found out may be seconds old.
	decision, err := decide(ctx, client, object)
	if err != nil || !decision.Wrote() {
		return decision, err
	}
	return decision, write(ctx, client, object)
}

// writeAbsent writes an object that was not there. Of one that somebody else has created meanwhile
// the API server changes nothing that is theirs; what is wrong with it then, a look tells.
func writeAbsent(ctx context.Context, client *api.Client, object Object) error {
	err := write(ctx, client, object)
	if errors.Is(err, api.ErrInvalid) {
		if _, why := decide(ctx, client, object); why != nil {
			return why
		}
	}
	return err
}

// createPlace leaves alone what somebody else has created meanwhile: it is not ours then.
func createPlace(ctx context.Context, client *api.Client, object Object) (Result, error) {
	_, err := send(ctx, client, http.MethodPost, object.Ref().collection(),
		map[string]string{"fieldManager": fieldManager}, "application/json", object.encode())
	if errors.Is(err, api.ErrConflict) {
		return decide(ctx, client, object)
	}
	return created, explain(err)
}

// decide is what has to be done with an object. It is found out by reading.
func decide(ctx context.Context, client *api.Client, object Object) (Result, error) {
	live, err := read(ctx, client, object.Ref())
	switch {
	case errors.Is(err, api.ErrNotFound):
		return created, nil
	case errors.Is(err, api.ErrForbidden) && object.isPlace():
		// Whoever cannot read a namespace can still be its administrator. If it does not
		// exist, the next object says so.
		return unseen, nil
	case errors.Is(err, api.ErrForbidden) && object.lenient == "":
		return applied, nil
	case err != nil:
		return "", err
	}
	return decideFor(object, live)
}

func decideFor(object Object, live map[string]any) (Result, error) {
	if text(live, "metadata", "deletionTimestamp") != "" {
		return "", ErrTerminating
	}
	if object.isPlace() {
		return leftAlone, nil
	}
	if object.Ref().Kind == "ServiceAccount" && !isOurs(live) {
		return "", ErrForeign // or its pods would become minters
	}
	if err := checkRoleRef(object, live); err != nil {
		return "", err
	}
	if object.isIn(live) || isNewer(object, live) {
		return unchanged, nil
	}
	return changed, nil
}

// review decides about objects before any is applied. Errors are *ObjectError, one for each object
// that cannot be had and not done without.
func review(ctx context.Context, client *api.Client, objects []Object) error {
	problems := make([]error, len(objects))
	for _, namespaces := range []bool{true, false} {
		absent := absentNamespaces(objects)
		parallel.ForEach(len(objects), reviewers, func(i int) {
			if o := &objects[i]; (o.Ref().Kind == "Namespace") == namespaces {
				problems[i] = o.review(ctx, client, absent)
			}
		})
	}
	return errors.Join(problems...)
}

// absentNamespaces are those that have to be created: nothing is in them.
func absentNamespaces(objects []Object) map[string]bool {
	absent := map[string]bool{}
	for _, o := range objects {
		if o.Ref().Kind == "Namespace" && o.decision == created {
			absent[o.Ref().Name] = true
		}
	}
	return absent
}

func (o *Object) review(ctx context.Context, client *api.Client, absent map[string]bool) error {
	if absent[o.Ref().Namespace] {
		o.decision, o.inAbsent = created, true
		return nil
	}
	o.decision, o.problem = decide(ctx, client, o.normalised())
	if o.problem != nil && o.lenient == "" {
		return &ObjectError{Doing: "applying", Object: o.Ref(), Err: o.problem}
	}
	return nil
}

// reviewers is how many objects are looked at at once.
const reviewers = 4

// isPlace holds for what setup needs to exist and has no wish about.
func (o Object) isPlace() bool {
	component := text(o.content, "metadata", "labels", componentLabel)
	return component == componentNamespace || component == componentAccount
}

// isAccess holds for what grants the account its rights.
func (o Object) isAccess() bool {
	return text(o.content, "metadata", "labels", componentLabel) == componentAccess
}

func isOurs(live map[string]any) bool {
	return text(live, "metadata", "labels", accountLabel) != ""
}

// isIn reports whether live is as wanted. Labels count only for what is ours: others need not wear
// them.
func (o Object) isIn(live map[string]any) bool {
	for field, wanted := range o.content {
		if field == "metadata" {
			wanted = map[string]any{}
			if isOurs(live) {
				wanted = map[string]any{"labels": value(o.content, "metadata",
					"labels")}
			}
		}
		if !holds(live[field], wanted) {
			return false
		}
	}
	return true
}

func checkRoleRef(object Object, live map[string]any) error {
	wanted := value(object.content, "roleRef")
	if wanted == nil || holds(live["roleRef"], wanted) {
		return nil
	}
	return &RoleRefError{Has: roleRefName(live), Wanted: roleRefName(object.content)}
}

func roleRefName(content map[string]any) string {
	return fmt.Sprintf("%s %q", text(content, "roleRef", "kind"), text(content, "roleRef",
		"name"))
}

// normalised is a copy with the types that decoding JSON gives, so that it compares with what the
// server answers.
func (o Object) normalised() Object {
	var content map[string]any
	if err := json.Unmarshal(o.encode(), &content); err != nil {
		panic(err) // it was encoded a moment ago
	}
	o.content = content
	return o
}

func read(ctx context.Context, client *api.Client, ref Ref) (map[string]any, error) {
	answer, err := get(ctx, client, ref.path(), "", nil)
	if err != nil {
		return nil, err
	}
	var live map[string]any
	return live, decode(answer, &live)
}

// write applies without force: what another manager owns and has otherwise is a ConflictError. What
// protects a cluster, and the rights of a device, are nobody else's to have otherwise.
func write(ctx context.Context, client *api.Client, object Object) error {
	return writeWith(ctx, client, object, nil)
}

// Try finds out what the API server says to objects that have to be written, or that no Plan has
// looked at and will be created, without writing any: whether admission denies one, whether others
// own its fields, whether it grants too much. What cannot be tried, such as an object of a
// namespace that is not there yet, is passed over. Errors are *ObjectError.
func Try(ctx context.Context, client *api.Client, objects []Object) error {
	problems, absent := make([]error, len(objects)), absentNamespaces(objects)
	parallel.ForEach(len(objects), reviewers, func(i int) {
		o, err := objects[i], error(nil)
		if absent[o.Ref().Namespace] {
			return
		}
		if written, _ := o.IsWritten(); written {
			err = writeWith(ctx, client, o, tried)
		} else if o.decision == "" && o.problem == nil {
			_, err = send(ctx, client, http.MethodPost, o.Ref().collection(), tried,
				"application/json", o.encode())
			err = explain(err)
		}
		if api.IsAny(err, api.ErrConflict, api.ErrAdmission, api.ErrForbidden) {
			problems[i] = &ObjectError{Doing: "applying", Object: o.Ref(), Err: err}
		}
	})
	return errors.Join(problems...)
}

// tried is the query of what is not to be written.
var tried = map[string]string{"dryRun": "All"}

func writeWith(ctx context.Context, client *api.Client, object Object,
	more map[string]string) error {
	query := map[string]string{"fieldManager": fieldManager, "fieldValidation": "Strict"}
	maps.Copy(query, more)
	switch text(object.content, "metadata", "labels", componentLabel) {
	case componentPolicy, componentDevice:
		query["force"] = "true"
	}
	_, err := send(ctx, client, http.MethodPatch, object.Ref().path(), query, applyPatch,
		object.encode())
	return explain(err)
}

func get(ctx context.Context, client *api.Client, path, accept string,
	query map[string]string) ([]byte, error) {
	fetch := func() ([]byte, error) {
		ctx, cancel := context.WithTimeout(ctx, callDeadline)
		defer cancel()
		return client.Get(ctx, path, accept, query)
	}
	if !isShared(path) {
		return fetch()
	}
	return client.Memo().Get(sharedKey(path, accept, query), fetch)
}

func send(ctx context.Context, client *api.Client, verb, path string, query map[string]string,
	contentType string, body []byte) ([]byte, error) {
	limited, cancel := context.WithTimeout(ctx, callDeadline)
	defer cancel()
	answer, err := client.Raw(limited, verb, path, query, contentType, body)
	if isShared(path) && query["dryRun"] == "" {
		client.Memo().Forget(path)
	}
	return answer, err
}
