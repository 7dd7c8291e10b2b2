package profile

import (
	"net/url"
	"path"
	"strings"
	"testing"
)

func TestAPrefixCoversItsOwnHostAndPathAndNothingThatLooksLikeThem(t *testing.T) {
	const (
		github = "https://*.actions.githubusercontent.com/"
		azure  = "https://dev.azure.com/acme"
		server = "https://ghe.example.com:8443/_services"
	)
	for _, test := range []struct {
		name, prefix, url string
		want              bool
	}{
		{"a job's own", github, "https://run-1.actions.githubusercontent.com/a//idtoken/1?api-version=2.0", true},
		{"no path", github, "https://run-1.actions.githubusercontent.com", true},
		{"capitals", github, "HTTPS://Run-1.Actions.GitHubUserContent.com/a", true},
		{"the default port", github, "https://run-1.actions.githubusercontent.com:443/a",
			true},
		{"an empty port", github, "https://run-1.actions.githubusercontent.com:/a", true},
		{"another port", github, "https://run-1.actions.githubusercontent.com:8443/a",
			false},
		{"two labels", github, "https://a.b.actions.githubusercontent.com/a", false},
		{"no label", github, "https://actions.githubusercontent.com/a", false},
		{"an empty label", github, "https://.actions.githubusercontent.com/a", false},
		{"an escaped label", github, "https://%61.actions.githubusercontent.com/a", false},
		{"a label of a star", github, "https://*.actions.githubusercontent.com/a", false},
		{"a longer name", github,
			"https://run-1.actions.githubusercontent.com.example.com/a", false},
		{"a name that ends the same", github,
			"https://run-1.evilactions.githubusercontent.com/a", false},
		{"a final dot", github, "https://run-1.actions.githubusercontent.com./a", false},
		{"the name as a user", github,
			"https://run-1.actions.githubusercontent.com@example.com/a", false},
		{"a user", github, "https://me@run-1.actions.githubusercontent.com/a", false},
		{"the name as a path", github,
			"https://example.com/run-1.actions.githubusercontent.com/a", false},
		{"the name as a query", github,
			"https://example.com?.actions.githubusercontent.com/a", false},
		{"the name as a fragment", github,
			"https://example.com#.actions.githubusercontent.com/a", false},
		{"a fragment", github, "https://run-1.actions.githubusercontent.com/a#b", false},
		{"no TLS", github, "http://run-1.actions.githubusercontent.com/a", false},
		{"no scheme", github, "//run-1.actions.githubusercontent.com/a", false},
		{"no host", github, "https:run-1.actions.githubusercontent.com/a", false},
		{"below", azure, "https://dev.azure.com/acme/project/oidctoken", true},
		{"itself", azure, "https://dev.azure.com/acme", true},
		{"a longer segment", azure, "https://dev.azure.com/acme-evil/project", false},
		{"capitals in a path", azure, "https://dev.azure.com/ACME/project", false},
		{"above", azure, "https://dev.azure.com/", false},
		{"a path that leads back", azure, "https://dev.azure.com/acme/../evil", false},
		{"one that leads back, escaped", azure, "https://dev.azure.com/acme/%2e%2E/evil",
			false},
		{"an escaped slash", azure, "https://dev.azure.com/acme%2Fproject", false},
		{"a backslash", azure, `https://dev.azure.com/acme/\evil`, false},
		{"an escaped backslash", azure, "https://dev.azure.com/acme/%5cevil", false},
		{"an end of text", azure, "https://dev.azure.com/acme/%00evil", false},
		{"an enterprise server's", server, "https://ghe.example.com:8443/_services/token/1",
			true},
		{"another port of it", server, "https://ghe.example.com/_services/token/1", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			prefix, err := ParsePrefix(test.prefix)
			if err != nil {
				t.Fatal(err)
			}
			parsed, err := url.Parse(test.url)
			if got := err == nil && prefix.Covers(parsed); got != test.want {
				t.Errorf("%s is covered by %s: %v", test.url, test.prefix, got)
			}
		})
	}
}

func TestParsePrefix(t *testing.T) {
	for text, fine := range map[string]bool{
		"https://ghe.example.com":            true,
		"https://ghe.example.com/_services/": true,
		"https://*.actions.acme.ghe.com/":    true,
		"http://ghe.example.com":             false,
		"ghe.example.com":                    false,
		"https://":                           false,
		"https://*.com":                      false,
		"https://*":                          false,
		"https://a.*.com":                    false,
		"https://me@ghe.example.com":         false,
		"https://ghe.example.com/?a=b":       false,
		"https://ghe.example.com?":           false,
		"https://ghe.example.com/#a":         false,
		"https://ghe.example.com/a//b":       false,
		"https://ghe.example.com/a/../b":     false,
		"https://ghe.example.com/a%2fb":      false,
		"https://ghe.example.com:port":       false,
	} {
		if _, err := ParsePrefix(text); (err == nil) != fine {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// FuzzPrefix looks for a URL that is covered and leads elsewhere, or that can be read as another.
func FuzzPrefix(f *testing.F) {
	for _, text := range []string{"https://run-1.actions.githubusercontent.com/a//b?c=d",
		"https://dev.azure.com/acme/p", "https://dev.azure.com/acme/%2e%2e/evil",
		"https://a@run-1.actions.githubusercontent.com", `https://dev.azure.com\@evil/acme`,
		"https://dev.azure.com:443/acme", "https://dev.azure.com./acme"} {
		f.Add(text)
	}
	github, err := ParsePrefix("https://*.actions.githubusercontent.com/")
	if err != nil {
		f.Fatal(err)
	}
	azure, err := ParsePrefix("https://dev.azure.com/acme")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		u, err := url.Parse(text)
		if err != nil {
			return
		}
		host, cleaned := strings.ToLower(u.Hostname()), path.Clean("/"+u.Path)
		isGitHub := strings.HasSuffix(host, ".actions.githubusercontent.com")
		isAzure := host == "dev.azure.com" && (cleaned == "/acme" ||
			strings.HasPrefix(cleaned, "/acme/"))
		covered := github.Covers(u) && !isGitHub || azure.Covers(u) && !isAzure
		if covered {
			t.Errorf("%q is covered", text)
		}
		again, err := url.Parse(u.String())
		if (github.Covers(u) || azure.Covers(u)) && (err != nil || u.Scheme != "https" ||
			u.User != nil || again.Host != u.Host || again.Path != u.Path) {
			t.Errorf("%q is covered, and is written as %q", text, u)
		}
	})
}
