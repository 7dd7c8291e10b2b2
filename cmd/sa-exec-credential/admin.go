package main

import (
	"context"
	"errors"
	"fmt"

	"k8s.io/client-go/rest"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// administrator names whose credentials act on the cluster: those of a context, by default the one that setup was run
// with, else the current one.
type administrator struct {
	Context    string `placeholder:"CONTEXT" help:"The context whose credentials act on the cluster (default: the one of setup, else the current one)."`
	Kubeconfig string `placeholder:"FILE" help:"The kubeconfig that holds it (default: as kubectl)."`
}

// admin is a way to act on a cluster with rights of one's own.
type admin struct {
	context kubeconfig.Context
	config  *rest.Config
	client  *api.Client
}

// errOwnContext is a context that this program made: its account has no rights to manage itself.
var errOwnContext = errors.New("the context's own credential comes from sa-exec-credential")

// find resolves the context. origin is what a profile remembers of its setup, nil when nothing does.
func (a administrator) find(env *environment, origin *profile.Origin) (*admin, error) {
	name, paths := a.Context, []string(nil)
	if name == "" && a.Kubeconfig == "" && origin != nil {
		name, paths = origin.Context, origin.Kubeconfig
	}
	if paths == nil {
		var err error
		if paths, err = env.kubeconfigPaths(a.Kubeconfig); err != nil {
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
			return nil, fmt.Errorf("%w: %q", errOwnContext, found.Name)
		}
	}
	config, client, err := env.adminOf(found)
	if err != nil {
		return nil, err
	}
	return &admin{context: found, config: config, client: client}, nil
}

// findFor is find for the cluster of a profile. A context that leads elsewhere would make the wrong cluster's objects
// go away.
func (a administrator) findFor(env *environment, p profile.Profile) (*admin, error) {
	found, err := a.find(env, p.Origin)
	if err != nil {
		return nil, err
	}
	wanted, err := p.Identity()
	if err != nil {
		return nil, err
	}
	identity, err := profile.IdentityOf(found.context.Cluster.Server, found.context.Cluster.TLSServerName, found.context.Cluster.CertificateAuthorityData)
	if err != nil {
		return nil, err
	}
	if err := wanted.Difference(identity); err != nil {
		return nil, fmt.Errorf("context %q: %w", found.context.Name, err)
	}
	return found, nil
}

// ofDevice loads a profile whose tokens are bound to a device Secret, and finds who may change that Secret.
func (a administrator) ofDevice(ctx context.Context, env *environment, name string) (*session, *admin, error) {
	s, err := env.load(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	if s.profile.Device == nil {
		return nil, nil, fmt.Errorf("%w: profile %q has no device Secret; its tokens die when they expire, and logout forgets them here", errUsage, name)
	}
	admin, err := a.findFor(env, s.profile)
	return s, admin, err
}
