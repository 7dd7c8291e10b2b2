package prepare

import (
	"cmp"
	"fmt"
	"net"
	"path/filepath"
	"strings"

	"github.com/sa-exec-credential/sa-exec-credential/internal/files"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// maxMounted bounds what is read of a mounted file, in bytes.
const maxMounted = 1 << 20

// InPod reads the three mounted files and the two environment variables of a pod, and works out the
// profile. The cluster is left as it is: a pod has no business there.
func InPod(h *host.Host, o Options, report ui.Report) (*Preparation, error) {
	mounted, cluster, err := readMounted(h)
	if err != nil {
		return nil, err
	}
	claims := mint.ParseClaims(mounted["token"])
	p := &Preparation{host: h, report: report}
	p.profile = profile.Profile{
		Name: o.Profile, Cluster: cluster,
		Namespace:      cmp.Or(o.Namespace, claims.Namespace, mounted["namespace"]),
		ServiceAccount: cmp.Or(o.ServiceAccount, claims.ServiceAccount),
		Bootstrap:      profile.Bootstrap{Source: profile.SourceInCluster},
	}
	if p.profile.Name == "" {
		p.profile.Name = profile.DefaultName(p.profile.ServiceAccount, p.profile.Namespace,
			"in-cluster")
	}
	p.options = o.keep(h, p.profile)
	o = p.options
	p.profile.Audiences, p.profile.Duration.Duration, p.profile.Store = o.Audiences, o.Duration,
		o.Store
	p.profile.TPM = o.TPM
	p.profile.AllowMissingClusterInfo, p.profile.Setup = *o.AllowMissingClusterInfo, o.remembered()
	p.profile.Log = o.log()
	return p, nil
}

// readMounted reads what kubelet has mounted, and what the cluster is that the pod is in.
func readMounted(h *host.Host) (mounted map[string]string, c profile.Cluster, err error) {
	mounted = map[string]string{}
	for _, name := range []string{"token", "ca.crt", "namespace"} {
		data, err := files.ReadMounted(filepath.Join(h.MountedDir, name), maxMounted)
		if err != nil {
			return nil, c, fmt.Errorf("%w: %w", ErrNotInPod, err)
		}
		mounted[name] = strings.TrimSpace(string(data))
	}
	return mounted, profile.Cluster{
		Server: "https://" + net.JoinHostPort(h.Getenv("KUBERNETES_SERVICE_HOST"),
			cmp.Or(h.Getenv("KUBERNETES_SERVICE_PORT"), "443")),
		CertificateAuthorityData: []byte(mounted["ca.crt"] + "\n")}, nil
}
