package cluster

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/connect"
)

// answer is what a server says to a request, by "METHOD path", or by "1 METHOD path" to the first
// of several.
type answer struct {
	code int
	body string
}

// received is a request that a server got.
type received struct {
	line        string // "METHOD path"
	query       url.Values
	contentType string
	body        string
}

// requests are those of one server, in their order.
type requests []received

func (rs requests) lines() []string {
	lines := make([]string, len(rs))
	for i, r := range rs {
		lines[i] = r.line
	}
	return lines
}

// wrote returns the requests that change something.
func (rs requests) wrote() requests {
	return slices.DeleteFunc(slices.Clone(rs),
		func(r received) bool { return strings.HasPrefix(r.line, "GET ") })
}

// serve returns a client of a server with these answers, and the requests that it got; others get a
// 404.
func serve(t *testing.T, answers map[string]answer) (*api.Client, *requests) {
	t.Helper()
	var all requests
	var lock sync.Mutex
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		line := r.Method + " " + r.URL.Path
		body, _ := io.ReadAll(r.Body)
		lock.Lock()
		defer lock.Unlock()
		all = append(all, received{line, r.URL.Query(), r.Header.Get("Content-Type"),
			string(body)})
		number := len(slices.DeleteFunc(all.lines(),
			func(other string) bool { return other != line }))
		a, found := answers[fmt.Sprintf("%d %s", number, line)]
		if !found {
			a, found = answers[line]
		}
		if !found {
			a = answer{404, status(404, "not found")}
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(a.code)
		_, _ = w.Write([]byte(a.body))
	}))
	t.Cleanup(server.Close)
	client, err := connect.To(&rest.Config{Host: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return client, &all
}

func status(code int, message string) string {
	return fmt.Sprintf(`{"kind":"Status","apiVersion":"v1","status":"Failure","code":%d,"message":%q}`, code, message)
}

const (
	policyPath  = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/sa-exec-credential"
	policySpace = "/api/v1/namespaces/sa-exec-credential"
)

func TestLimitsThatCannotBe(t *testing.T) {
	for _, c := range []struct {
		name    string
		answers map[string]answer
		want    WarningKind
	}{
		{"a server without such policies", nil, LimitsUnsupported},
		{"a caller who cannot read",
			map[string]answer{"GET " + policyPath: {403, status(403, "cannot get")}},
			LimitsForbidden},
		{"a caller who cannot write",
			map[string]answer{"PATCH " + policyPath: {403, status(403,
				"cannot patch")}}, LimitsForbidden},
	} {
		t.Run(c.name, func(t *testing.T) {
			client, _ := serve(t, c.answers)
			warnings, err := Apply(t.Context(), client, policyObjects()[:1], ignore)
			if err != nil || len(warnings) != 1 || warnings[0].Kind != c.want {
				t.Errorf("got %v, %v, want %q", warnings, err, c.want)
			}
		})
	}
}

// ignore takes the progress that a test does not look at.
func ignore(Ref, Result) {}

func TestOneWarningForPolicyAndBinding(t *testing.T) {
	client, _ := serve(t, map[string]answer{"GET " + policySpace: {200, "{}"}})
	warnings, err := Apply(t.Context(), client, policyObjects(), ignore)
	if err != nil || len(warnings) != 1 {
		t.Errorf("got %v, %v, want one warning", warnings, err)
	}
}

func TestAPolicyThatCannotBeReadIsNotOverwritten(t *testing.T) {
	client, requests := serve(t, map[string]answer{"GET " + policyPath: {403, status(403,
		"cannot get")}})
	if _, err := Apply(t.Context(), client, policyObjects()[:1], ignore); err != nil {
		t.Error(err)
	}
	if len(requests.wrote()) > 0 {
		t.Errorf("requests %q: it was written to", requests.lines())
	}
}

func TestOtherObjectsAreNotDoneWithout(t *testing.T) {
	objects := pairOfObjects()
	client, _ := serve(t, map[string]answer{
		"PATCH " + objects[0].Ref().path(): {403, status(403, "cannot patch")}})
	_, err := Apply(t.Context(), client, objects, ignore)
	var object *ObjectError
	if !errors.Is(err, api.ErrForbidden) || !errors.As(err, &object) ||
		object.Object != objects[0].Ref() {
		t.Errorf("got %v, want that the first is forbidden", err)
	}
	if text := err.Error(); strings.Contains(text, "cannot patch") {
		t.Errorf("%q repeats the server's words", text)
	}
}

func TestNamespaceThatCannotBeReadIsTakenToExist(t *testing.T) {
	client, requests := serve(t,
		map[string]answer{"GET /api/v1/namespaces/build": {403, status(403, "cannot get")}})
	objects, err := Objects(wish(func(w *Wanted) {}), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Apply(t.Context(), client, objects[:1], ignore); err != nil {
		t.Error(err)
	}
	if !slices.Equal(requests.lines(), []string{"GET /api/v1/namespaces/build"}) {
		t.Errorf("requests %q", requests.lines())
	}
}

func TestDiscoveryGoesOnWithoutAGroupThatIsDown(t *testing.T) {
	client, _ := serve(t, map[string]answer{
		"GET /api": {200, `{"kind":"APIVersions","versions":["v1"]}`},
		"GET /api/v1": {200,
			`{"kind":"APIResourceList","groupVersion":"v1","resources":[{"name":"pods","namespaced":true}]}`},
		"GET /apis": {200, `{"kind":"APIGroupList","groups":[{"name":"metrics.k8s.io",
			"versions":[{"groupVersion":"metrics.k8s.io/v1"}],"preferredVersion":{"groupVersion":"metrics.k8s.io/v1"}}]}`},
		"GET /apis/metrics.k8s.io/v1": {503, status(503, "down")},
	})
	resources, err := Discover(t.Context(), client)
	if err != nil || len(resources) != 1 || resources[0].Name != "pods" {
		t.Errorf("got %v, %v, want the pods", resources, err)
	}
}

func TestDiscoveryOfNonsenseIsAnError(t *testing.T) {
	client, _ := serve(t, map[string]answer{"GET /api": {200, "<html>"}})
	if _, err := Discover(t.Context(), client); !errors.Is(err, api.ErrAnswer) {
		t.Errorf("got %v, want %v", err, api.ErrAnswer)
	}
}

func TestWaitUntilAllowed(t *testing.T) {
	forbidden := &api.StatusError{Kind: api.ErrForbidden, Code: 403}
	denied := &api.StatusError{Kind: api.ErrForbidden, Code: 403, Admission: true}
	for _, c := range []struct {
		name  string
		tries []error
		want  error
	}{
		{"at once", []error{nil}, nil},
		{"as soon as it is allowed", []error{forbidden, forbidden, nil}, nil},
		{"not after a denial by admission", []error{forbidden, denied, nil}, denied},
		{"not after another error", []error{api.ErrUnauthorized, nil}, api.ErrUnauthorized},
	} {
		t.Run(c.name, func(t *testing.T) {
			tries := c.tries
			err := WaitUntilAllowed(t.Context(), time.Minute,
				func(context.Context) error {
					first := tries[0]
					tries = tries[1:]
					return first
				})
			if !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
	t.Run("with a last try that is cut short", func(t *testing.T) {
		tries := 0
		err := WaitUntilAllowed(t.Context(), 3*firstPause, func(ctx context.Context) error {
			if tries++; tries == 1 {
				return forbidden
			}
			<-ctx.Done()
			return api.ErrTimeout
		})
		if !errors.Is(err, api.ErrForbidden) {
			t.Errorf("got %v, want %v", err, api.ErrForbidden)
		}
	})
	t.Run("with its limit", func(t *testing.T) {
		err := WaitUntilAllowed(t.Context(), time.Nanosecond,
			func(context.Context) error { return forbidden })
		if !errors.Is(err, api.ErrForbidden) {
			t.Errorf("got %v, want %v", err, api.ErrForbidden)
		}
	})
}

func TestRefusalsOfAWriteAreExplained(t *testing.T) {
	object := pairOfObjects()[:1]
	role := object[0].Ref().path()
	t.Run("a conflict has its owner", func(t *testing.T) {
		client, _ := serve(t, map[string]answer{"PATCH " + role: {409, `{"kind":"Status","apiVersion":"v1","status":"Failure",
			"reason":"Conflict","code":409,"message":"Apply failed with 1 conflict","details":{"causes":[{"reason":"FieldManagerConflict",
			"message":"conflict with \"argocd-controller\" using rbac.authorization.k8s.io/v1","field":".rules"}]}}`}})
		_, err := Apply(t.Context(), client, object, ignore)
		var conflict *ConflictError
		if !errors.As(err, &conflict) ||
			!slices.Equal(conflict.Fields, []OwnedField{{".rules",
				"argocd-controller"}}) {
			t.Errorf("got %v, want a conflict with argocd-controller", err)
		}
	})
	t.Run("an escalation has what is missing", func(t *testing.T) {
		message := `roles "x" is forbidden: user "jane" (groups=["dev"]) is ` + escalation +
			":\n" +
			`{APIGroups:[""], Resources:["secrets" "pods\x1b[2J"], Verbs:["get" "list"]}` + "\n" +
			`{APIGroups:["apps"], Resources:["deployments"], ResourceNames:["web"], Verbs:["*"]}` +
			"\n" +
			`{NonResourceURLs:["/metrics"], Verbs:["get"]}; resolution errors: [jane]`
		client, _ := serve(t, map[string]answer{"PATCH " +
			role: {403, status(403, message)}})
		_, err := Apply(t.Context(), client, object, ignore)
		var refused *EscalationError
		const want = `it grants permissions that you do not hold yourself: get, list: secrets, pods?[2J; ` +
			`*: deployments.apps named web; get: /metrics`
		if !errors.As(err, &refused) || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	})
	t.Run("of an escalation in other words nothing is shown", func(t *testing.T) {
		message := "user jane is " + escalation + ": ask jane\n{jane}\n{Verbs:[jane]}"
		client, _ := serve(t, map[string]answer{"PATCH " +
			role: {403, status(403, message)}})
		_, err := Apply(t.Context(), client, object, ignore)
		var refused *EscalationError
		if !errors.As(err, &refused) || len(refused.Missing) > 0 ||
			strings.Contains(err.Error(), "jane") {
			t.Errorf("got %v, want an escalation without rules", err)
		}
	})
	t.Run("another conflict stays one", func(t *testing.T) {
		client, _ := serve(t,
			map[string]answer{"PATCH " + role: {409, status(409,
				"the object has been modified")}})
		_, err := Apply(t.Context(), client, object, ignore)
		var conflict *ConflictError
		if !errors.Is(err, api.ErrConflict) || errors.As(err, &conflict) {
			t.Errorf("got %v, want a plain conflict", err)
		}
	})
}
