package profile

import (
	"errors"
	"fmt"
	"regexp"
)

// A job of a CI system proves who it is by an ID token, which it asks the system itself for.

// IsJob reports whether the credential is the ID token of a job, which nothing but the job can get.
func (b Bootstrap) IsJob() bool { return b.Source == SourceGitHub || b.Source == SourceAzure }

// ownPrefixes are where the services themselves are: github.com's runners
// (docs.github.com/actions/reference/security/oidc), and dev.azure.com with the older name of it
// (learn.microsoft.com/rest/api/azure/devops/distributedtask/oidctoken).
var ownPrefixes = map[Source][]string{
	SourceGitHub: {"https://*.actions.githubusercontent.com/"},
	SourceAzure:  {"https://dev.azure.com/", "https://*.visualstudio.com/"},
}

// Prefixes are where the job's ID token may be asked for, as URLs that ParsePrefix reads.
func (b Bootstrap) Prefixes() []string {
	if b.URL != "" {
		return []string{b.URL}
	}
	return ownPrefixes[b.Source]
}

// AzureAudience is whom all ID tokens of Azure Pipelines are for: nobody can choose.
const AzureAudience = "api://AzureADTokenExchange"

// isConnection reports whether a text is the id of a service connection. The expression is for jobs
// alone: every kubectl call would wait for it otherwise.
func isConnection(id string) bool {
	const connection = `^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`
	return regexp.MustCompile(connection).MatchString(id)
}

// CheckJob is an error for what a job cannot ask for. An audience that is missing is none.
func (b Bootstrap) CheckJob() error {
	if b.URL != "" {
		if _, err := ParsePrefix(b.URL); err != nil {
			return err
		}
	}
	switch {
	case b.Source == SourceGitHub && b.Audience != "":
		return CheckAudience(b.Audience)
	case b.Audience != "":
		return errors.New("its ID tokens are for " + AzureAudience + " and nobody else")
	case b.ServiceConnection != "" && !isConnection(b.ServiceConnection):
		return fmt.Errorf("%q is not the id of a service connection", b.ServiceConnection)
	}
	return nil
}
