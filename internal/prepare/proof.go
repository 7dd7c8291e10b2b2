package prepare

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/bootstrap"
	"github.com/sa-exec-credential/sa-exec-credential/internal/cluster"
	"github.com/sa-exec-credential/sa-exec-credential/internal/connect"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/session"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// Proof is what setup shows at its end, all of it learned by going the way that kubectl goes.
type Proof struct {
	User      string
	Expires   time.Time // of the token; zero: unknown
	Access    cluster.Access
	Risks     []string // what the account can do in its own namespace to become another
	Bootstrap string
	MayBeOff  string // and for how long; empty: not known
	Recovery  string // empty: none was asked for
	Store     string
	Log       string   // empty: there is none
	Passed    []string // why it is not another store
	Profile   string
	Context   string // empty: no kubeconfig was written
	File      string // that the context is in
	// IsElsewhere says that kubectl does not read File by itself.
	IsElsewhere bool
}

// prove asks the API server, through client-go's own exec provider and the kubeconfig just
// written, who the new context is.
func (p *Preparation) prove(ctx context.Context, s *session.Session) (*Proof, error) {
	showEnvironment()
	config, err := p.provenConfig()
	if err != nil {
		return nil, err
	}
	client, err := bootstrap.Minter(config, p.host.Now)
	if err != nil {
		return nil, err
	}
	user, err := client.WhoAmI(ctx)
	if errors.Is(err, api.ErrUnauthorized) && p.admin != nil && len(p.profile.Audiences) == 0 {
		return nil, p.noAccountTokens(ctx) // none could be tried before
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotProven, err)
	}
	if wanted := mint.Username(p.profile.Namespace,
		p.profile.ServiceAccount); user.Name != wanted {
		return nil, fmt.Errorf("%w: the API server says %q, not %q", ErrNotProven,
			user.Name, wanted)
	}
	proof := &Proof{User: user.Name, Store: keyring.Describe(ctx, s.Store),
		Profile: p.profile.Name, Log: p.profile.Log, MayBeOff: MayBeOff(p.profile, keyring.Lifetime(ctx, s.Store)),
		Bootstrap: describeBootstrap(ctx, s), Risks: p.risks}
	proof.Passed = p.profile.Setup.PassedStores
	if p.options.Output != nil {
		proof.Context, proof.File = p.context, kubeconfig.Target(p.options.Output)
		proof.IsElsewhere = p.isElsewhere(proof.File)
	}
	if r := p.profile.Recovery; r != nil {
		proof.Recovery = fmt.Sprintf("with context %q, when the cluster no longer knows "+
			"the bootstrap credential",
			r.Credential.Context)
	}
	if entry, err := s.Store.Get(ctx, s.TokenKey()); err == nil {
		proof.Expires = entry.ExpiresAt
	}
	if p.fleet == nil { // whose table has no place for it
		proof.Access = p.access(ctx, config)
	}
	return proof, nil
}

// isElsewhere reports whether kubectl does not read a file by itself.
func (p *Preparation) isElsewhere(file string) bool {
	own, err := p.host.KubeconfigPaths("")
	return err == nil && !slices.Contains(Absolute(own), file)
}

func (p *Preparation) provenConfig() (*rest.Config, error) {
	if p.written != nil {
		files, err := p.written()
		if err != nil {
			return nil, err
		}
		return files.ClientConfig(p.context)
	}
	if p.options.Output != nil {
		return kubeconfig.ClientConfig(p.options.Output, p.context)
	}
	rendered, err := p.Render()
	if err != nil {
		return nil, err
	}
	return kubeconfig.ClientConfigOf(rendered)
}

// access is worth knowing but proves nothing; what cannot be learned is left out.
func (p *Preparation) access(ctx context.Context, config *rest.Config) (access cluster.Access) {
	client, err := connect.To(config)
	if err == nil {
		access, err = cluster.Rules(ctx, client, p.profile.ContextNamespace())
	}
	p.host.Log.Debug("asked what the account can do", "error", err)
	return access
}

// describeBootstrap says what the request for a token is authenticated with.
func describeBootstrap(ctx context.Context, s *session.Session) string {
	source := describeSource(ctx, s)
	if as := s.ActsAs(); as != "" {
		source += ", acting as " + as
	}
	return source
}

func describeSource(ctx context.Context, s *session.Session) string {
	b := s.Profile.Bootstrap
	switch b.Source {
	case profile.SourceKeyring:
		entry, err := s.Store.Get(ctx, s.BootstrapKey())
		if err != nil {
			return ""
		}
		return fmt.Sprintf("%s, until %s, renews itself",
			mint.Username(s.Profile.Namespace, s.Device.Name), ui.Date(entry.ExpiresAt))
	case profile.SourceContext:
		return fmt.Sprintf("context %q", b.Context)
	case profile.SourceInCluster:
		return "the pod's mounted token, " + profile.MountedToken
	case profile.SourceTokenFile:
		return fmt.Sprintf("the token in %q", b.Path)
	case profile.SourceEnv:
		return fmt.Sprintf("the environment variable %q", b.Variable)
	case profile.SourceGitHub:
		return fmt.Sprintf("the ID token of a job of GitHub Actions, for %q", b.Audience)
	case profile.SourceAzure:
		return "the ID token of a job of Azure Pipelines"
	}
	return fmt.Sprintf("the output of %q", strings.Join(b.Command, " "))
}
