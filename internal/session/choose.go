package session

import (
	"fmt"
	"strings"

	"github.com/sa-exec-credential/sa-exec-credential/internal/call"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// Choose returns the name of a profile: the one that is named, by itself or by a kubeconfig
// context, else that of the current context, else the only one there is.
func Choose(h *host.Host, name, context, file string) (string, error) {
	if name != "" {
		return name, nil
	}
	current, err := profileOfContext(h, file, context)
	if err == nil || context != "" || file != "" {
		return current, err
	}
	profiles, err := h.Profiles()
	if err != nil {
		return "", err
	}
	names, err := profiles.Names()
	if err != nil {
		return "", err
	}
	switch len(names) {
	case 0:
		return "", fmt.Errorf("%w: there are none yet", profile.ErrMissing)
	case 1:
		return names[0], nil
	}
	return "", &SeveralError{names}
}

// SeveralError is a choice that somebody has to make. It is a ui.ErrUsage.
type SeveralError struct{ Names []string }

// Error implements error.
func (e *SeveralError) Error() string {
	return fmt.Sprintf("the current context is not one of this program's, and there are %d "+
		"profiles: %s", len(e.Names), strings.Join(e.Names, ", "))
}

// Unwrap says that the command line is to blame.
func (*SeveralError) Unwrap() error { return ui.ErrUsage }

// profileOfContext returns the profile that a context of the user's kubeconfig names; an empty name
// is the current context.
func profileOfContext(h *host.Host, file, name string) (string, error) {
	paths, err := h.SourcePaths(file)
	if err != nil {
		return "", err
	}
	if name == "" {
		found, err := kubeconfig.Resolve(paths, "")
		if err != nil {
			return "", err
		}
		name = found.Name
	}
	uses, err := kubeconfig.FindPluginContexts(paths)
	if err != nil {
		return "", err
	}
	for _, use := range uses {
		if use.Context == name {
			return ProfileOf(h, use)
		}
	}
	return "", fmt.Errorf("%w with sa-exec-credential as its user: %q", kubeconfig.ErrNoContext,
		name)
}

// ProfileOf is the profile of a context, as far as the context or what call.Find would say tells.
func ProfileOf(h *host.Host, use kubeconfig.PluginContext) (string, error) {
	if use.Profile != "" {
		return use.Profile, nil
	}
	if use.ClusterError != nil {
		return "", use.ClusterError
	}
	p, err := call.FindFor(h, use.Cluster, use.Extension)
	return p.Name, err
}
