package oidc

import (
	"errors"
	"strings"
	"testing"
)

func TestTheConfigurationPinsWhatIsKnownOfTheJobs(t *testing.T) {
	for _, test := range []struct {
		name   string
		users  []string
		prefix string
		has    []string
		hasNot []string
	}{
		{"a branch at GitHub", []string{"github:repo:acme/app:ref:refs/heads/main"},
			"github:",
			[]string{`claims.sub == "repo:acme/app:ref:refs/heads/main"`,
				`claims.repository == "acme/app"`,
				`claims.ref == "refs/heads/main"`,
				`!(claims.event_name in ["pull_request", "pull_request_target"])`},
			nil},
		{"a branch at GitHub, with ids",
			[]string{"github:repo:acme@1/app@23:ref:refs/heads/main"}, "github:",
			[]string{`claims.sub == "repo:acme@1/app@23:ref:refs/heads/main"`,
				`claims.repository == "acme/app"`}, nil},
		{"an environment at GitHub", []string{"gh#repo:acme/app:environment:prod"}, "gh#",
			[]string{`claims.environment == "prod"`, "event_name"},
			[]string{"claims.ref "}},
		{"pull requests at GitHub", []string{"github:repo:acme/app:pull_request"},
			"github:",
			[]string{`claims.repository == "acme/app"`}, []string{"event_name"}},
		{"two branches", []string{"github:repo:acme/app:ref:refs/heads/main",
			"github:repo:acme/web:ref:refs/heads/main"}, "github:",
			[]string{`"refs/heads/main") || (claims.sub`,
				`claims.repository == "acme/web"`}, nil},
		{"a branch at GitLab", []string{"gitlab:project_path:a/b/c:ref_type:branch:ref:main"}, "gitlab:",
			[]string{`claims.project_path == "a/b/c"`, `claims.ref_type == "branch"`,
				`claims.ref == "main"`}, []string{"event_name"}},
		{"a pipeline at Azure", []string{"aks:jwt:azure:p://acme/app/deploy"},
			"aks:jwt:azure:",
			[]string{`claims.sub == "p://acme/app/deploy"`}, []string{"&&"}},
		{"a workload", []string{"spiffe:spiffe://example.org/ci"}, "spiffe:",
			[]string{`claims.sub == "spiffe://example.org/ci"`}, nil},
		{"a person", []string{"sso:alice"}, "sso:", []string{`claims.sub == "alice"`}, nil},
		{"the prefix of --oidc-username-prefix",
			[]string{"https://example.com/a#repo:b/c:ref:d"},
			"https://example.com/a#", []string{`claims.sub == "repo:b/c:ref:d"`}, nil},
		{"text that would end a string", []string{`sso:a" || true || "\`}, "sso:",
			[]string{`claims.sub == "a\" || true || \"\\"`}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			file, err := Trust{"https://example.com", "k8s", test.users}.Configuration()
			if err != nil {
				t.Fatal(err)
			}
			text := strings.NewReplacer("\n", " ", "'", "").Replace(string(file))
			text = strings.Join(strings.Fields(text), " ")
			for _, part := range append(test.has, "prefix: "+test.prefix) {
				if !strings.Contains(strings.ReplaceAll(text,
					`prefix: "`+test.prefix+`"`,
					"prefix: "+test.prefix), part) {
					t.Errorf("it does not hold %s:\n%s", part, file)
				}
			}
			for _, part := range test.hasNot {
				if strings.Contains(text, part) {
					t.Errorf("it holds %s:\n%s", part, file)
				}
			}
		})
	}
}

func TestWhatCannotBeTrusted(t *testing.T) {
	const issuer = "https://example.com"
	for _, test := range []struct {
		name, issuer string
		users        []string
		err          error
	}{
		{"nobody", issuer, nil, ErrUser},
		{"no prefix", issuer, []string{"alice"}, ErrUser},
		{"a claim without a prefix", issuer, []string{"repo:acme/app:ref:refs/heads/main"},
			ErrUser},
		{"a prefix and nobody", issuer, []string{"github:"}, ErrUser},
		{"Kubernetes' own", issuer, []string{"system:masters"}, ErrUser},
		{"two prefixes", issuer, []string{"a:b", "c:d"}, ErrUser},
		{"no TLS", "http://example.com", []string{"a:b"}, ErrIssuer},
		{"no issuer", "", []string{"a:b"}, ErrIssuer},
		{"a query", "https://example.com?a", []string{"a:b"}, ErrIssuer},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := Trust{test.issuer, "k8s", test.users}.Configuration()
			if !errors.Is(err, test.err) {
				t.Errorf("got %v", err)
			}
		})
	}
}
