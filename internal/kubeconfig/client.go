package kubeconfig

import (
	"fmt"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/sa-exec-credential/sa-exec-credential/internal/yamledit"
)

// ClientConfig returns how a client would act with a context of the files, or with the current one
// when name is empty: with its credentials, exec plugins among them. It is an ErrNoContext,
// ErrReference or *UserError when there is no such way.
func ClientConfig(paths []string, name string) (*rest.Config, error) {
	files, err := Read(paths)
	if err != nil {
		return nil, err
	}
	return files.ClientConfig(name)
}

// ClientConfig is the package's.
func (f *Files) ClientConfig(name string) (*rest.Config, error) {
	return clientConfig(f.config, name)
}

// ClientConfig is the package's, for a context that has been resolved: to read a file of some
// hundred contexts once more would take a hundredth of a second.
func (c Context) ClientConfig() (*rest.Config, error) { return clientConfig(c.all, c.Name) }

// ClientConfigOf is ClientConfig for the current context of a kubeconfig in memory.
func ClientConfigOf(data []byte) (*rest.Config, error) {
	config, err := clientcmd.Load(data)
	if err != nil {
		return nil, fmt.Errorf("%w: not a kubeconfig", yamledit.ErrMalformed)
	}
	return clientConfig(config, "")
}

func clientConfig(config *clientcmdapi.Config, name string) (*rest.Config, error) {
	if name == "" {
		name = config.CurrentContext
	}
	if config.Contexts[name] == nil {
		return nil, fmt.Errorf("%w: %q", ErrNoContext, name)
	}
	config = only(config, name)
	if err := CheckUser(config, name); err != nil {
		return nil, err
	}
	none := &clientcmd.ConfigOverrides{}
	client, err := clientcmd.NewNonInteractiveClientConfig(*config, name, none,
		nil).ClientConfig()
	if err != nil {
		// The error can quote the file, of which parts are secret.
		return nil, fmt.Errorf("%w: context %q names a cluster or a user that is missing "+
			"or not usable",
			ErrReference, name)
	}
	return client, nil
}

// only is what a context needs of its files, in a copy: client-go writes into a user's exec section
// what it says of the cluster.
func only(config *clientcmdapi.Config, name string) *clientcmdapi.Config {
	found, context := clientcmdapi.NewConfig(), config.Contexts[name]
	found.Contexts[name] = context.DeepCopy()
	if cluster := config.Clusters[context.Cluster]; cluster != nil {
		found.Clusters[context.Cluster] = cluster.DeepCopy()
	}
	if user := config.AuthInfos[context.AuthInfo]; user != nil {
		found.AuthInfos[context.AuthInfo] = user.DeepCopy()
	}
	return found
}
