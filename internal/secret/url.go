package secret

import (
	"net/url"
	"strings"
)

// URL is a URL for messages: what stands for user information or a query in it, which can be a
// password or a token, is REDACTED. That it cannot be parsed is no reason to show it.
func URL(text string) string { return withoutSecrets(text, redacted+"@", "?"+redacted) }

// PlainURL is a URL for commands that a person types: without user information and query.
func PlainURL(text string) string { return withoutSecrets(text, "", "") }

// HasUser reports whether a URL holds user information, with or without a password.
func HasUser(text string) bool { return URL(text) != withoutSecrets(text, "", "?"+redacted) }

func withoutSecrets(text, user, query string) string {
	rest, fragment := text, ""
	if before, after, found := strings.Cut(rest, "#"); found {
		// a password that nobody has escaped can hold one as well
		rest, fragment = before, "#"+redacted
		if strings.Contains(after, "@") {
			rest, fragment = text, ""
		}
	}
	before, rest := cutScheme(rest)
	end := len(rest)
	if parsed, err := url.Parse(text); err == nil && parsed.Host != "" {
		// an "@" behind the host is no user's
		end = strings.IndexAny(rest+"/", "/?")
	}
	if at := strings.LastIndex(rest[:min(end, len(rest))], "@"); at >= 0 {
		rest = user + rest[at+1:]
	}
	if path, after, found := strings.Cut(rest, "?"); found {
		rest = path
		if after != "" {
			rest += query
		}
	}
	return before + rest + fragment
}

// cutScheme is a URL's scheme with what is behind it, and the rest. Some forget the scheme.
func cutScheme(text string) (before, rest string) {
	name, rest, found := strings.Cut(text, "//")
	letters := strings.TrimSuffix(strings.ToLower(name), ":")
	if !found || strings.Trim(letters, "abcdefghijklmnopqrstuvwxyz0123456789+.-") != "" {
		return "", text
	}
	return name + "//", rest
}
