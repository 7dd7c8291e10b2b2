package doctor

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/bootstrap"
	"github.com/sa-exec-credential/sa-exec-credential/internal/connect"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// serverStatus is what came of the first question to an API server.
type serverStatus struct {
	took    time.Duration
	ahead   time.Duration // this machine's clock minus the server's
	undated bool          // the answer does not say what the server's clock is
	err     error
}

// serversOf prepares one question for each cluster, however many profiles it has: one that does
// not answer is waited for once.
func serversOf(ctx context.Context, h *host.Host,
	loaded []loadedProfile) map[string]func() serverStatus {
	servers := map[string]func() serverStatus{}
	for _, p := range loaded {
		if key := clusterKey(p.Cluster); p.err == nil && servers[key] == nil {
			servers[key] = sync.OnceValue(func() serverStatus {
				return probe(ctx, h,
					p.Cluster)
			})
		}
	}
	return servers
}

// clusterKey tells ways to API servers apart.
func clusterKey(c profile.Cluster) string {
	return c.Server + "\n" + c.TLSServerName + "\n" + c.ProxyURL + "\n" +
		string(c.CertificateAuthorityData)
}

// probe asks without a credential. Any answer of an API server will do: it may keep its version
// from strangers.
func probe(ctx context.Context, h *host.Host, cluster profile.Cluster) serverStatus {
	ctx, cancel := context.WithTimeout(ctx, mint.Deadline)
	defer cancel()
	config, err := bootstrap.Anonymous(cluster)
	if err != nil {
		return serverStatus{err: err}
	}
	client, err := connect.To(config)
	if err != nil {
		return serverStatus{err: err}
	}
	began := time.Now()
	_, err = client.Get(ctx, "/version", "", nil)
	if err != nil && !errors.Is(err, api.ErrUnauthorized) && !errors.Is(err,
		api.ErrForbidden) && !errors.Is(err, api.ErrNotFound) {
		return serverStatus{err: err}
	}
	server := client.ServerTime()
	return serverStatus{took: time.Since(began), ahead: h.Now().Sub(server),
		undated: server.IsZero()}
}
