package profile

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"

	"k8s.io/apimachinery/pkg/util/validation"
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

var machine = regexp.MustCompile(`^[A-Za-z0-9]+([.-]+[A-Za-z0-9]+)*$`)

// CheckMachine is an error for what cannot be the name of a machine, or of the file of its
// invitation.
func CheckMachine(name string) error {
	if len(name) <= maxMachine && machine.MatchString(name) {
		return nil
	}
	return fmt.Errorf("invalid machine name %q: must be that of a host, of letters, digits, "+
		"and - or . between them", name)
}

// CheckNamespace is an error when the API server admits no namespace of that name.
func CheckNamespace(name string) error {
	return checkObject("namespace", name, validation.IsDNS1123Label(name))
}

// CheckServiceAccount is an error when the API server admits no service account of that name.
func CheckServiceAccount(name string) error {
	return checkObject("service account", name, validation.IsDNS1123Subdomain(name))
}

// checkObject keeps "/", ".." and control characters out of URLs, file names and terminals, as the
// API server does.
func checkObject(what, name string, problems []string) error {
	if len(problems) == 0 {
		return nil
	}
	return fmt.Errorf("invalid %s %q: %s", what, name, problems[0])
}
