package kubeconfig

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"
)

// Files are kubeconfig files as they were when they were read, for callers that need many of their
// contexts: to read a file of a thousand takes a tenth of a second. They can be used by several
// goroutines.
type Files struct {
	Paths []string

	config *clientcmdapi.Config
	ours   func() []PluginContext
}

// Read reads files as clients do. Missing ones do not count.
func Read(paths []string) (*Files, error) {
	config, err := load(paths)
	if err != nil {
		return nil, err
	}
	return &Files{Paths: paths, config: config,
		ours: sync.OnceValue(func() []PluginContext { return pluginContexts(config) })}, nil
}

// Resolve returns the context called name, or the current one when name is empty. It is an
// ErrNoContext, ErrReference, ErrInsecure or profile.ErrCluster when no token could be sent to its
// cluster.
func Resolve(paths []string, name string) (Context, error) {
	files, err := Read(paths)
	if err != nil {
		return Context{}, err
	}
	return files.Resolve(name)
}

// Resolve is the package's.
func (f *Files) Resolve(name string) (Context, error) {
	if name == "" {
		name = f.config.CurrentContext
	}
	context := f.config.Contexts[name]
	switch {
	case name == "":
		return Context{}, fmt.Errorf("%w: there is no current context", ErrNoContext)
	case context == nil:
		return Context{}, fmt.Errorf("%w: %q", ErrNoContext, name)
	}
	cluster, err := clusterOf(f.config, name)
	if err != nil {
		return Context{}, err
	}
	return Context{Name: name, File: context.LocationOfOrigin, ClusterName: context.Cluster,
		User: context.AuthInfo, Namespace: context.Namespace, Cluster: cluster,
		all: f.config}, nil
}

// FindPluginContexts returns every context whose user runs this program, sorted by name.
func FindPluginContexts(paths []string) ([]PluginContext, error) {
	files, err := Read(paths)
	if err != nil {
		return nil, err
	}
	return files.PluginContexts(), nil
}

// PluginContexts are those of FindPluginContexts. Callers do not change them.
func (f *Files) PluginContexts() []PluginContext { return f.ours() }

func pluginContexts(config *clientcmdapi.Config) (found []PluginContext) {
	for name, context := range config.Contexts {
		user := config.AuthInfos[context.AuthInfo]
		if user == nil || user.Exec == nil {
			continue
		}
		if profile, ours := profileOf(user.Exec.Command, user.Exec.Args); ours {
			found = append(found, pluginContext(config, name, profile))
		}
	}
	slices.SortFunc(found, func(a, b PluginContext) int {
		return strings.Compare(a.Context, b.Context)
	})
	return found
}
