package prepare

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/sa-exec-credential/sa-exec-credential/internal/authority"
	"github.com/sa-exec-credential/sa-exec-credential/internal/files"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kuberc"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
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
	command, err := p.command()
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
	p.trial.modes.Do(p.warnOfModes)
	p.step("context %q in %q: %s", p.context, kubeconfig.Target(p.options.Output),
		outcomeWord(changed))
	return nil
}

// warnOfModes says that a kubeconfig cannot be private where it is.
func (p *Preparation) warnOfModes() {
	if err := NotPrivate(kubeconfig.Target(p.options.Output)); err != nil {
		p.warn("%v", err)
	}
}

// NotPrivate is why a kubeconfig cannot be private where it is, or nil.
func NotPrivate(file string) error {
	if err := files.CheckModes(filepath.Dir(file)); errors.Is(err, files.ErrNoModes) {
		return fmt.Errorf("others may be able to read and to change %q, and with it the "+
			"programs that clients run: %w", file, err)
	}
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
	if p.fleet.has(p) {
		return p.fleet.batch.CanMerge(entry)
	}
	return kubeconfig.CanMerge(p.options.Output, entry, p.options.UseContext)
}

func outcomeWord(changed bool) string {
	if changed {
		return "written"
	}
	return "unchanged"
}

// Context is the name of the profile's context, as Merge has left it.
func (p *Preparation) Context() string { return p.context }

// Merge puts the profile's context into kubeconfig files.
func (p *Preparation) Merge(paths []string, useContext bool) (changed bool, err error) {
	entry, err := p.entry()
	if err != nil {
		return false, err
	}
	if p.fleet.has(p) {
		var merged kubeconfig.Merged
		merged, err = p.fleet.merge(p, &entry)
		changed, p.written = merged.Changed, merged.Files
	} else {
		changed, err = kubeconfig.MergeAs(paths, &entry, useContext)
	}
	p.context = entry.ContextName
	return changed, err
}

// command is what clients run. Where nothing is kept there are no hits.
func (p *Preparation) command() (string, error) {
	return host.ClientPath(p.profile.Store != keyring.None)
}

// allowPlugin adds this program to the allowlist in the user's kuberc.
func (p *Preparation) allowPlugin() error {
	path, err := p.host.KubercPath()
	if err != nil {
		return err
	}
	command, err := p.command()
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

// warnOfPasswords says what of a proxy's the profile and the kubeconfig will hold in plain text.
func (p *Preparation) warnOfPasswords() {
	if secret.HasUser(p.profile.Cluster.ProxyURL) {
		p.warn("the proxy-url %q has user information, which the profile and the "+
			"kubeconfig hold as plain text; HTTPS_PROXY in the environment of the clients keeps "+
			"it out of both", secret.URL(p.profile.Cluster.ProxyURL))
	}
	var names []string
	for _, b := range []profile.Bootstrap{p.profile.Bootstrap, p.recoverySource()} {
		for name, value := range b.Environment {
			isURL := strings.Contains(value, "://") ||
				strings.HasSuffix(strings.ToLower(name), "_proxy")
			if isURL && secret.HasUser(value) {
				names = append(names, name)
			}
		}
	}
	slices.Sort(names)
	if names = slices.Compact(names); len(names) > 0 {
		p.warn("the profile keeps the value of %s for programs that it runs, and a URL "+
			"in it has user information", strings.Join(names, ", "))
	}
}

// renderForShow is Render without user information: what it returns is only looked at.
func (p *Preparation) renderForShow() ([]byte, error) {
	entry, err := p.entry()
	if err != nil {
		return nil, err
	}
	entry.ProxyURL = secret.URL(entry.ProxyURL)
	return kubeconfig.Render(entry)
}

// Render returns a kubeconfig with nothing but the profile's context.
func (p *Preparation) Render() ([]byte, error) {
	entry, err := p.entry()
	if err != nil {
		return nil, err
	}
	return kubeconfig.Render(entry)
}
