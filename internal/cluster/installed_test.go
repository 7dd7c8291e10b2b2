package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
)

// labelled is an object's metadata with these labels, as pairs.
func labelled(name, namespace string, labels ...string) string {
	wearing := map[string]string{}
	for i := 0; i+1 < len(labels); i += 2 {
		wearing[labels[i]] = labels[i+1]
	}
	encoded, err := json.Marshal(map[string]any{"metadata": map[string]any{"name": name,
		"namespace": namespace,
		"uid":       "uid of " + name, "labels": wearing}})
	if err != nil {
		panic(err)
	}
	return string(encoded)
}

// own are the labels that setup gives for account ci.
func own(component string) []string {
	return []string{accountLabel, "ci", managedByLabel, fieldManager, componentLabel, component}
}

// installedAnswers are to what FindInstalled asks, where nothing is there; more overrules them.
func installedAnswers(more map[string]answer) map[string]answer {
	none := answer{200, `{"items":[]}`}
	answers := map[string]answer{"GET " + LimitsRef.path(): {404, status(404, "none")}}
	for _, path := range []string{"/api/v1/namespaces/build/secrets",
		"/api/v1/namespaces/build/serviceaccounts",
		rbac + "/rolebindings", rbac + "/roles", rbac + "/clusterroles", rbac +
			"/clusterrolebindings",
		rbac + "/namespaces/build/rolebindings"} {
		answers["GET "+path] = none
	}
	for line, a := range more {
		answers[line] = a
	}
	return answers
}

const rbac = "/apis/rbac.authorization.k8s.io/v1"

func TestOnlyWhatSetupCreatedIsFound(t *testing.T) {
	bindings := strings.Join([]string{
		labelled("sa-exec-credential:ci:cluster-role:view", "build",
			own(componentAccess)...),
		labelled("sa-exec-credential:build:ci:role:x", "work", own(componentAccess)...),
		// of ci in the namespace other
		labelled("sa-exec-credential:other:ci:role:x", "build", own(componentAccess)...),
		// of ci in the namespace other
		labelled("sa-exec-credential:ci:role:x", "other", own(componentAccess)...),
		labelled("sa-exec-credential:ci", "build", accountLabel, "ci", managedByLabel,
			"Helm", componentLabel, componentAccess),
		labelled("copied", "build", own(componentAccess)...),
	}, ",")
	client, _ := serve(t, installedAnswers(map[string]answer{
		"GET " + rbac + "/rolebindings": {200, `{"items":[` + bindings +
			`]}`},
		"GET /api/v1/namespaces/build": {200, labelled("build", "",
			accountLabel, "other", managedByLabel, fieldManager, componentLabel,
			componentNamespace)},
		"GET /api/v1/namespaces/build/serviceaccounts/ci": {200, labelled("ci", "build")},
	}))
	found, err := FindInstalled(t.Context(), client, "build", "ci", nil)
	if err != nil {
		t.Fatal(err)
	}
	got := fmt.Sprint(found.Refs(), found.Kept)
	want := `[RoleBinding "build/sa-exec-credential:ci:cluster-role:view" RoleBinding "work/sa-exec-credential:build:ci:role:x"] ` +
		`[RoleBinding "build/sa-exec-credential:ci": it is managed by "Helm" ServiceAccount "build/ci": setup did not create it ` +
		`Namespace "build": setup did not create it for this account]`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestWhatIsLeftOfADeviceIsFound(t *testing.T) {
	const name = "ci-device-x-0123456789abcdef"
	client, _ := serve(t, installedAnswers(map[string]answer{
		"GET " + rbac + "/roles": {200, `{"items":[` +
			labelled(name, "build", own(componentDevice)...) + `]}`},
		"GET /api/v1/namespaces/build/serviceaccounts/ci": {404, status(404, "none")},
	}))
	found, err := FindInstalled(t.Context(), client, "build", "ci", nil)
	if err != nil || fmt.Sprint(found.Refs()) != `[Role "build/`+name+`"]` {
		t.Errorf("got %v, %v", found, err)
	}
}

func TestWhatWasReplacedIsNotDeleted(t *testing.T) {
	ref := Ref{Kind: "ClusterRole", Name: "x"}
	client, requests := serve(t, map[string]answer{"DELETE " + ref.path(): {409, status(409,
		"the uid in the precondition")}})
	if _, err := Delete(t.Context(), client, Found{ref, "1"}); !errors.Is(err,
		api.ErrConflict) {
		t.Errorf("got %v, want a conflict", err)
	}
	if body := (*requests)[0].body; !strings.Contains(body, `"preconditions":{"uid":"1"}`) {
		t.Errorf("it was deleted with %s", body)
	}
}

func TestLimitsAreRemovedFromWhatIsThereNow(t *testing.T) {
	path := LimitsRef.path()
	live := func(version string) answer {
		return answer{200, `{"metadata":{"resourceVersion":"` + version +
			`"},"data":{"build.ci":"x","build.other":"y"}}`}
	}
	client, requests := serve(t, map[string]answer{
		"1 GET " + path: live("1"), "2 GET " + path: live("2"),
		"1 PATCH " + path: {409, status(409, "changed")}, "2 PATCH " + path: {200, "{}"},
	})
	result, err := RemoveLimits(t.Context(), client, "build", "ci")
	if result != Deleted || err != nil {
		t.Errorf("got %q, %v", result, err)
	}
	const want = `{"data":{"build.ci":null},"metadata":{"resourceVersion":"2"}}`
	if last := (*requests)[len(*requests)-1]; last.body != want {
		t.Errorf("sent %s, want %s", last.body, want)
	}
}
