package main

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kuberc"
)

// profileOfContext returns the profile that a context of the user's kubeconfig names.
func (e *environment) profileOfContext(file, name string) (string, error) {
	paths, err := e.kubeconfigPaths(file)
	if err != nil {
		return "", err
	}
	uses, err := kubeconfig.FindPluginContexts(paths)
	if err != nil {
		return "", err
	}
	for _, use := range uses {
		if use.Context == name {
			return use.Profile, nil
		}
	}
	return "", fmt.Errorf("%w with sa-exec-credential as its user: %q", kubeconfig.ErrNoContext, name)
}

// allowPlugin adds this program to the allowlist in the user's kuberc.
func (e *environment) allowPlugin(say func(string)) error {
	home, err := e.homeFolder()
	if err != nil {
		return err
	}
	command, err := pluginPath()
	if err != nil {
		return err
	}
	path := kuberc.Path(e.getenv("KUBERC"), home)
	changed, err := kuberc.AllowPlugin(path, filepath.Clean(command))
	if errors.Is(err, kuberc.ErrNoAllowlist) {
		// To turn the policy on would forbid the user's other plugins.
		say("allowlist: kubectl has none and allows every plugin; nothing to add")
		return nil
	}
	if err != nil {
		return err
	}
	say(fmt.Sprintf("allowlist in %q: %s", path, map[bool]string{true: "written", false: "unchanged"}[changed]))
	return nil
}
