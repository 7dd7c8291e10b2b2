// Package admin is an administrator's kubeconfig context as an API client, logged in.
//
// It knows nothing of profiles but where they came from and which cluster they are for. It prints
// nothing: it reports what a person has to wait for. What a context's plugin prints goes to the
// terminal, and it can ask there where a person runs the command.
package admin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"k8s.io/client-go/rest"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/bootstrap"
	"github.com/sa-exec-credential/sa-exec-credential/internal/connect"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/rights"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// Choice names whose credentials act on the cluster: those of a context, by default the one that
// setup was run with, else the current one.
type Choice struct {
	Context    string
	Kubeconfig string // a file; empty: as kubectl
}

// Admin is a way to act on a cluster with rights of one's own.
type Admin struct {
	Context kubeconfig.Context
	// Kubeconfig are the files that Find has found the context in.
	Kubeconfig []string
	Config     *rest.Config
	Client     *api.Client
}

// ErrOwnContext is a context that this program created: its account has no rights to manage itself.
var ErrOwnContext = errors.New("the context's own credential comes from sa-exec-credential")

// New is the administrator of a context, whose plugin has logged in: report is told when that takes
// a while.
func New(ctx context.Context, h *host.Host, found kubeconfig.Context,
	report ui.Report) (*Admin, error) {
	config, err := found.ClientConfig()
	if err != nil {
		return nil, err
	}
	if authorities := found.Cluster.CertificateAuthorityData; len(authorities) > 0 {
		// the profile's, where the context's bundle holds more
		config.CAData, config.CAFile = authorities, ""
	}
	if err := login(ctx, h, found.Name, config, report); err != nil {
		return nil, err
	}
	client, err := connect.To(config)
	if err != nil {
		return nil, err
	}
	return &Admin{Context: found, Config: config, Client: client}, nil
}

// Find resolves the context and logs in. origin is what a profile remembers of its setup, nil when
// nothing does.
func Find(ctx context.Context, h *host.Host, c Choice, origin *profile.Origin,
	report ui.Report) (*Admin, error) {
	found, paths, err := resolve(h, c, origin, report)
	if err != nil {
		return nil, err
	}
	return in(ctx, h, found, paths, report)
}

func in(ctx context.Context, h *host.Host, found kubeconfig.Context, paths []string,
	report ui.Report) (*Admin, error) {
	a, err := New(ctx, h, found, report)
	if err != nil {
		return nil, err
	}
	a.Kubeconfig = paths
	return a, nil
}

// FindFor is Find for the cluster of a profile. A context that leads elsewhere would make the wrong
// cluster's objects go away, so nobody is asked to log in there.
func FindFor(ctx context.Context, h *host.Host, c Choice, p profile.Profile,
	report ui.Report) (*Admin, error) {
	found, paths, err := resolve(h, c, p.Origin, report)
	if err != nil {
		return nil, err
	}
	if err := p.Cluster.DifferenceWithin(found.Cluster); err != nil {
		return nil, fmt.Errorf("context %q: %w", found.Name, err)
	}
	found.Cluster.CertificateAuthorityData = p.Cluster.CertificateAuthorityData
	return in(ctx, h, found, paths, report)
}

// resolve finds the context that is chosen.
func resolve(h *host.Host, c Choice, origin *profile.Origin, report ui.Report) (kubeconfig.Context,
	[]string, error) {
	name, paths := c.Context, []string(nil)
	if name == "" && c.Kubeconfig == "" && origin != nil {
		name, paths = origin.Context, origin.Kubeconfig
	}
	if paths == nil {
		var err error
		if paths, err = h.SourcePaths(c.Kubeconfig); err != nil {
			return kubeconfig.Context{}, nil, err
		}
	}
	return Resolve(h, paths, name, report)
}

// Resolve finds the context that acts on a cluster, and the files that it is in. One that this
// program has created has no rights to: then it is the one that its profile was set up with, and
// report is told. README's first command makes the context of a profile the current one.
func Resolve(h *host.Host, paths []string, name string, report ui.Report) (kubeconfig.Context,
	[]string, error) {
	files, err := kubeconfig.Read(paths)
	if err != nil {
		return kubeconfig.Context{}, paths, err
	}
	return ResolveIn(h, files, name, report)
}

// ResolveIn is Resolve for files that have been read.
func ResolveIn(h *host.Host, files *kubeconfig.Files, name string,
	report ui.Report) (kubeconfig.Context, []string, error) {
	paths := files.Paths
	found, err := files.Resolve(name)
	if err != nil {
		return found, paths, err
	}
	uses := files.PluginContexts()
	i := slices.IndexFunc(uses,
		func(use kubeconfig.PluginContext) bool { return use.Context == found.Name })
	if i < 0 {
		return found, paths, nil
	}
	own := fmt.Errorf("%w: %q", ErrOwnContext, found.Name)
	profiles, err := h.Profiles()
	if err != nil {
		return found, paths, err
	}
	old, err := profiles.Load(uses[i].Profile)
	if err != nil || old.Origin == nil {
		return found, paths, own
	}
	origin, err := kubeconfig.Resolve(old.Origin.Kubeconfig, old.Origin.Context)
	if err != nil {
		return found, paths, fmt.Errorf("%w, and the one that it was set up with: %w", own,
			err)
	}
	report(ui.Step, fmt.Sprintf("context %q is of profile %q: using context %q, with which "+
		"that "+
		"was set up", found.Name, old.Name, origin.Name))
	return origin, old.Origin.Kubeconfig, nil
}

// Require is a *rights.Error that names all rights of a list that are missing.
func (a *Admin) Require(ctx context.Context, list []rights.Right) error {
	missing, err := rights.Missing(ctx, a.Client, list)
	if err != nil {
		return err
	}
	return a.Lacks(ctx, rights.Error{Missing: missing})
}

// Lacks is a *rights.Error for rights that are missing, and nil where none are. Who lacks them is
// filled in.
func (a *Admin) Lacks(ctx context.Context, e rights.Error) error {
	if e.IsEmpty() {
		return nil
	}
	// A server that does not say who one is leaves the name open.
	if client, err := bootstrap.Minter(a.Config, time.Now); err == nil {
		user, _ := client.WhoAmI(ctx)
		e.User = user.Name
	}
	return &e
}

// Namespace is the one asked for, else the context's.
func (a *Admin) Namespace(asked string) string {
	return cmp.Or(asked, a.Context.Namespace, "default")
}
