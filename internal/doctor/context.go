package doctor

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kuberc"
	"github.com/sa-exec-credential/sa-exec-credential/internal/prepare"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// What can be wrong with a context that names a profile.
var (
	ErrCommandMissing = errors.New("the plugin that the context runs cannot be run")
	ErrExecSection    = errors.New("the exec section is not one that works")
	ErrPluginDenied   = errors.New("kubectl's plugin policy does not allow the plugin")
)

// checkContexts is about every context that names the profile, in the user's kubeconfig and in the
// file that setup was told to write.
func (c *profileChecks) checkContexts() {
	if c.contErr != nil {
		return
	}
	seen, paths, contexts := 0, c.paths, slices.Clone(c.contexts)
	target := kubeconfig.Target(paths)
	if own := c.profile.Setup.Output; c.outputs[own] != nil {
		target, paths = own, append([]string{own}, paths...)
		contexts = append(contexts, c.outputs[own]()...)
	}
	for _, use := range contexts {
		if use.Profile != c.profile.Name {
			continue
		}
		seen++
		problems := c.context(use)
		if len(problems) == 0 {
			problems = []Finding{ok("context", "%s runs %s", use.Context, use.Command)}
		}
		c.add(problems...)
		c.allowed(use)
	}
	if use, found := c.namesake(); seen == 0 && found {
		c.add(c.fail("context", fmt.Errorf("%s: %w: it names profile %q", use.Context,
			ErrExecSection, use.Profile), c.credentialsFix(use)))
	} else if seen == 0 {
		c.add(c.remade(warn("context", c.mergeLine(target), "none of %s names this profile",
			strings.Join(paths, ", ")), kubeconfig.PluginContext{File: target}))
	}
}

// outputsOf prepares the reading of each file that setup was told to write and that is not among the
// user's own, however many profiles have a context in it. One that is gone, or is none any more,
// names nobody.
func outputsOf(loaded []loadedProfile,
	paths []string) map[string]func() []kubeconfig.PluginContext {
	outputs := map[string]func() []kubeconfig.PluginContext{}
	for _, p := range loaded {
		own := p.Setup.Output
		if own == "" || slices.Contains(paths, own) || outputs[own] != nil {
			continue
		}
		outputs[own] = sync.OnceValue(func() []kubeconfig.PluginContext {
			found, _ := kubeconfig.FindPluginContexts([]string{own})
			return found
		})
	}
	return outputs
}

// namesake is the context that has the profile's name.
func (c *profileChecks) namesake() (kubeconfig.PluginContext, bool) {
	for _, use := range c.contexts {
		if use.Context == c.profile.Name {
			return use, true
		}
	}
	return kubeconfig.PluginContext{}, false
}

// context lists all that is wrong with one.
func (c *profileChecks) context(use kubeconfig.PluginContext) []Finding {
	var items []Finding
	for _, check := range []func(kubeconfig.PluginContext) (fix string,
		err error){c.clusterProblem, c.commandProblem, c.sectionProblem} {
		if fix, err := check(use); err != nil {
			items = append(items, c.remade(c.fail("context", fmt.Errorf("%s: %w",
				use.Context, err), fix), use))
		}
	}
	for _, text := range c.contextWarnings(use) {
		items = append(items, c.remade(warn("context", c.contextFix(use), "%s: %s",
			use.Context, text), use))
	}
	return items
}

func (c *profileChecks) clusterProblem(use kubeconfig.PluginContext) (fix string, err error) {
	if use.ClusterError != nil {
		return "", use.ClusterError
	}
	return c.contextFix(use), c.profile.Cluster.Difference(use.Cluster)
}

func (c *profileChecks) commandProblem(use kubeconfig.PluginContext) (fix string, err error) {
	if _, err := exec.LookPath(use.Command); err != nil && !errors.Is(err, exec.ErrDot) {
		return c.contextFix(use), fmt.Errorf("%w: %q", ErrCommandMissing, use.Command)
	}
	return "", nil
}

