package prepare

import (
	"path/filepath"
	"strings"

	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// sources names what ParseSource reads.
const sources = "keyring, context=NAME, in-cluster, token-file=PATH, env=NAME, command=COMMAND, " +
	"github-actions, azure-pipelines"

// examplesOf are values of the sources that need one.
var examplesOf = map[profile.Source]string{profile.SourceContext: "admin@prod",
	profile.SourceTokenFile: "/run/secrets/token", profile.SourceEnv: "CI_TOKEN"}

// ParseSource reads a bootstrap source as SourceFlag writes it, and takes what it needs of the
// process of now: variables beside those that programs usually need, and the kubeconfig files that
// a context is in. Empty text is no source. Errors are usage errors.
func ParseSource(h *host.Host, text string, variables, paths []string) (profile.Bootstrap, error) {
	if text == "" {
		return profile.Bootstrap{}, nil
	}
	source, value, _ := strings.Cut(text, "=")
	b := profile.Bootstrap{Source: profile.Source(source)}
	switch b.Source {
	case profile.SourceAzure: // a service connection can follow
	case profile.SourceKeyring, profile.SourceInCluster, profile.SourceGitHub:
		if value != "" {
			return b, ui.Usagef("--bootstrap %s takes no value", source)
		}
	case profile.SourceContext, profile.SourceTokenFile, profile.SourceEnv:
		if value == "" {
			return b, ui.Usagef("--bootstrap %s= needs a value, for example %s=%s",
				source, source, examplesOf[b.Source])
		}
	case profile.SourceCommand:
		if value == "" {
			return b, ui.Usagef("--bootstrap command= needs a command, for example " +
				`command="vault kv get -field=token secret/ci"`)
		}
	default:
		return b, ui.Usagef("--bootstrap %q is none of %s", text, sources)
	}
	err := fill(h, &b, value, variables, paths)
	return b, err
}

func fill(h *host.Host, b *profile.Bootstrap, value string, variables, paths []string) (err error) {
	switch b.Source {
	case profile.SourceContext:
		b.Context, b.Kubeconfig = value, Absolute(paths)
		b.Environment = h.Pinned(variables)
	case profile.SourceTokenFile:
		b.Path, err = filepath.Abs(value)
	case profile.SourceEnv:
		b.Variable = value
	case profile.SourceAzure:
		b.ServiceConnection = value
	case profile.SourceCommand:
		b.Environment = h.Pinned(variables)
		if b.Command, err = host.FindCommand(value); err != nil {
			return ui.Usagef("--bootstrap command: %w", err)
		}
	}
	return err
}

// IsTransient reports whether a source is that of a pod or a job, which come and go.
func IsTransient(text string) bool {
	source, _, _ := strings.Cut(text, "=")
	b := profile.Bootstrap{Source: profile.Source(source)}
	return b.IsJob() || b.Source == profile.SourceInCluster
}

// ParseMinters reads who else may mint, by the flags of setup and invite. Errors are usage errors.
func ParseMinters(users, groups, accounts []string, b profile.Bootstrap) (m profile.Minters,
	err error) {
	for _, user := range users {
		m = m.And(profile.MinterCalled(user))
	}
	m = m.And(profile.Minters{Groups: groups, Accounts: accounts})
	if !m.IsEmpty() && (b.Source == "" || b.Source == profile.SourceKeyring) {
		return m, ui.Usagef("--minter, --minter-user and --minter-group go with another " +
			"--bootstrap than keyring")
	}
	return m, nil
}
