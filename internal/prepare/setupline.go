package prepare

import (
	"cmp"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// SetupLine is the command that creates a profile's credentials anew and leaves the profile as it
// is. It grants the account's rights again, as the last setup has: the account may be gone. Of a
// machine that has joined it is InviteLine.
func SetupLine(p profile.Profile) string {
	if p.Setup.Machine != "" {
		return InviteLine(p)
	}
	line := []string{ui.Program, "setup", p.ServiceAccount, "-n", p.Namespace, "--profile",
		p.Name}
	line = append(append(line, p.Origin.Flags()...), tokenFlags(p)...)
	if rights := p.Setup.Rights.Flags(); len(rights) > 0 {
		line = append(line, rights...)
		for _, namespace := range p.In {
			line = append(line, "--in", namespace)
		}
	}
	line = append(line, p.Setup.Minters.Flags()...)
	if p.Setup.NoRBAC {
		line = append(line, "--no-rbac")
	}
	if p.Setup.NoLimits {
		line = append(line, "--no-limits")
	}
	if p.Setup.Output != "" {
		line = append(line, "-o", p.Setup.Output)
	}
	if p.ServiceAccount == "default" {
		line = append(line, "--allow-default-account")
	}
	if p.AllowMissingClusterInfo {
		line = append(line, "--allow-missing-cluster-info")
	}
	if p.Recovery != nil {
		line = append(line, "--recover")
	}
	if p.Log != "" {
		line = append(line, "--log", p.Log)
	}
	for _, name := range furtherVariables(p) {
		line = append(line, "--bootstrap-env", name)
	}
	return commandAt(p.Origin, line)
}

// InviteLine is the command with which an administrator has a machine join again. What is added at
// its end are flags of join. That ssh knows the machine by the name that it was invited by is
// likely and no more.
func InviteLine(p profile.Profile) string {
	invite := []string{ui.Program, "invite", p.ServiceAccount, "-n", p.Namespace, "--for",
		p.Setup.Machine}
	invite = append(invite, lifetimeFlags(p)...)
	for _, namespace := range p.In { // the context's, too
		invite = append(invite, "--in", namespace)
	}
	if p.ServiceAccount == "default" {
		invite = append(invite, "--allow-default-account")
	}
	invite = append(invite, p.Setup.Minters.Flags()...)
	if p.Bootstrap.Source != profile.SourceKeyring { // join reads what was committed
		invite = append(invite, "--bootstrap", SourceFlag(p.Bootstrap))
		return ui.Elsewhere(append(invite, jobFlags(p)...)...)
	}
	join := []string{ui.Program, "join", "--profile", p.Name}
	if p.Setup.Output != "" {
		join = append(join, "-o", p.Setup.Output)
	}
	if p.AllowMissingClusterInfo {
		join = append(join, "--allow-missing-cluster-info")
	}
	if p.Log != "" {
		join = append(join, "--log", p.Log)
	}
	there := ui.CommandLine(join...)
	if there != strings.Join(join, " ") { // a shell of the machine reads it again
		there = ui.CommandLine(there)
	}
	return ui.Elsewhere(invite...) + " | " + ui.CommandLine("ssh", p.Setup.Machine) + " " +
		there
}

// KubectlLine is a command of kubectl with the credentials of an administrator's context.
func KubectlLine(o *profile.Origin, words ...string) string {
	return commandAt(o, slices.Concat([]string{"kubectl"}, o.Flags(), words))
}

// commandAt is a command that reads the files in which the context was found: of several no flag
// tells kubectl.
func commandAt(o *profile.Origin, line []string) string {
	if o == nil || len(o.Kubeconfig) < 2 {
		return ui.CommandLine(line...)
	}
	files := strings.Join(o.Kubeconfig, string(filepath.ListSeparator))
	return "KUBECONFIG=" + ui.CommandLine(files) + " " + ui.CommandLine(line...)
}

// MoveLine is SetupLine for a cluster whose address has changed in the context that the profile was
// set up with, and whether it has.
func MoveLine(p profile.Profile) (line string, moved bool) {
	if p.Origin == nil {
		return "", false
	}
	found, err := kubeconfig.Resolve(p.Origin.Kubeconfig, p.Origin.Context)
	if err != nil || found.Cluster.Server == p.Cluster.Server {
		return "", false
	}
	return SetupLine(p) + " --take-over", true
}

// furtherVariables are those that setup was told to keep for programs that the profile runs.
func furtherVariables(p profile.Profile) []string {
	if p.Recovery != nil {
		return host.FurtherVariables(p.Recovery.Credential.Environment)
	}
	return host.FurtherVariables(p.Bootstrap.Environment)
}

// lifetimeFlags are those of what is minted whose values are not the defaults.
func lifetimeFlags(p profile.Profile) (flags []string) {
	if p.Duration.Duration != time.Hour {
		flags = append(flags, "--duration", profile.ShortDuration(p.Duration.Duration))
	}
	for _, audience := range p.Audiences {
		flags = append(flags, "--audience", audience)
	}
	if d := p.Bootstrap.Duration; p.Bootstrap.Source == profile.SourceKeyring && d != nil &&
		d.Duration != 720*time.Hour {
		flags = append(flags, "--bootstrap-duration", profile.ShortDuration(d.Duration))
	}
	return flags
}

// tokenFlags are those of setup's flags whose values are not the defaults.
func tokenFlags(p profile.Profile) []string {
	flags := lifetimeFlags(p)
	if p.Bootstrap.Source != profile.SourceKeyring {
		flags = append(flags, "--bootstrap", SourceFlag(p.Bootstrap))
	}
	flags = append(flags, jobFlags(p)...)
	if p.Store != keyring.Keyring && (p.Store != keyring.None || !p.Bootstrap.IsJob()) {
		flags = append(flags, "--store", string(p.Store))
	}
	if p.TPM != "" && p.TPM != keyring.DefaultTPM {
		flags = append(flags, "--tpm", p.TPM)
	}
	return flags
}

// jobFlags are those of what a job asks for its ID token.
func jobFlags(p profile.Profile) (flags []string) {
	if a := p.Bootstrap.Audience; a != "" && a != p.Cluster.Server {
		flags = append(flags, "--bootstrap-audience", a)
	}
	if p.Bootstrap.URL != "" {
		flags = append(flags, "--bootstrap-url", p.Bootstrap.URL)
	}
	return flags
}

// SourceFlag is a bootstrap source as setup's flag spells it.
func SourceFlag(b profile.Bootstrap) string {
	value := cmp.Or(b.Context, b.Path, b.Variable, b.ServiceConnection)
	if b.Source == profile.SourceCommand {
		value = ui.CommandLine(b.Command...)
	}
	if value == "" {
		return string(b.Source)
	}
	return string(b.Source) + "=" + value
}
