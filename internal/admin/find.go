// Package admin is an administrator's kubeconfig context as an API client.
//
// It knows nothing of profiles but where they came from and which cluster they are for.
package admin

import (
	"cmp"
	"errors"
	"fmt"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// Choice names whose credentials act on the cluster: those of a context, by default the one that setup
// was run with, else the current one.
type Choice struct {
	Context    string
	Kubeconfig string // a file; empty: as kubectl
}

// Admin is a way to act on a cluster with rights of one's own.
type Admin struct {
	Context kubeconfig.Context
	Config  *rest.Config
	Client  *api.Client
}

// ErrOwnContext is a context that this program created: its account has no rights to manage itself.
var ErrOwnContext = errors.New("the context's own credential comes from sa-exec-credential")

// New is the administrator of a context.
func New(context kubeconfig.Context) (*Admin, error) {
	config, err := context.ClientConfig()
	if err != nil {
		return nil, err
	}
	client, err := api.New(config, runtime.NewScheme())
	if err != nil {
		return nil, err
	}
	return &Admin{Context: context, Config: config, Client: client}, nil
}

// Find resolves the context. origin is what a profile remembers of its setup, nil when nothing does.
func Find(h *host.Host, c Choice, origin *profile.Origin) (*Admin, error) {
	name, paths := c.Context, []string(nil)
	if name == "" && c.Kubeconfig == "" && origin != nil {
		name, paths = origin.Context, origin.Kubeconfig
	}
	if paths == nil {
		var err error
		if paths, err = h.KubeconfigPaths(c.Kubeconfig); err != nil {
			return nil, err
		}
	}
	found, err := kubeconfig.Resolve(paths, name)
	if err != nil {
		return nil, err
	}
	uses, err := kubeconfig.FindPluginContexts(paths)
	if err != nil {
		return nil, err
	}
	for _, use := range uses {
		if use.Context == found.Name {
			return nil, fmt.Errorf("%w: %q", ErrOwnContext, found.Name)
		}
	}
	return New(found)
}

// FindFor is Find for the cluster of a profile. A context that leads elsewhere would make the wrong
// cluster's objects go away.
func FindFor(h *host.Host, c Choice, p profile.Profile) (*Admin, error) {
	found, err := Find(h, c, p.Origin)
	if err != nil {
		return nil, err
	}
	if err := p.Cluster.Difference(found.Context.Cluster); err != nil {
		return nil, fmt.Errorf("context %q: %w", found.Context.Name, err)
	}
	return found, nil
}

// Namespace is the one asked for, else the context's.
func (a *Admin) Namespace(asked string) string {
	return cmp.Or(asked, a.Context.Namespace, "default")
}
