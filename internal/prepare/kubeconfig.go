package prepare

import (
	"errors"
	"fmt"
	"path/filepath"

	"github.com/sa-exec-credential/sa-exec-credential/internal/authority"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kuberc"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// entry is an error also for a cluster that no client could hand to the plugin.
func (p *Preparation) entry() (kubeconfig.Entry, error) {
	authorities := p.profile.Cluster.CertificateAuthorityData
	if err := profile.CheckBundle(authorities); err != nil {
		return kubeconfig.Entry{}, err
	}
	if !authority.Fits(p.profile.Cluster) {
		return kubeconfig.Entry{}, fmt.Errorf("%w: %d bytes", authority.ErrTooLarge,
			len(authorities))
	}
	command, err := host.PluginPath()
	if err != nil {
		return kubeconfig.Entry{}, err
	}
	return kubeconfig.EntryFor(p.profile, command)
}

func (p *Preparation) mergeKubeconfig() error {
	if p.options.Allowlist {
		if err := p.allowPlugin(); err != nil {
			return err
		}
	}
	if p.options.Output == nil {
		return nil
	}
	changed, err := p.Merge(p.options.Output, p.options.UseContext)
	if err != nil {
		return err
	}
	p.step("context %q in %q: %s", p.profile.Name, kubeconfig.Target(p.options.Output),
		outcomeWord(changed))
	return nil
}

// checkOutput is an error when the context cannot be written as the files are now.
func (p *Preparation) checkOutput() error {
	if p.options.Output == nil {
		return nil
	}
	entry, err := p.entry()
	if err != nil {
		return err
	}
	return kubeconfig.CanMerge(p.options.Output, entry, p.options.UseContext)
}

func outcomeWord(changed bool) string {
	if changed {
		return "written"
	}
	return "unchanged"
}

// Merge puts the profile's context into kubeconfig files.
func (p *Preparation) Merge(paths []string, useContext bool) (changed bool, err error) {
	entry, err := p.entry()
	if err != nil {
		return false, err
	}
	if p.batch != nil {
		return p.batch.Merge(entry)
	}
	return kubeconfig.Merge(paths, entry, useContext)
}

// allowPlugin adds this program to the allowlist in the user's kuberc.
func (p *Preparation) allowPlugin() error {
	path, err := p.host.KubercPath()
	if err != nil {
		return err
	}
	command, err := host.PluginPath()
	if err != nil {
		return err
	}
	changed, err := kuberc.AllowPlugin(path, filepath.Clean(command))
	if errors.Is(err, kuberc.ErrNoAllowlist) {
		// To turn the policy on would forbid the user's other plugins.
		p.step("allowlist: kubectl has none and allows every plugin; nothing to add")
		return nil
	}
	if err != nil {
		return err
	}
	p.step("allowlist in %q: %s", path, outcomeWord(changed))
	return nil
}

// Render returns a kubeconfig with nothing but the profile's context.
func (p *Preparation) Render() ([]byte, error) {
	entry, err := p.entry()
	if err != nil {
		return nil, err
	}
	return kubeconfig.Render(entry)
}
