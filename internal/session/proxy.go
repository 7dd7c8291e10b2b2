package session

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"k8s.io/client-go/rest"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/bootstrap"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
)

// A kubeconfig may have got its proxy-url after setup. Where the profile's own way leads to no
// connection, the client's proxy is tried: it carries TLS to the profile's authorities, end to end,
// and sees what it sees of the client's own requests.

// throughClient is config by way of the client's proxy, nil when there is none. TLS to the proxy
// itself would show it a client certificate, and be held to the cluster's authorities.
func (s *Session) throughClient(config *rest.Config) *rest.Config {
	proxy, err := url.Parse(s.ClientProxy)
	hasCertificate := len(config.CertData) > 0 || config.CertFile != ""
	if s.ClientProxy == "" || err != nil || proxy.Scheme == "https" && hasCertificate {
		return nil
	}
	other := rest.CopyConfig(config)
	other.Proxy = http.ProxyURL(proxy)
	return other
}

// call makes one call the profile's own way, and once more through the client's proxy when no
// connection came of that: nothing has been sent then. Both together take no longer than one. The
// client it returns is the one that got an answer.
func (s *Session) call(ctx context.Context, config *rest.Config,
	do func(context.Context, *mint.Client) error) (*mint.Client, error) {
	client, err := bootstrap.Minter(config, s.Host.Now)
	other := s.throughClient(config)
	if err != nil || other == nil {
		return client, with(ctx, client, err, do)
	}
	ctx, cancel := context.WithTimeout(ctx, mint.Deadline)
	defer cancel()
	deadline, _ := ctx.Deadline()
	limited, connected, end := api.ConnectWithin(ctx, time.Until(deadline)/2)
	err = do(limited, client)
	end()
	if connected() || !isUnreached(err) {
		return client, err
	}
	s.Host.Log.Debug("no connection; trying the client's proxy-url", "error", err)
	client, problem := bootstrap.Minter(other, s.Host.Now)
	problem = with(ctx, client, problem, do)
	if isUnreached(problem) {
		return nil, fmt.Errorf("%w; and through the client's proxy-url: %w", err, problem)
	}
	return client, problem
}

func with(ctx context.Context, client *mint.Client, err error,
	do func(context.Context, *mint.Client) error) error {
	if err != nil {
		return err
	}
	return do(ctx, client)
}

func isUnreached(err error) bool {
	return slices.Contains([]error{api.ErrUnreachable, api.ErrTimeout}, api.Kind(err))
}
