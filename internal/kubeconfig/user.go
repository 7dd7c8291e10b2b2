package kubeconfig

import (
	"cmp"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// ErrUser is a user whose way to log in clients of today do not have.
var ErrUser = errors.New("not a way to log in that clients have today")

// UserError is an ErrUser, and knows what takes the place of that way.
type UserError struct {
	Context, User string
	Problem       string
	Fix           string // commands, where there are some
}

// Error implements error.
func (e *UserError) Error() string {
	return fmt.Sprintf("context %q: user %q %s", e.Context, e.User, e.Problem)
}

// Unwrap makes it an ErrUser.
func (e *UserError) Unwrap() error { return ErrUser }

// CheckUser is a *UserError when the user of a context has an auth-provider, or an exec section of
// a version that is no more. client-go says of either only that it does not know it.
func CheckUser(config *clientcmdapi.Config, context string) error {
	found := config.Contexts[context]
	if found == nil {
		return nil
	}
	user := config.AuthInfos[found.AuthInfo]
	if user == nil {
		return nil
	}
	e := &UserError{Context: context, User: found.AuthInfo}
	switch exec := user.Exec; {
	case user.AuthProvider != nil:
		e.Problem = fmt.Sprintf("has the auth-provider %q, which %s",
			user.AuthProvider.Name, fateOf(user.AuthProvider.Name))
		e.Fix = e.replaceProvider(user)
	case exec != nil && exec.APIVersion != defaultAPIVersion && exec.APIVersion != v1beta1:
		e.Problem = fmt.Sprintf("has an exec section of apiVersion %q; clients know %s "+
			"and %s", exec.APIVersion, defaultAPIVersion, v1beta1)
		e.Fix = e.renewExec(user)
	case exec != nil && exec.InteractiveMode == "":
		e.Problem = fmt.Sprintf("has an exec section without interactiveMode, which "+
			"apiVersion %s needs", exec.APIVersion)
		e.Fix = ui.CommandLine(append(e.setCredentials(user),
			"--exec-interactive-mode=IfAvailable")...)
	default:
		return nil
	}
	return e
}

// fateOf says what has become of a provider: Kubernetes 1.26 removed those of clouds
// (https://github.com/kubernetes/kubernetes/pull/112341); what is left runs in kubectl alone.
func fateOf(provider string) string {
	if slices.Contains([]string{"gcp", "azure", "openstack"}, provider) {
		return "Kubernetes removed from its clients with 1.26"
	}
	return "no client runs but some kubectl"
}

// replaceProvider is what gives a user an exec section in the place of a provider.
func (e *UserError) replaceProvider(user *clientcmdapi.AuthInfo) string {
	file := user.LocationOfOrigin
	switch user.AuthProvider.Name {
	case "gcp":
		return "gcloud components install gke-gcloud-auth-plugin; then " +
			credentialsOfGKE(e.Context)
	case "azure":
		return "install kubelogin (az aks install-cli), then: " +
			ui.CommandLine("kubelogin", "convert-kubeconfig", "-l", "azurecli",
				"--kubeconfig", file, "--context", e.Context)
	case "openstack":
		return e.newExec(user, "client-keystone-auth")
	case "oidc":
		settings := user.AuthProvider.Config
		args := []string{"oidc-login", "get-token",
			"--oidc-issuer-url=" + cmp.Or(settings["idp-issuer-url"], "URL"),
			"--oidc-client-id=" + cmp.Or(settings["client-id"], "ID")}
		for scope := range strings.SplitSeq(settings["extra-scopes"], ",") {
			if scope != "" {
				args = append(args, "--oidc-extra-scope="+scope)
			}
		}
		fix := "install kubelogin (kubectl krew install oidc-login), then: " +
			e.newExec(user, "kubectl", args...)
		if settings["client-secret"] != "" {
			fix += "; its client-secret goes into a further " +
				"--exec-arg=--oidc-client-secret=SECRET"
		}
		return fix
	}
	return "give it the exec section of the plugin that takes its place: " +
		"kubectl config set-credentials --help shows how"
}

// credentialsOfGKE rewrites a context of GKE, whose name is gke_PROJECT_LOCATION_CLUSTER unless
// somebody has changed it.
func credentialsOfGKE(context string) string {
	line := []string{"gcloud", "container", "clusters", "get-credentials"}
	parts := strings.Split(context, "_")
	if len(parts) != 4 || parts[0] != "gke" {
		return ui.CommandLine(append(line, "CLUSTER", "--location", "LOCATION")...) +
			", with the cluster's name and region or zone"
	}
	return "run: " + ui.CommandLine(append(line, parts[3], "--location", parts[2], "--project",
		parts[1])...)
}

// newExec gives the context another user: kubectl cannot take a provider out of one.
func (e *UserError) newExec(old *clientcmdapi.AuthInfo, command string, args ...string) string {
	config := []string{"kubectl", "config", "--kubeconfig", old.LocationOfOrigin}
	name := e.User + "-exec"
	set := append(slices.Clone(config), "set-credentials", name,
		"--exec-api-version="+defaultAPIVersion, "--exec-interactive-mode=IfAvailable",
		"--exec-command="+command)
	for _, arg := range args {
		set = append(set, "--exec-arg="+arg)
	}
	return ui.CommandLine(set...) + " && " +
		ui.CommandLine(append(config, "set-context", e.Context, "--user="+name)...)
}

// renewExec has the tool that wrote an exec section write it again, where it is known how.
func (e *UserError) renewExec(user *clientcmdapi.AuthInfo) string {
	tool := strings.TrimSuffix(filepath.Base(user.Exec.Command), ".exe")
	if cluster := clusterOfEKS(tool, user.Exec.Args); cluster != "" {
		line := []string{"aws", "eks", "update-kubeconfig", "--name", cluster,
			"--kubeconfig", user.LocationOfOrigin, "--alias", e.Context}
		if region := argument(user.Exec.Args, "--region"); region != "" {
			line = append(line, "--region", region)
		}
		return "update aws, then: " + ui.CommandLine(line...)
	}
	return fmt.Sprintf("update %s, and have it write the kubeconfig again, or: ",
		ui.CommandLine(tool)) +
		ui.CommandLine(append(e.setCredentials(user), "--exec-api-version="+
			defaultAPIVersion, "--exec-interactive-mode=IfAvailable")...)
}

func (e *UserError) setCredentials(user *clientcmdapi.AuthInfo) []string {
	return []string{"kubectl", "config", "--kubeconfig", user.LocationOfOrigin,
		"set-credentials", e.User}
}

// clusterOfEKS reads the arguments of the two tools that log in to EKS.
func clusterOfEKS(tool string, args []string) string {
	switch tool {
	case "aws":
		return argument(args, "--cluster-name")
	case "aws-iam-authenticator", "heptio-authenticator-aws":
		return cmp.Or(argument(args, "-i"), argument(args, "--cluster-id"))
	}
	return ""
}

// argument is the value of a flag, empty where there is none.
func argument(args []string, flag string) string {
	for i, arg := range args {
		if value, found := strings.CutPrefix(arg, flag+"="); found {
			return value
		}
		if arg == flag && i+1 < len(args) {
			return args[i+1]
		}
	}
	return ""
}
