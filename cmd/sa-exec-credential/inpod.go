package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"strings"

	"github.com/sa-exec-credential/sa-exec-credential/internal/files"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/setup"
)

// maxMounted bounds what is read of a mounted file, in bytes.
const maxMounted = 1 << 20

// inPod reports whether setup shall use what kubelet has mounted, and nobody's kubeconfig.
func (c *setupCommand) inPod(env *environment) bool {
	return c.Bootstrap == string(profile.SourceInCluster) && c.Kubeconfig == "" && len(c.Context) == 0 && !c.AllContexts &&
		env.getenv("KUBERNETES_SERVICE_HOST") != ""
}

// errNotInPod is a process without what kubelet gives to pods.
var errNotInPod = errors.New("this is no pod with a service account's token")

// runInPod makes a profile out of the three mounted files and the two environment variables of a pod. The cluster is
// left as it is: a pod has no business there.
func (c *setupCommand) runInPod(ctx context.Context, env *environment) error {
	if len(c.Role)+len(c.ClusterRole)+len(c.Verb)+len(c.Resource) > 0 {
		return fmt.Errorf("%w: in a pod setup changes nothing in the cluster; grant rights with an administrator's --context", errUsage)
	}
	p, err := c.podPreparation(env)
	if err != nil {
		return err
	}
	if c.DryRun {
		rendered, err := p.render()
		if err != nil {
			return err
		}
		return env.write(rendered)
	}
	return p.runAlone(ctx)
}

func (c *setupCommand) podPreparation(env *environment) (*preparation, error) {
	mounted := map[string]string{}
	for _, name := range []string{"token", "ca.crt", "namespace"} {
		data, err := files.ReadMounted(filepath.Join(env.mounted, name), maxMounted)
		if err != nil {
			return nil, fmt.Errorf("%w: reading what the pod has mounted: %w", errNotInPod, err)
		}
		mounted[name] = strings.TrimSpace(string(data))
	}
	claims := mint.ParseClaims(mounted["token"])
	server := "https://" + net.JoinHostPort(env.getenv("KUBERNETES_SERVICE_HOST"), cmp.Or(env.getenv("KUBERNETES_SERVICE_PORT"), "443"))
	p := &preparation{command: c, env: env}
	p.profile = profile.Profile{
		Name:           c.Profile,
		Cluster:        profile.Cluster{Server: server, CertificateAuthorityData: []byte(mounted["ca.crt"] + "\n")},
		Namespace:      cmp.Or(c.Namespace, claims.Namespace, mounted["namespace"]),
		ServiceAccount: cmp.Or(c.ServiceAccount, claims.ServiceAccount),
		Audiences:      c.Audience, Duration: profile.Duration{Duration: c.Duration},
		Bootstrap: profile.Bootstrap{Source: profile.SourceInCluster},
		Store:     keyring.Kind(c.Store), AllowMissingClusterInfo: c.AllowMissingClusterInfo,
	}
	if p.profile.Name == "" {
		p.profile.Name = profile.DefaultName(p.profile.ServiceAccount, p.profile.Namespace, "in-cluster")
	}
	var err error
	p.paths, err = c.outputPaths(env)
	return p, err
}

// prepareForPods is what an administrator does for pods that shall mint: the cluster's part. The rest is done in the pod,
// where the bootstrap credential is.
func (p *preparation) prepareForPods(ctx context.Context) error {
	if err := p.prepareCluster(ctx); err != nil {
		return err
	}
	account := p.profile.Account()
	if p.command.Minter == "" {
		p.env.log.line("hint", fmt.Sprintf("pods of %q itself use their mounted token; for pods of another account name that one with --minter", account))
	}
	return p.env.write(fmt.Appendf(nil, "The cluster is ready. Next, in the pod: sa-exec-credential setup %s -n %s --bootstrap in-cluster -o FILE\n",
		p.profile.ServiceAccount, p.profile.Namespace))
}

// minter reads --minter, NAMESPACE/NAME.
func (c *setupCommand) minter() (*setup.Subject, error) {
	if c.Minter == "" {
		return nil, nil
	}
	namespace, name, found := strings.Cut(c.Minter, "/")
	if !found || namespace == "" || name == "" || c.Bootstrap != string(profile.SourceInCluster) {
		return nil, fmt.Errorf("%w: --minter %q: NAMESPACE/NAME of a pod's account, with --bootstrap in-cluster", errUsage, c.Minter)
	}
	return &setup.Subject{Namespace: namespace, Name: name}, nil
}
