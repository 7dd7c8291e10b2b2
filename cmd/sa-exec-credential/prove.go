package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/bootstrap"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/setup"
)

// errNotProven is a context that is written but does not lead to the service account.
var errNotProven = errors.New("the new context does not work")

// proof is what setup shows at its end, all of it learned by going the way that kubectl goes.
type proof struct {
	user      string
	expires   time.Time
	access    setup.Access
	bootstrap string
	recovery  string // empty: none was asked for
	store     string
	profile   string
	context   string // empty: no kubeconfig was written
	file      string
	namespace string
	now       time.Time
}

// prove asks the API server, through client-go's own exec provider and the kubeconfig just written, who the new context
// is.
func (p *preparation) prove(ctx context.Context, s *session) (*proof, error) {
	showEnvironment()
	config, err := p.provenConfig()
	if err != nil {
		return nil, err
	}
	minter, err := mint.New(config, p.env.now)
	if err != nil {
		return nil, err
	}
	user, err := minter.WhoAmI(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errNotProven, err)
	}
	if wanted := mint.Username(p.profile.Namespace, p.profile.ServiceAccount); user.Name != wanted {
		return nil, fmt.Errorf("%w: the API server says %q, not %q", errNotProven, user.Name, wanted)
	}
	proof := &proof{user: user.Name, store: s.store.Description(), profile: p.profile.Name, namespace: p.profile.Namespace, now: p.env.now()}
	if p.paths != nil {
		proof.context, proof.file = p.profile.Name, kubeconfig.Target(p.paths)
	}
	p.describe(ctx, s, config, proof)
	return proof, nil
}

func (p *preparation) provenConfig() (*rest.Config, error) {
	if p.paths != nil {
		return kubeconfig.ClientConfig(p.paths, p.profile.Name)
	}
	rendered, err := p.render()
	if err != nil {
		return nil, err
	}
	return kubeconfig.ClientConfigOf(rendered)
}

// describe fills in what is worth knowing but proves nothing; what cannot be learned is left out.
func (p *preparation) describe(ctx context.Context, s *session, config *rest.Config, proof *proof) {
	if entry, err := s.store.Get(ctx, p.profile.TokenKey()); err == nil {
		proof.expires = entry.ExpiresAt
	}
	proof.bootstrap = describeBootstrap(ctx, s)
	if r := p.profile.Recovery; r != nil {
		proof.recovery = fmt.Sprintf("with context %q, when the cluster no longer knows the bootstrap credential", r.Credential.Context)
	}
	client, err := api.New(config, runtime.NewScheme())
	if err == nil {
		proof.access, err = setup.Rules(ctx, client, p.profile.Namespace)
	}
	p.env.log.debug("asked what the account may do", "error", err)
}

func describeBootstrap(ctx context.Context, s *session) string {
	b := s.profile.Bootstrap
	switch b.Source {
	case profile.SourceKeyring:
		entry, err := s.store.Get(ctx, s.profile.BootstrapKey())
		if err != nil {
			return ""
		}
		return fmt.Sprintf("%s, until %s, renews itself", mint.Username(s.profile.Namespace, s.profile.BootstrapServiceAccount()), date(entry.ExpiresAt))
	case profile.SourceContext:
		return fmt.Sprintf("context %q", b.Context)
	case profile.SourceInCluster:
		return "the pod's mounted token, " + bootstrap.MountedToken
	case profile.SourceTokenFile:
		return fmt.Sprintf("the token in %q", b.Path)
	case profile.SourceEnv:
		return fmt.Sprintf("the environment variable %q", b.Variable)
	}
	return fmt.Sprintf("the output of %q", strings.Join(b.Command, " "))
}

func date(t time.Time) string { return t.Local().Format("2006-01-02 15:04") }

// text is the proof in a few lines.
func (r *proof) text(c colours) []byte {
	var b strings.Builder
	b.WriteString(c.paint(green, "It works.") + "\n")
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	row := func(name, value string) {
		if value != "" {
			_, _ = fmt.Fprintf(w, "  %s\t%s\n", name, printable(value))
		}
	}
	row("who", r.user)
	if !r.expires.IsZero() {
		row("token", fmt.Sprintf("until %s (%s), then a new one by itself", date(r.expires), shortDuration(r.expires.Sub(r.now))))
	}
	for i, permission := range r.access.Can {
		row(map[bool]string{true: "can", false: ""}[i == 0], permission.String())
	}
	if len(r.access.Can) == 0 {
		row("can", "nothing beyond what every account can; grant it something with --role or --cluster-role")
	}
	row("cannot", strings.Join(r.access.Cannot, ", "))
	row("bootstrap", r.bootstrap)
	row("recovers", r.recovery)
	row("kept in", r.store)
	row("profile", r.profile)
	if r.context != "" {
		row("context", fmt.Sprintf("%s, in %s", r.context, r.file))
	}
	_ = w.Flush()
	b.WriteString("Next: " + c.paint(bold, r.next()) + "\n")
	return []byte(b.String())
}

// next is the command to type.
func (r *proof) next() string {
	verb := "get pods"
	if len(r.access.Can) > 0 && len(r.access.Can[0].Resources) > 0 && !r.mayListPods() {
		verb = "auth can-i --list"
	}
	if r.context == "" {
		return "kubectl --kubeconfig FILE " + verb
	}
	return "kubectl --context " + printable(r.context) + " " + verb
}

func (r *proof) mayListPods() bool {
	for _, permission := range r.access.Can {
		text := permission.String()
		if strings.Contains(text, "list") && strings.Contains(text, "pods") || strings.Contains(text, "*") {
			return true
		}
	}
	return false
}
