package profile

import (
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
)

// Prefix is where something secret may be sent: to one host, by TLS, at or below one path.
type Prefix struct {
	host string // in lower case, with its port unless that is 443; "*." stands for one label
	path string // without a slash at its end
}

// anyLabel at a host's beginning stands for one label of letters, digits, "-" and "_".
const anyLabel = "*."

// ParsePrefix reads an https URL that has neither a user nor a query, and no path that a server
// could read in two ways.
func ParsePrefix(text string) (Prefix, error) {
	u, err := url.Parse(text)
	if err != nil {
		return Prefix{}, fmt.Errorf("%q is not a URL", text)
	}
	problem := plainProblem(u)
	label, rest := cutLabel(u.Hostname())
	switch {
	case problem != "":
	case u.RawQuery != "" || u.ForceQuery:
		problem = "has a query"
	case strings.Contains(rest, "*") || label == "*" && !strings.Contains(rest, "."):
		problem = "has a host that names no one: only the first label, of three or more, " +
			"can be *"
	case u.Path != "" && path.Clean(u.Path) != strings.TrimRight(u.Path, "/") && u.Path != "/":
		problem = "has a path with empty segments"
	}
	if problem != "" {
		return Prefix{}, fmt.Errorf("%q %s", text, problem)
	}
	return Prefix{hostOf(u), strings.TrimRight(u.Path, "/")}, nil
}

// Covers reports whether a URL is the prefix's or one below it. What other programs could read as
// the URL of another place is not.
func (p Prefix) Covers(u *url.URL) bool {
	if plainProblem(u) != "" {
		return false
	}
	host := hostOf(u)
	if below, any := strings.CutPrefix(p.host, anyLabel); any {
		label, rest := cutLabel(host)
		if !isLabel(label) || rest != below {
			return false
		}
	} else if host != p.host {
		return false
	}
	return u.Path == p.path || strings.HasPrefix(u.Path, p.path+"/")
}

// plainProblem is what keeps a URL from being the one that it looks like; empty: nothing.
func plainProblem(u *url.URL) string {
	escaped := strings.ToLower(u.EscapedPath())
	switch {
	case u.Scheme != "https":
		return "is not an https URL"
	case u.Opaque != "" || u.Hostname() == "":
		return "has no host"
	case u.User != nil:
		return "has a user"
	case u.Fragment != "" || u.RawFragment != "":
		return "has a fragment"
	case strings.ContainsAny(u.Path, "\\\x00") || strings.Contains(escaped, "%2f"):
		return "has a path that can be read in two ways"
	case slices.ContainsFunc(strings.Split(u.Path, "/"), isDots):
		return "has a path that leads back"
	}
	return ""
}

func isDots(segment string) bool { return segment == "." || segment == ".." }

// hostOf is a URL's host in one spelling.
func hostOf(u *url.URL) string {
	host := strings.ToLower(u.Host)
	if name, found := strings.CutSuffix(host, ":443"); found {
		return name
	}
	return strings.TrimSuffix(host, ":")
}

func cutLabel(host string) (label, rest string) {
	label, rest, _ = strings.Cut(host, ".")
	return label, rest
}

func isLabel(text string) bool {
	return text != "" && !strings.ContainsFunc(text, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_'
	})
}
