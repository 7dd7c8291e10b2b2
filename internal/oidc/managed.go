package oidc

import (
	"fmt"
	"strings"

	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// Elsewhere is what clusters have instead that let nobody set kube-apiserver's flags, in lines of
// comments.
func (t Trust) Elsewhere() (string, error) {
	prefix, list, err := t.prefixAndSubjects()
	if err != nil {
		return "", err
	}
	eks := []string{"aws", "eks", "associate-identity-provider-config", "--cluster-name",
		"NAME",
		"--oidc", fmt.Sprintf("identityProviderConfigName=ci,issuerUrl=%s,clientId=%s,"+
			"usernameClaim=sub,usernamePrefix=%s", t.Issuer, t.Audience, prefix)}
	if len(list) == 1 && !strings.ContainsAny(list[0], ",{}") {
		eks[len(eks)-1] += ",requiredClaims={sub=" + list[0] + "}"
	}
	lines := []string{
		"EKS takes one issuer, without rules but required claims: " +
			ui.CommandLine(eks...),
		"AKS takes the same rules from 1.30 on (preview), for users whose prefix begins with aks:jwt: " +
			"https://learn.microsoft.com/azure/aks/external-identity-provider-authentication-configure",
		"GKE takes no issuer of yours: the job logs in to Google Cloud (workload identity federation), " +
			"and --bootstrap context=NAME mints with that",
		"OpenShift takes it as oidcProviders of the Authentication called cluster " +
			"(config.openshift.io/v1)",
	}
	return "# " + strings.Join(lines, "\n# ") + "\n", nil
}
