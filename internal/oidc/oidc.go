// Package oidc says what an API server has to be told so that it takes the ID tokens of some jobs
// of a CI system, or of some people, and of nobody else: a structured authentication
// configuration (Kubernetes 1.34 and newer, KEP-3331), and what managed clusters have instead.
//
// It calls nobody, and imports internal/ui of this module.
package oidc

import (
	"bytes"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Trust is whose ID tokens are taken.
type Trust struct {
	Issuer   string // the claim iss, an https URL
	Audience string // the claim aud
	// Users are the identities as the API server shall call them: a prefix of its own choice,
	// and the claim sub, such as github:repo:acme/app:ref:refs/heads/main. All have one prefix.
	Users []string
}

// GitHubIssuer is the issuer of all ID tokens of github.com.
const GitHubIssuer = "https://token.actions.githubusercontent.com"

// What cannot be trusted.
var (
	ErrIssuer = errors.New("not an issuer of ID tokens")
	ErrUser   = errors.New("not a user that ID tokens stand for")
)

// CheckIssuer is an ErrIssuer for what the API server would not take as one.
func CheckIssuer(issuer string) error {
	u, err := url.Parse(issuer)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" ||
		u.Fragment != "" {
		return fmt.Errorf("%w: %q must be an https URL without user, query and fragment",
			ErrIssuer, issuer)
	}
	return nil
}

// subjects are how the claim sub of the known systems begins.
var subjects = regexp.MustCompile(`[:#](repo:|project_path:|p://|sc://|spiffe://|https?://)`)

// split tells the prefix of a user from the claim sub.
func split(user string) (prefix, subject string, err error) {
	end := 0
	switch found := subjects.FindStringIndex(":" + user); {
	case strings.HasPrefix(user, "https://") && strings.Contains(user, "#"):
		end = strings.Index(user, "#") + 1
	case found != nil:
		end = found[0]
	default:
		end = strings.IndexAny(user, ":#") + 1
	}
	prefix, subject = user[:end], user[end:]
	switch {
	case prefix == "" || subject == "":
		return "", "", fmt.Errorf("%w: %q has no prefix, such as github:, to keep it "+
			"apart from everybody else", ErrUser, user)
	case strings.HasPrefix(user, "system:"):
		return "", "", fmt.Errorf("%w: %q has the prefix of Kubernetes' own", ErrUser, user)
	}
	return prefix, subject, nil
}

// prefixAndSubjects are those of all users.
func (t Trust) prefixAndSubjects() (prefix string, list []string, err error) {
	for i, user := range t.Users {
		own, subject, err := split(user)
		if err != nil {
			return "", nil, err
		}
		if i > 0 && own != prefix {
			return "", nil, fmt.Errorf("%w: %q has another prefix than %q, and an "+
				"issuer has one", ErrUser, user, t.Users[0])
		}
		prefix, list = own, append(list, subject)
	}
	if len(list) == 0 {
		return "", nil, fmt.Errorf("%w: there is none", ErrUser)
	}
	return prefix, list, nil
}

// rule is one of claimValidationRules.
type rule struct {
	Expression string `yaml:"expression"`
	Message    string `yaml:"message"`
}

// authenticator is a JWTAuthenticator of apiserver.config.k8s.io/v1.
type authenticator struct {
	Issuer struct {
		URL       string   `yaml:"url"`
		Audiences []string `yaml:"audiences"`
	} `yaml:"issuer"`
	ClaimMappings struct {
		Username struct {
			Claim  string `yaml:"claim"`
			Prefix string `yaml:"prefix"`
		} `yaml:"username"`
	} `yaml:"claimMappings"`
	ClaimValidationRules []rule `yaml:"claimValidationRules"`
}

// Configuration is a file for kube-apiserver --authentication-config.
func (t Trust) Configuration() ([]byte, error) {
	prefix, list, err := t.prefixAndSubjects()
	if err != nil {
		return nil, err
	}
	if err := CheckIssuer(t.Issuer); err != nil {
		return nil, err
	}
	one := authenticator{ClaimValidationRules: rules(list)}
	one.Issuer.URL, one.Issuer.Audiences = t.Issuer, []string{t.Audience}
	one.ClaimMappings.Username.Claim, one.ClaimMappings.Username.Prefix = "sub", prefix
	var file bytes.Buffer
	encoder := yaml.NewEncoder(&file)
	encoder.SetIndent(2)
	err = encoder.Encode(struct {
		APIVersion string          `yaml:"apiVersion"`
		Kind       string          `yaml:"kind"`
		JWT        []authenticator `yaml:"jwt"`
	}{"apiserver.config.k8s.io/v1", "AuthenticationConfiguration", []authenticator{one}})
	return file.Bytes(), err
}
