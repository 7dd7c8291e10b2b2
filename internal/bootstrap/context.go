package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kuberc"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// fromContext takes the credential of another context of the kubeconfig files that were named at
// setup. The context has to be for the profile's cluster, so that its credential goes nowhere else;
// its plugin is not run before that is known. The way there is the profile's own, through the
// profile's proxy.
func fromContext(ctx context.Context, p profile.Profile, system System) (*rest.Config, error) {
	b := p.Bootstrap
	config, err := contextConfig(b)
	if err != nil {
		return nil, err
	}
	if config.Insecure {
		return nil, fmt.Errorf("%w: context %q does not verify TLS", ErrSource, b.Context)
	}
	if err := rest.LoadTLSFiles(config); err != nil {
		return nil, unusable(b, errors.New("it names a certificate file that cannot be "+
			"read"))
	}
	found := profile.Cluster{Server: config.Host, TLSServerName: config.ServerName,
		CertificateAuthorityData: config.CAData}
	switch err := p.Cluster.DifferenceWithin(found); {
	case errors.Is(err, profile.ErrCluster):
		return nil, err
	case err != nil:
		return nil, unusable(b, errors.New("it is for another cluster than the profile"))
	}
	anonymous, err := Anonymous(p.Cluster)
	if err != nil {
		return nil, err
	}
	config.Proxy, config.CAData = anonymous.Proxy, anonymous.CAData
	if needsPlugin(config) {
		find := func(name string) (string, error) {
			return lookPath(name,
				b.Environment["PATH"])
		}
		if err := kuberc.Check(system.Kuberc, config.ExecProvider.Command,
			find); err != nil {
			return nil, unusable(b, err)
		}
		return fromPlugin(ctx, config, b, nowWithin(p, system.Getenv(WithinVariable)))
	}
	config.ExecProvider = nil
	return config, nil
}

// unusable is an ErrSource that says what is wrong with the context.
func unusable(b profile.Bootstrap, problem error) error {
	return fmt.Errorf("%w: context %q: %w", ErrSource, b.Context, problem)
}

// contextConfig reads the context as clients do, but never takes a pod's own credential for it.
func contextConfig(b profile.Bootstrap) (*rest.Config, error) {
	rules := &clientcmd.ClientConfigLoadingRules{Precedence: b.Kubeconfig}
	loaded, err := rules.Load()
	if err == nil {
		if err := kubeconfig.CheckUser(loaded, b.Context); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrSource, err)
		}
		client := clientcmd.NewNonInteractiveClientConfig(*loaded, b.Context,
			&clientcmd.ConfigOverrides{}, rules)
		var config *rest.Config
		if config, err = client.ClientConfig(); err == nil {
			return config, nil
		}
	}
	return nil, fmt.Errorf("%w: context %q of %q: %s",
		ErrMissing, b.Context, strings.Join(b.Kubeconfig, " "), contextProblem(err))
}

// contextProblem keeps a parser's words about a kubeconfig to one line; they may quote the file.
func contextProblem(err error) string {
	if clientcmd.IsContextNotFound(err) || clientcmd.IsEmptyConfig(err) {
		return "it does not exist"
	}
	if errors.Is(err, os.ErrNotExist) {
		return "the file does not exist"
	}
	return "it cannot be used"
}
