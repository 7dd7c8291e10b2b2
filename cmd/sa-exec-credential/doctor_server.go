package main

import (
	"context"
	"errors"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/bootstrap"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// greeting is what came of the first question to an API server.
type greeting struct {
	took    time.Duration
	ahead   time.Duration // this machine's clock minus the server's
	undated bool          // the answer does not say what the server's clock is
	err     error
}

// serversOf prepares one question for each cluster, however many profiles it has: one that does not answer is waited for
// once.
func (e *environment) serversOf(ctx context.Context, loaded []loadedProfile) map[string]func() greeting {
	servers := map[string]func() greeting{}
	for _, p := range loaded {
		if key := clusterKey(p.Cluster); p.err == nil && servers[key] == nil {
			servers[key] = sync.OnceValue(func() greeting { return e.greet(ctx, p.Cluster) })
		}
	}
	return servers
}

// clusterKey tells ways to API servers apart.
func clusterKey(c profile.Cluster) string {
	return c.Server + "\n" + c.TLSServerName + "\n" + c.ProxyURL + "\n" + string(c.CertificateAuthorityData)
}

// greet asks without a credential. Any answer of an API server will do: it may keep its version from strangers.
func (e *environment) greet(ctx context.Context, cluster profile.Cluster) greeting {
	ctx, cancel := context.WithTimeout(ctx, mint.Deadline)
	defer cancel()
	config, err := bootstrap.Anonymous(cluster)
	if err != nil {
		return greeting{err: err}
	}
	client, err := api.New(config, runtime.NewScheme())
	if err != nil {
		return greeting{err: err}
	}
	began := time.Now()
	_, err = client.Get(ctx, "/version", "", nil)
	if err != nil && !errors.Is(err, api.ErrUnauthorized) && !errors.Is(err, api.ErrForbidden) && !errors.Is(err, api.ErrNotFound) {
		return greeting{err: err}
	}
	server := client.ServerTime()
	return greeting{took: time.Since(began), ahead: e.now().Sub(server), undated: server.IsZero()}
}
