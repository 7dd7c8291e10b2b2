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

// fromContext takes the credential of another context of the kubeconfig files that were named at setup. The context
// has to be for the profile's cluster, so that its credential goes nowhere else.
func fromContext(p profile.Profile, names string) (*rest.Config, error) {
	b := p.Bootstrap
	if err := isolate(b, nowWithin(p, names)); err != nil {
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

// isolate gives this process the environment of the profile, because client-go hands its own to exec plugins. It also hands
// them its standard error, which is dropped as a command's is.
func isolate(b profile.Bootstrap, within string) error {
	os.Clearenv()
	for _, setting := range append(Environment(b), within) {
		name, value, _ := strings.Cut(setting, "=")
		if err := os.Setenv(name, value); err != nil {
			return fmt.Errorf("%w: setting %q: %w", ErrSource, name, err)
		}
	}
	nothing, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err == nil {
		os.Stderr = nothing
	}
	return nil
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
