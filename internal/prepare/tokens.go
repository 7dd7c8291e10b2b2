package prepare

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/tools/clientcmd"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/bootstrap"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/session"
)

// ErrNoAccountTokens is a server that knows no ServiceAccount: a proxy with logins of its own, such
// as Rancher's, in front of the one that issues the tokens.
var ErrNoAccountTokens = errors.New("the server does not accept ServiceAccount tokens")

// refusedAgain is the pause before a token is tried once more: of several API servers one may not
// know its account yet.
const refusedAgain = time.Second

// checkTokens finds out whether the server takes ServiceAccount tokens at all, with one of an
// account that is there: one that every cluster has, or else one of the namespace. Its token
// lives ten minutes, is shown to nobody but the server, and nothing is created. Where the caller
// may request none, it is not known.
func (p *Preparation) checkTokens(ctx context.Context) error {
	_, err := p.admin.Client.Memo().Get("takes tokens", func() ([]byte, error) {
		return nil, p.tryTokens(ctx)
	})
	return err
}

func (p *Preparation) tryTokens(ctx context.Context) error {
	client, err := bootstrap.Minter(p.admin.Config, p.host.Now)
	if err != nil {
		return err
	}
	for _, account := range p.trialAccounts() {
		grant, err := client.Mint(ctx, mint.Request{Namespace: account[0],
			ServiceAccount: account[1], Duration: profile.MinDuration})
		if err != nil {
			p.host.Log.Debug("no token to try", "account", account, "error", err)
			continue
		}
		_, err = session.WhoIs(ctx, p.host, p.profile.Cluster, grant.Token)
		if errors.Is(err, api.ErrUnauthorized) {
			time.Sleep(refusedAgain)
			_, err = session.WhoIs(ctx, p.host, p.profile.Cluster, grant.Token)
		}
		if !errors.Is(err, api.ErrUnauthorized) {
			p.host.Log.Debug("tried a token", "error", err)
			return nil
		}
		return p.noAccountTokens(ctx)
	}
	return nil
}

// trialAccounts are accounts that may be there already, as namespace and name.
func (p *Preparation) trialAccounts() [][2]string {
	return [][2]string{{"default", "default"},
		{p.profile.Namespace, p.profile.ServiceAccount}, {p.profile.Namespace, "default"}}
}

// noAccountTokens names the cluster's own address, as far as the cluster knows it.
func (p *Preparation) noAccountTokens(ctx context.Context) error {
	text := fmt.Sprintf("one that was issued a moment ago is refused (401), so %s is a proxy "+
		"with logins of its own", p.profile.Cluster.Server)
	if direct := p.directAddresses(ctx); len(direct) > 0 {
		text += "; the cluster's own address, as it says: " + strings.Join(direct, ", ")
	}
	return fmt.Errorf("%w: %s", ErrNoAccountTokens, text)
}

// directAddresses are what the cluster says of itself: the address that kubeadm has published,
// else those of its API servers.
func (p *Preparation) directAddresses(ctx context.Context) []string {
	found := p.publishedAddress(ctx)
	if len(found) == 0 {
		found = p.endpoints(ctx)
	}
	own, err := url.Parse(p.profile.Cluster.Server)
	return slices.DeleteFunc(found, func(address string) bool {
		other, problem := url.Parse(address)
		return err != nil || problem != nil || other.Host == own.Host
	})
}

// publishedAddress reads the kubeconfig without credentials that kubeadm publishes
// (https://kubernetes.io/docs/reference/setup-tools/kubeadm/implementation-details/).
func (p *Preparation) publishedAddress(ctx context.Context) (found []string) {
	var info struct {
		Data struct {
			Kubeconfig string `json:"kubeconfig"`
		} `json:"data"`
	}
	if p.read(ctx, "/api/v1/namespaces/kube-public/configmaps/cluster-info", &info) != nil {
		return nil
	}
	config, err := clientcmd.Load([]byte(info.Data.Kubeconfig))
	if err != nil {
		return nil
	}
	for _, cluster := range config.Clusters {
		if strings.HasPrefix(cluster.Server, "https://") {
			found = append(found, cluster.Server)
		}
	}
	return found
}

// endpoints are the addresses of the API servers, which the first of them keeps.
func (p *Preparation) endpoints(ctx context.Context) (found []string) {
	var slice struct {
		Endpoints []struct {
			Addresses []string `json:"addresses"`
		} `json:"endpoints"`
		Ports []struct {
			Port int `json:"port"`
		} `json:"ports"`
	}
	path := "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices/kubernetes"
	if p.read(ctx, path, &slice) != nil || len(slice.Ports) == 0 {
		return nil
	}
	port := strconv.Itoa(slice.Ports[0].Port)
	for _, endpoint := range slice.Endpoints {
		for _, address := range endpoint.Addresses {
			found = append(found, "https://"+net.JoinHostPort(address, port))
		}
	}
	return found
}

func (p *Preparation) read(ctx context.Context, path string, into any) error {
	ctx, cancel := context.WithTimeout(ctx, mint.Deadline)
	defer cancel()
	answer, err := p.admin.Client.Get(ctx, path, "", nil)
	if err != nil {
		return err
	}
	return json.Unmarshal(answer, into)
}
