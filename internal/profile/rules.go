package profile

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
)

// Limits of the API server, in durations of whole seconds. The server refuses shorter lifetimes,
// and longer ones (k8s.io/kubernetes, pkg/apis/authentication/validation).
const (
	MinDuration = 10 * time.Minute
	MaxDuration = (1 << 32) * time.Second
)

// CheckLifetime is an error when the API server grants no lifetime of d. what names it as the user
// knows it, for example "--duration".
func CheckLifetime(what string, d time.Duration) error {
	if d >= MinDuration && d <= MaxDuration && d%time.Second == 0 {
		return nil
	}
	return fmt.Errorf("invalid %s %q: must be between %s and %s, in whole seconds", what,
		ShortDuration(d),
		ShortDuration(MinDuration), ShortDuration(MaxDuration))
}

// ShortDuration writes a duration as people do, and as time.ParseDuration reads it: 1h for 1h0m0s.
func ShortDuration(d time.Duration) string {
	text := d.String()
	if short, ok := strings.CutSuffix(text, "m0s"); ok {
		text = short + "m"
	}
	if short, ok := strings.CutSuffix(text, "h0m"); ok {
		text = short + "h"
	}
	return text
}

// CheckAudience is an error for an audience that the cluster's limits could not list: they separate
// audiences by commas, and themselves by spaces.
func CheckAudience(audience string) error {
	apart := func(r rune) bool { return r == ',' || unicode.IsSpace(r) || unicode.IsControl(r) }
	if audience == "" || strings.ContainsFunc(audience, apart) {
		return fmt.Errorf("invalid audience %q: must not be empty, and not hold commas "+
			"or spaces", audience)
	}
	return nil
}

// maxMachine leaves room for the ending of a file's name.
const maxMachine = 200

// CheckMachine is an error for what cannot be the name of a machine, or of the file of its
// invitation.
func CheckMachine(name string) error {
	isWord := func(r rune) bool {
		return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
	}
	isStrange := func(r rune) bool { return !isWord(r) && r != '-' && r != '.' }
	if name != "" && len(name) <= maxMachine && !strings.ContainsFunc(name, isStrange) &&
		strings.Trim(name, "-.") == name {
		return nil
	}
	return fmt.Errorf("invalid machine name %q: must be that of a host, of letters, digits, "+
		"and - or . between them", name)
}

// CheckNamespace is an error when the API server admits no namespace of that name.
func CheckNamespace(name string) error {
	if isDNSLabel(name) {
		return nil
	}
	return fmt.Errorf("invalid namespace %q: must be 1 to %d lower case letters, digits and "+
		"-, with a letter or digit at both ends", name, maxLabel)
}

// CheckServiceAccount is an error when the API server admits no service account of that name.
func CheckServiceAccount(name string) error {
	if len(name) <= maxSubdomain && !slices.ContainsFunc(strings.Split(name, "."), isNoPart) {
		return nil
	}
	return fmt.Errorf("invalid service account %q: must be 1 to %d lower case letters, digits, "+
		"- and dots, with a letter or digit at both ends and beside each dot", name, maxSubdomain)
}

// Lengths of names in bytes (RFC 1123, as the API server reads it).
const (
	maxLabel     = 63
	maxSubdomain = 253
)

// isDNSLabel keeps "/", ".." and control characters out of URLs, file names and terminals, as the API
// server does. apimachinery's own function for that compiles its expressions in every process that
// links it, which every kubectl call would wait for; a test compares the two.
func isDNSLabel(name string) bool { return len(name) <= maxLabel && !isNoPart(name) }

// isNoPart reports whether a name cannot stand between two dots.
func isNoPart(name string) bool {
	strange := func(r rune) bool {
		return !('a' <= r && r <= 'z' || '0' <= r && r <= '9' || r == '-')
	}
	return name == "" || name[0] == '-' || name[len(name)-1] == '-' ||
		strings.ContainsFunc(name, strange)
}
