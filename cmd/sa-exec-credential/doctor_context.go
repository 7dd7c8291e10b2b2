package main

import (
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kuberc"
)

// What can be wrong with a context that names a profile.
var (
	errCommandMissing = errors.New("the plugin that the context runs cannot be run")
	errExecSection    = errors.New("the exec section is not one that works")
	errPluginDenied   = errors.New("kubectl's plugin policy does not allow the plugin")
)

func doctorProblems() []problem {
	return []problem{
		{errCommandMissing, exitProfile, "install sa-exec-credential there"},
		{errExecSection, exitProfile, "sa-exec-credential kubeconfig prints one that works"},
		{errPluginDenied, exitProfile, "kubectl kuberc view shows the policy"},
		{errNotKept, exitStore, "run setup with another --store"},
	}
}

// contexts is about every context that names the profile.
func (c *checkup) contexts() {
	if c.usesErr != nil {
		return
	}
	seen := 0
	for _, use := range c.uses {
		if use.Profile != c.profile.Name {
			continue
		}
		seen++
		problems := c.context(use)
		if len(problems) == 0 {
			problems = []finding{found("context", "%s runs %s", use.Context, use.Command)}
		}
		c.add(problems...)
		c.allowed(use)
	}
	if seen == 0 {
		c.add(doubt("context", commandLine(program, "kubeconfig", "--profile", c.profile.Name, "-o", kubeconfig.Target(c.paths)),
			"none of %s names this profile", strings.Join(c.paths, ", ")))
	}
}

// context lists all that is wrong with one.
func (c *checkup) context(use kubeconfig.PluginContext) []finding {
	var items []finding
	for _, check := range []func(kubeconfig.PluginContext) (mend string, err error){c.clusterProblem, c.commandProblem, c.sectionProblem} {
		if mend, err := check(use); err != nil {
			items = append(items, failure("context", fmt.Errorf("%s: %w", use.Context, err), mend))
		}
	}
	for _, text := range c.contextDoubts(use) {
		items = append(items, doubt("context", c.contextMend(use), "%s: %s", use.Context, text))
	}
	return items
}

func (c *checkup) clusterProblem(use kubeconfig.PluginContext) (mend string, err error) {
	if use.ClusterError != nil {
		return "", use.ClusterError
	}
	return c.contextMend(use), sameCluster(c.profile.Cluster, use.Cluster)
}

func (c *checkup) commandProblem(use kubeconfig.PluginContext) (mend string, err error) {
	if _, err := exec.LookPath(use.Command); err != nil && !errors.Is(err, exec.ErrDot) {
		return c.contextMend(use), fmt.Errorf("%w: %q", errCommandMissing, use.Command)
	}
	return "", nil
}

func (c *checkup) sectionProblem(use kubeconfig.PluginContext) (mend string, err error) {
	problem := ""
	switch {
	case len(use.Args) == 0 || use.Args[0] != "get":
		problem = fmt.Sprintf("its args are %q and do not begin with get", use.Args)
	case use.APIVersion != "client.authentication.k8s.io/v1" && use.APIVersion != "client.authentication.k8s.io/v1beta1":
		problem = fmt.Sprintf("apiVersion %q is none that clients know", use.APIVersion)
	case use.InteractiveMode == "":
		problem = "interactiveMode is missing, which apiVersion v1 demands"
	case !use.ProvideClusterInfo && !c.profile.AllowMissingClusterInfo:
		problem = "provideClusterInfo is not set, so the plugin cannot tell where the token would go"
	default:
		return "", nil
	}
	return c.contextMend(use), fmt.Errorf("%w: %s", errExecSection, problem)
}

// contextDoubts are what works here and now and may not elsewhere.
func (c *checkup) contextDoubts(use kubeconfig.PluginContext) []string {
	var doubts []string
	found, err := exec.LookPath(use.Command)
	switch {
	case err != nil:
	case !filepath.IsAbs(use.Command):
		doubts = append(doubts, fmt.Sprintf("%q is looked up in PATH, which desktop programs do not share with the shell", use.Command))
	case c.self != "" && !sameFile(found, c.self):
		doubts = append(doubts, fmt.Sprintf("it runs %q, another program or version than this one, %q", use.Command, c.self))
	}
	if use.InteractiveMode == "Always" {
		doubts = append(doubts, "interactiveMode Always keeps programs without a terminal from running the plugin")
	}
	if len(use.Environment) > 0 {
		doubts = append(doubts, fmt.Sprintf("it sets variables for the plugin: %s", strings.Join(use.Environment, ", ")))
	}
	return doubts
}

// contextMend brings a context of setup's up to date; one of another name keeps that.
func (c *checkup) contextMend(use kubeconfig.PluginContext) string {
	if use.Context == c.profile.Name && len(use.Environment) == 0 {
		return commandLine(program, "kubeconfig", "--profile", c.profile.Name, "-o", use.File)
	}
	line := []string{"kubectl", "config", "--kubeconfig", use.File, "set-credentials", use.User, "--exec-command=" + c.self,
		"--exec-api-version=client.authentication.k8s.io/v1", "--exec-interactive-mode=Never", "--exec-provide-cluster-info",
		"--exec-arg=get", "--exec-arg=--profile", "--exec-arg=" + c.profile.Name}
	for _, name := range use.Environment {
		line = append(line, "--exec-env="+name+"-")
	}
	return commandLine(line...)
}

// allowed is about kubectl's plugin policy, where it has one.
func (c *checkup) allowed(use kubeconfig.PluginContext) {
	const check = "policy"
	switch {
	case c.policyErr != nil || c.policy.Type == kuberc.AllowAll:
	case c.policy.Allows(use.Command):
		c.add(found(check, "%s is in the allowlist of %s", use.Command, c.kuberc))
	case c.policy.Type == kuberc.DenyAll:
		c.add(failure(check, fmt.Errorf("%w: %q has %s", errPluginDenied, c.kuberc, c.policy.Type),
			commandLine("kubectl", "kuberc", "set", "--section", "credentialplugin", "--policy", kuberc.Allowlist, "--allowlist-entry", "command="+use.Command)))
	default:
		c.add(failure(check, fmt.Errorf("%w: %q is not in the allowlist of %q", errPluginDenied, use.Command, c.kuberc),
			setupLine(c.profile)+" --allowlist"))
	}
}
