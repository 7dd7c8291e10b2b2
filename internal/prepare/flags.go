package prepare

import (
	"path/filepath"
	"strings"

	"github.com/sa-exec-credential/sa-exec-credential/internal/cluster"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// sources names what ParseSource reads.
const sources = "keyring, context=NAME, in-cluster, token-file=PATH, env=NAME, command=COMMAND"

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
	case profile.SourceKeyring, profile.SourceInCluster:
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
	case profile.SourceCommand:
		b.Environment = h.Pinned(variables)
		if b.Command, err = host.FindCommand(value); err != nil {
			return ui.Usagef("--bootstrap command: %w", err)
		}
	}
	return err
}

// ParseMinter reads NAMESPACE/NAME of the account that a bootstrap source lets mint. Empty text is
// none. Errors are usage errors.
func ParseMinter(text string, b profile.Bootstrap) (*cluster.Subject, error) {
	if text == "" {
		return nil, nil
	}
	namespace, name, found := strings.Cut(text, "/")
	if !found || namespace == "" || name == "" {
		return nil, ui.Usagef("invalid --minter %q: must be NAMESPACE/NAME of a pod's "+
			"account", text)
	}
	if b.Source != profile.SourceInCluster {
		return nil, ui.Usagef("--minter goes with --bootstrap in-cluster")
	}
	return &cluster.Subject{Namespace: namespace, Name: name}, nil
}
