package mint

import (
	"encoding/json"
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
)

func TestWhoAmI(t *testing.T) {
	_, config := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/apis/authentication.k8s.io/v1/selfsubjectreviews" {
			w.WriteHeader(404)
			return
		}
		respond(201, "application/json",
			`{"apiVersion":"authentication.k8s.io/v1","kind":"SelfSubjectReview",`+
				`"status":{"userInfo":{"username":"system:serviceaccount:build:ci"}}}`)(w, r)
	})
	user, err := minterFor(t, config, time.Now).WhoAmI(t.Context())
	if err != nil || user.Name != Username("build", "ci") {
		t.Errorf("%+v, %v", user, err)
	}
}

func TestWhoAmITellsNothingOfARefusal(t *testing.T) {
	_, config := serve(t, respond(403, "application/json", failure(403, credential, nil)))
	_, err := minterFor(t, config, time.Now).WhoAmI(t.Context())
	var status *api.StatusError
	if !errors.As(err, &status) || status.Kind != api.ErrForbidden || status.Message != "" {
		t.Errorf("got %#v", status)
	}
}

func TestWhoAmIOfAServerWithoutSelfSubjectReview(t *testing.T) {
	const path = "/apis/authentication.k8s.io/v1/selfsubjectreviews"
	const words = "selfsubjectreviews.authentication.k8s.io is forbidden: User "
	for name, test := range map[string]struct {
		code      int    // of the answer to a SelfSubjectReview
		message   string // in it
		requester string // in the answer to a certificate request, empty: 403
		want      string
		err       error
	}{
		"a refusal names the user": {code: 403, message: words +
			`"system:serviceaccount:build:ci" cannot create resource "selfsubjectreviews"`,
			want: Username("build", "ci")},
		"a name with a quote": {code: 403, message: words + `"a\"b" cannot create resource`,
			want: `a"b`},
		"a refusal without the credential": {code: 403, message: words +
			`"system:anonymous" cannot create resource`, err: api.ErrForbidden},
		"a refusal that breaks off": {code: 403, message: words + `"system:`,
			err: api.ErrForbidden},
		"who may do everything asks for a certificate": {code: 404, message: "not found",
			requester: Username("build", "ci"), want: Username("build", "ci")},
		"who is told nothing": {code: 404, message: "not found", err: api.ErrNotFound},
	} {
		t.Run(name, func(t *testing.T) {
			_, config := serve(t, func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.URL.Path == path:
					respond(test.code, "application/json", failure(test.code,
						test.message, nil))(w, r)
				case test.requester == "" || r.URL.Query().Get("dryRun") != "All":
					respond(403, "application/json", failure(403, "no", nil))(w, r)
				default:
					respond(201, "application/json", withRequester(t, r,
						test.requester))(w, r)
				}
			})
			user, err := minterFor(t, config, time.Now).WhoAmI(t.Context())
			if user.Name != test.want || !errors.Is(err, test.err) {
				t.Errorf("got %q, %v", user.Name, err)
			}
		})
	}
}

// withRequester is the object of a request with the field that the API server fills in.
func withRequester(t *testing.T, r *http.Request, name string) string {
	t.Helper()
	var object struct {
		APIVersion string         `json:"apiVersion"`
		Kind       string         `json:"kind"`
		Spec       map[string]any `json:"spec"`
	}
	if err := json.NewDecoder(r.Body).Decode(&object); err != nil {
		t.Error(err)
	}
	object.Spec["username"] = name
	data, err := json.Marshal(object)
	if err != nil {
		t.Error(err)
	}
	return string(data)
}