func (c *profileChecks) sectionProblem(use kubeconfig.PluginContext) (fix string, err error) {
	problem := ""
	switch {
	case len(use.Args) == 0 || use.Args[0] != "get":
		problem = fmt.Sprintf("its args are %q and do not begin with get", use.Args)
	case use.APIVersion != "client.authentication.k8s.io/v1" &&
		use.APIVersion != "client.authentication.k8s.io/v1beta1":
		problem = fmt.Sprintf("apiVersion %q is none that clients know", use.APIVersion)
	case use.InteractiveMode == "":
		problem = "interactiveMode is missing, which apiVersion v1 demands"
	case !use.ProvideClusterInfo && !c.profile.AllowMissingClusterInfo:
		problem = "provideClusterInfo is not set, so the plugin cannot tell where the " +
			"token would go"
	default:
		return "", nil
	}
	return c.contextFix(use), fmt.Errorf("%w: %s", ErrExecSection, problem)
}

// contextWarnings are what works here and now and may not elsewhere.
func (c *profileChecks) contextWarnings(use kubeconfig.PluginContext) []string {
	var warnings []string
	found, err := exec.LookPath(use.Command)
	switch {
	case err != nil:
	case !filepath.IsAbs(use.Command):
		warnings = append(warnings, fmt.Sprintf("%q is looked up in PATH, which desktop "+
			"programs do not share with the shell", use.Command))
	case !c.isOurs(found):
		warnings = append(warnings, fmt.Sprintf("it runs %q, another program or version "+
			"than this one, %q", use.Command, c.command()))
	}
	if use.InteractiveMode == "Always" {
		warnings = append(warnings, "interactiveMode Always keeps programs without a "+
			"terminal from running the plugin")
	}
	if len(use.Environment) > 0 {
		warnings = append(warnings, fmt.Sprintf("it sets variables for the plugin: %s",
			strings.Join(use.Environment, ", ")))
	}
	return warnings
}

// command is what setup would write into kubeconfigs; empty when unknown.
func (c *profileChecks) command() string {
	path, _ := host.ClientPath(c.profile.Store != keyring.None)
	return path
}

// isOurs reports whether a program is this one, or the one for hits that leads to it.
func (c *profileChecks) isOurs(found string) bool {
	whole, err := host.PluginPath()
	return err != nil || host.SameFile(found, whole) || host.SameFile(found, c.command())
}

// contextFix brings a context of setup's up to date; one of another name keeps that.
func (c *profileChecks) contextFix(use kubeconfig.PluginContext) string {
	if use.Context == c.profile.Name && len(use.Environment) == 0 {
		return c.mergeLine(use.File)
	}
	return c.credentialsFix(use)
}

// credentialsFix is the command that has a context's user name the profile, unless that user is
// for all clusters.
func (c *profileChecks) credentialsFix(use kubeconfig.PluginContext) string {
	line := []string{"kubectl", "config", "--kubeconfig", use.File, "set-credentials", use.User,
		"--exec-command=" + c.command(),
		"--exec-api-version=client.authentication.k8s.io/v1",
		"--exec-interactive-mode=Never", "--exec-provide-cluster-info",
		"--exec-arg=get"}
	if !slices.Equal(use.Args, []string{"get"}) {
		line = append(line, "--exec-arg=--profile", "--exec-arg="+c.profile.Name)
	}
	for _, name := range use.Environment {
		line = append(line, "--exec-env="+name+"-")
	}
	return ui.CommandLine(line...)
}

// allowed is about kubectl's plugin policy, where it has one.
func (c *profileChecks) allowed(use kubeconfig.PluginContext) {
	const check = "policy"
	switch {
	case c.policyErr != nil || c.policy.Type == kuberc.AllowAll:
	case c.policy.Allows(use.Command):
		c.add(ok(check, "%s is in the allowlist of %s", use.Command, c.kuberc))
	case c.policy.Type == kuberc.DenyAll:
		c.add(c.fail(check, fmt.Errorf("%w: %q has %s", ErrPluginDenied, c.kuberc,
			c.policy.Type),
			ui.CommandLine("kubectl", "kuberc", "set", "--section", "credentialplugin",
				"--policy", kuberc.Allowlist, "--allowlist-entry",
				"command="+use.Command)))
	default:
		c.add(c.allowing(c.fail(check, fmt.Errorf("%w: %q is not in the allowlist of %q",
			ErrPluginDenied, use.Command, c.kuberc),
			prepare.SetupLine(c.profile)+" --allowlist"), use.Command))
	}
}
