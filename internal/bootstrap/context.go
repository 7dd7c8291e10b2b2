package bootstrap

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// WithinVariable names the profile whose bootstrap credential is being obtained, for programs that doing so runs. A
// context that leads back to its own profile would otherwise run this program without end.
const WithinVariable = "SA_EXEC_CREDENTIAL_WITHIN"

// fromContext takes the credential of another context of the kubeconfig files that were named at setup. The context
// has to be for the profile's cluster, so that its credential goes nowhere else.
func fromContext(p profile.Profile) (*rest.Config, error) {
	b := p.Bootstrap
	if err := isolate(b, p.Name); err != nil {
		return nil, err
	}
	rules := &clientcmd.ClientConfigLoadingRules{Precedence: b.Kubeconfig, WarnIfAllMissing: false}
	overrides := &clientcmd.ConfigOverrides{CurrentContext: b.Context}
	config, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(rules, overrides).ClientConfig()
	if err != nil {
		return nil, fmt.Errorf("%w: context %q of %q: %s", ErrMissing, b.Context, strings.Join(b.Kubeconfig, " "), contextProblem(err))
	}
	if config.Insecure {
		return nil, fmt.Errorf("%w: context %q does not verify TLS", ErrSource, b.Context)
	}
	if err := rest.LoadTLSFiles(config); err != nil {
		return nil, fmt.Errorf("%w: context %q names a certificate file that cannot be read", ErrSource, b.Context)
	}
	wanted, err := p.Identity()
	if err != nil {
		return nil, err
	}
	found, err := profile.IdentityOf(config.Host, config.ServerName, config.CAData)
	if err != nil {
		return nil, err
	}
	if wanted != found {
		return nil, fmt.Errorf("%w: context %q is for another cluster than the profile", ErrSource, b.Context)
	}
	anonymous, err := Anonymous(p.Cluster)
	if err != nil {
		return nil, err
	}
	if config.ExecProvider != nil {
		config.ExecProvider.InteractiveMode = clientcmdapi.NeverExecInteractiveMode
	}
	config.Proxy = anonymous.Proxy
	return config, nil
}

// isolate gives this process the environment of the profile, because client-go hands its own to exec plugins.
func isolate(b profile.Bootstrap, name string) error {
	if os.Getenv(WithinVariable) == name {
		return fmt.Errorf("%w: context %q leads back to profile %q", ErrSource, b.Context, name)
	}
	os.Clearenv()
	for variable, value := range b.Environment {
		if err := os.Setenv(variable, value); err != nil {
			return fmt.Errorf("%w: setting %q: %w", ErrSource, variable, err)
		}
	}
	return os.Setenv(WithinVariable, name)
}

// contextProblem keeps a parser's words about a kubeconfig to one line; it may quote the file.
func contextProblem(err error) string {
	if clientcmd.IsContextNotFound(err) || clientcmd.IsEmptyConfig(err) {
		return "it does not exist"
	}
	if errors.Is(err, os.ErrNotExist) {
		return "the file does not exist"
	}
	return "it cannot be used"
}
