package mint

import (
	"io"
	"log"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
)

func quiet() *log.Logger { return log.New(io.Discard, "", 0) }

func TestParseClaims(t *testing.T) {
	const bound = `{"jti":"id","iss":"https://kubernetes","sub":"system:serviceaccount:build:ci","aud":["a","b"],"iat":100,"exp":200,
		"kubernetes.io":{"namespace":"build","serviceaccount":{"name":"ci","uid":"u"},"secret":{"name":"device","uid":"v"}}}`
	const legacy = `{"iss":"kubernetes/serviceaccount","kubernetes.io/serviceaccount/namespace":"build",
		"kubernetes.io/serviceaccount/service-account.name":"ci","kubernetes.io/serviceaccount/secret.name":"ci-token"}`
	tests := []struct {
		name  string
		token string
		want  Claims
	}{
		{"a bound token", tokenOf(bound),
			Claims{ID: "id", Issuer: "https://kubernetes",
				Subject:   "system:serviceaccount:build:ci",
				Audiences: []string{"a", "b"}, IssuedAt: time.Unix(100,
					0), ExpiresAt: time.Unix(200,
					0), Namespace: "build",
				ServiceAccount: "ci", BoundSecret: Secret{"device", "v"}}},
		{"a token of a legacy Secret never expires", tokenOf(legacy),
			Claims{Issuer: "kubernetes/serviceaccount", Namespace: "build",
				ServiceAccount: "ci", LegacySecret: "ci-token"}},
		{"one audience may be a string", tokenOf(`{"aud":"a"}`),
			Claims{Audiences: []string{"a"}}},
		{"an audience of another type is none", tokenOf(`{"aud":7}`), Claims{}},
		{"a time before 1970 is none", tokenOf(`{"iat":-1}`), Claims{}},
		{"claims of the wrong type are none", tokenOf(`{"iat":"x","jti":"id"}`), Claims{}},
		{"a payload that is not JSON has none", tokenOf(`x`), Claims{}},
		{"a payload that is not base64 has none", "a.!.c", Claims{}},
		{"text without three parts has none", "a.b", Claims{}},
		{"nothing has none", "", Claims{}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := ParseClaims(tt.token); !reflect.DeepEqual(got, tt.want) {
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func FuzzParseClaims(f *testing.F) {
	f.Add(tokenOf(`{"jti":"id","aud":["a"],"iat":1,"exp":2,"kubernetes.io":{"namespace":"n","serviceaccount":{"name":"s"}}}`))
	f.Add(tokenOf(`{"aud":"a","iat":1e30}`))
	f.Add("..")
	f.Fuzz(func(t *testing.T, token string) {
		claims := ParseClaims(token)
		if claims.IssuedAt.Before(time.Time{}) || claims.ExpiresAt.Before(time.Time{}) {
			t.Errorf("%+v", claims)
		}
	})
}

// always answers every request alike.
func always(contentType, body string) transport {
	return func(*http.Request) (*http.Response, error) {
		return &http.Response{StatusCode: 201,
			Header: http.Header{"Content-Type": {contentType}},
			Body:   io.NopCloser(strings.NewReader(body))}, nil
	}
}

func FuzzMint(f *testing.F) {
	now := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	f.Add("application/json", answerWith("t", now.Add(time.Hour)))
	f.Add("application/json", failure(403, "no", nil))
	f.Add("application/json",
		`{"status":{"token":"t","expirationTimestamp":"9999-12-31T23:59:59Z"}}`)
	f.Add("application/vnd.kubernetes.protobuf", "k8s\x00")
	f.Add("text/html; charset=x", "<html>")
	f.Fuzz(func(t *testing.T, contentType, body string) {
		config := &rest.Config{Host: "https://k", Transport: always(contentType, body)}
		minter := minterFor(t, config, func() time.Time { return now })
		grant, err := minter.Mint(t.Context(), request)
		if err != nil {
			if api.Kind(err) == nil {
				t.Errorf("error of no kind: %v", err)
			}
			return
		}
		if grant.Token.Empty() || !grant.ExpiresAt.After(now) ||
			grant.ExpiresAt.After(now.Add(request.Duration)) {
			t.Errorf("grant %+v", grant)
		}
	})
}
