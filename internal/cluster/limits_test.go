package cluster

import (
	"encoding/json"
	"errors"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
)

func TestLimitsAreReadAsTheyAreWritten(t *testing.T) {
	for _, l := range []Limits{{}, defaultLimits,
		{Token: 10 * time.Minute, Bootstrap: 1 << 32 * time.Second,
			Audiences: []string{"vault", "https://x"}}} {
		if got := parseLimits(l.String()); got.String() != l.String() ||
			len(got.Audiences) != len(l.Audiences) {
			t.Errorf("%+v is read as %+v", l, got)
		}
	}
	const want = "tokenSeconds=3600 bootstrapSeconds=2592000 audiences=a,b"
	if got := (Limits{time.Hour, 720 * time.Hour, []string{"a", "b"}}).String(); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestLimitsThatCannotBeReadAllowNothing(t *testing.T) {
	for _, text := range []string{"", "tokenSeconds",
		"tokenSeconds=1h bootstrapSeconds=-1 audiences=,",
		"tokenSeconds=99999999999 bootstrapSeconds=1e3", "{}"} {
		if got := parseLimits(text); got.Token != 0 || got.Bootstrap != 0 ||
			len(got.Audiences) != 0 {
			t.Errorf("%q allows %+v", text, got)
		}
	}
}

func TestUnionAndCovers(t *testing.T) {
	limits := func(token, bootstrap int, audiences ...string) Limits {
		return Limits{time.Duration(token) * time.Hour,
			time.Duration(bootstrap) * time.Hour, audiences}
	}
	for _, tt := range []struct {
		name               string
		a, b, union        Limits
		aCoversB, bCoversA bool
	}{
		{"the same", limits(1, 2, "x"), limits(1, 2, "x"), limits(1, 2, "x"), true, true},
		{"longer tokens", limits(2, 2), limits(1, 2), limits(2, 2), true, false},
		{"longer bootstrap tokens", limits(1, 3), limits(1, 2), limits(1, 3), true, false},
		{"one audience more", limits(1, 2, "y", "x"), limits(1, 2, "x"), limits(1, 2, "x",
			"y"), true, false},
		{"each has something", limits(1, 3, "x"), limits(2, 2, "y"), limits(2, 3, "x", "y"),
			false, false},
		{"in another order", limits(1, 2, "x", "y"), limits(1, 2, "y", "x"), limits(1, 2,
			"x", "y"), true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := tt.a.union(tt.b); got.String() != tt.union.String() {
				t.Errorf("the union is %v, want %v", got, tt.union)
			}
			if tt.a.Covers(tt.b) != tt.aCoversB || tt.b.Covers(tt.a) != tt.bCoversA {
				t.Errorf("covers %v and %v", tt.a.Covers(tt.b), tt.b.Covers(tt.a))
			}
		})
	}
}

const (
	limitsPath    = "/api/v1/namespaces/sa-exec-credential/configmaps/limits"
	limitsDefault = "tokenSeconds=3600 bootstrapSeconds=2592000 audiences="
)

// limitsOf is the ConfigMap as the server has it.
func limitsOf(data map[string]string) answer {
	body, err := json.Marshal(map[string]any{"metadata": map[string]any{"resourceVersion": "7"},
		"data": data})
	if err != nil {
		panic(err) // maps of text always encode
	}
	return answer{200, string(body)}
}

func TestEnsureLimits(t *testing.T) {
	wanted := Limits{Token: 2 * time.Hour, Bootstrap: 24 * time.Hour,
		Audiences: []string{"vault"}}
	const text = "tokenSeconds=7200 bootstrapSeconds=86400 audiences=vault"
	const larger = "tokenSeconds=36000 bootstrapSeconds=86400 audiences=sts,vault"
	tests := []struct {
		name    string
		there   map[string]string // nil: no ConfigMap
		inForce string
		sent    map[string]string // nil: nothing
	}{
		{"the first ones are created", nil, text,
			map[string]string{"build.ci": text, "default": limitsDefault,
				"apiAudiences": "api other"}},
		{"an account comes to others", map[string]string{"build.cd": "x", "default": "d",
			"apiAudiences": "api other"},
			text, map[string]string{"build.ci": text}},
		{"the same is not written again", map[string]string{"build.ci": text,
			"default":      "d",
			"apiAudiences": "api other"}, text, nil},
		{"smaller ones are raised", map[string]string{"build.ci": limitsDefault,
			"default":      "d",
			"apiAudiences": "api other"}, "tokenSeconds=7200 " +
			"bootstrapSeconds=2592000 audiences=vault",
			map[string]string{"build.ci": "tokenSeconds=7200 " +
				"bootstrapSeconds=2592000 audiences=vault"}},
		{"larger ones are kept", map[string]string{"build.ci": larger, "default": "d",
			"apiAudiences": "api other"}, larger, nil},
		{"what cannot be read is replaced", map[string]string{"build.ci": "everything",
			"default":      "d",
			"apiAudiences": "api other"}, text, map[string]string{"build.ci": text}},
		{"the default of an administrator stays",
			map[string]string{"default": "tokenSeconds=600"}, text,
			map[string]string{"build.ci": text, "apiAudiences": "api other"}},
		{"the API server's audiences are brought up to date",
			map[string]string{"build.ci": text, "default": "d",
				"apiAudiences": "old"}, text, map[string]string{"apiAudiences": "api other"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			answers := map[string]answer{"PATCH " + limitsPath: {200, "{}"},
				"POST " + strings.TrimSuffix(limitsPath, "/limits"): {201, "{}"}}
			if tt.there != nil {
				answers["GET "+limitsPath] = limitsOf(tt.there)
			}
			client, requests := serve(t, answers)
			inForce, changed, err := EnsureLimits(t.Context(), client, "build", "ci",
				wanted, []string{"api", "other"})
			if err != nil || inForce.String() != tt.inForce ||
				changed != (tt.sent != nil) {
				t.Errorf("got %v, %v, %v, want %v", inForce, changed, err,
					tt.inForce)
			}
			checkSent(t, requests.wrote(), tt.there != nil, tt.sent)
		})
	}
}

