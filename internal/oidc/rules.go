package oidc

import (
	"fmt"
	"regexp"
	"strings"
)

// claim is one that says more than the claim sub does, or says it again.
type claim struct{ name, value string }

// forms are how known systems write what a job is into the claim sub, and the claims that say the
// same. An issuer can be told to write sub otherwise; then nothing but sub is compared.
var forms = []struct {
	subject *regexp.Regexp
	claims  []string // by the groups of subject
}{
	// docs.github.com/actions/reference/security/oidc
	{subject: regexp.MustCompile(`^repo:([^:]+):ref:(.+)$`), claims: []string{"repository",
		"ref"}},
	{subject: regexp.MustCompile(`^repo:([^:]+):environment:(.+)$`),
		claims: []string{"repository", "environment"}},
	{subject: regexp.MustCompile(`^repo:([^:]+):pull_request$`),
		claims: []string{"repository"}},
	// docs.gitlab.com/ci/secrets/id_token_authentication
	{subject: regexp.MustCompile(`^project_path:(.+):ref_type:(branch|tag):ref:(.+)$`),
		claims: []string{"project_path", "ref_type", "ref"}},
}

// ids are what GitHub adds to the names of owner and repository, so that nobody else can have them
// later. The claim repository is without.
var ids = regexp.MustCompile(`@\d+(/|$)`)

// rules pin the jobs by all that is known of them.
func rules(subjects []string) []rule {
	var jobs []string
	for _, subject := range subjects {
		same := []claim{{"sub", subject}}
		for _, form := range forms {
			match := form.subject.FindStringSubmatch(subject)
			if match == nil {
				continue
			}
			for i, name := range form.claims {
				value := match[i+1]
				if name == "repository" {
					value = ids.ReplaceAllString(value, "$1")
				}
				same = append(same, claim{name, value})
			}
			break
		}
		jobs = append(jobs, expression(same))
	}
	list := []rule{{strings.Join(jobs, " || "),
		"the ID token is not of a job that may mint"}}
	if areOfBranches(subjects) {
		list = append(list, rule{
			`!(claims.event_name in ["pull_request", "pull_request_target"])`,
			"the ID token is of a pull request's job"})
	}
	return list
}

// areOfBranches reports whether the jobs are GitHub's, and none that a pull request starts. One of
// the event pull_request_target has the claim sub of the branch that somebody wants to change.
func areOfBranches(subjects []string) bool {
	for _, subject := range subjects {
		if !strings.HasPrefix(subject, "repo:") || strings.HasSuffix(subject,
			":pull_request") {
			return false
		}
	}
	return true
}

// expression is true for the tokens that have all of some claims. Where there are several, it can
// stand beside another.
func expression(claims []claim) string {
	parts := make([]string, len(claims))
	for i, c := range claims {
		parts[i] = fmt.Sprintf("claims.%s == %s", c.name, quote(c.value))
	}
	if len(parts) == 1 {
		return parts[0]
	}
	return "(" + strings.Join(parts, " && ") + ")"
}

// quote writes a string of the Common Expression Language.
func quote(text string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`, "\r", `\r`,
		"\t", `\t`).Replace(text) + `"`
}