// checkSent expects one write or none. To what is there it only adds, and only as it was read.
func checkSent(t *testing.T, wrote requests, there bool, want map[string]string) {
	t.Helper()
	var sent limitsMap
	for _, r := range wrote {
		if err := json.Unmarshal([]byte(r.body), &sent); err != nil {
			t.Fatal(err)
		}
		if there && (sent.Metadata.ResourceVersion != "7" ||
			r.contentType != "application/merge-patch+json") {
			t.Errorf("sent %s as %q", r.body, r.contentType)
		}
	}
	if !maps.Equal(sent.Data, want) || len(wrote) > 1 {
		t.Errorf("wrote %q with %v, want %v", wrote.lines(), sent.Data, want)
	}
}

func TestLimitsThatSomebodyElseWritesMeanwhile(t *testing.T) {
	conflict := answer{409, status(409, "the object has been modified")}
	const post = "POST /api/v1/namespaces/sa-exec-credential/configmaps"
	tests := []struct {
		name    string
		answers map[string]answer
		err     error
		wrote   int
	}{
		{"changed by another", map[string]answer{"GET " + limitsPath: limitsOf(nil),
			"1 PATCH " + limitsPath: conflict, "2 PATCH " + limitsPath: conflict,
			"PATCH " + limitsPath: {200, "{}"}}, nil, 3},
		{"created by another", map[string]answer{"1 GET " + limitsPath: {404, status(404,
			"not found")},
			post: conflict, "GET " + limitsPath: limitsOf(nil), "PATCH " +
				limitsPath: {200, "{}"}}, nil, 2},
		{"without end", map[string]answer{"GET " + limitsPath: limitsOf(nil), "PATCH " +
			limitsPath: conflict},
			api.ErrConflict, limitsTries},
		{"forbidden", map[string]answer{"GET " + limitsPath: limitsOf(nil),
			"PATCH " + limitsPath: {403, status(403, "cannot patch")}},
			api.ErrForbidden, 1},
		{"without a namespace", nil, api.ErrNotFound, 1},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client, requests := serve(t, tt.answers)
			_, _, err := EnsureLimits(t.Context(), client, "build", "ci", defaultLimits,
				nil)
			var object *ObjectError
			if !errors.Is(err, tt.err) || err != nil && !errors.As(err, &object) {
				t.Errorf("got %v, want %v", err, tt.err)
			}
			if len(requests.wrote()) != tt.wrote {
				t.Errorf("wrote %q", requests.wrote().lines())
			}
		})
	}
}

func TestLimitsOf(t *testing.T) {
	const own, others = "tokenSeconds=60 bootstrapSeconds=60 audiences=", limitsDefault
	for _, tt := range []struct {
		name  string
		data  map[string]string
		want  string
		found bool
	}{
		{"an account's own", map[string]string{"build.ci": own, "default": others}, own,
			true},
		{"those of accounts without", map[string]string{"build.cd": own, "default": others},
			others, true},
		{"none", nil, "tokenSeconds=0 bootstrapSeconds=0 audiences=", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client, _ := serve(t, map[string]answer{"GET " +
				limitsPath: limitsOf(tt.data)})
			got, found, err := LimitsOf(t.Context(), client, "build", "ci")
			if err != nil || got.String() != tt.want || found != tt.found {
				t.Errorf("got %v, %v, %v, want %v, %v", got, found, err, tt.want,
					tt.found)
			}
		})
	}
	client, _ := serve(t, map[string]answer{"GET " + limitsPath: {403, status(403,
		"cannot get")}})
	if _, _, err := LimitsOf(t.Context(), client, "build", "ci"); !errors.Is(err,
		api.ErrForbidden) {
		t.Errorf("got %v", err)
	}
}
