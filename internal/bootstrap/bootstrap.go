// Package bootstrap finds the credential that authenticates the TokenRequest call, one source a
// file.
//
// It knows nothing of caches or of how tokens are minted: of this module it imports internal/api
// (for what can go wrong on a network), internal/execcred, internal/keyring, internal/kubeconfig,
// internal/kuberc, internal/profile and internal/secret. It runs programs in environments of their own and leaves that of the process
// alone.
package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"github.com/sa-exec-credential/sa-exec-credential/internal/connect"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

// What can be wrong with a bootstrap credential. The errors of this package wrap one of them, or
// one of package keyring's when the store itself fails.
var (
	ErrMissing = errors.New("there is no bootstrap credential")
	ErrExpired = errors.New("the bootstrap credential has expired")
	ErrSource  = errors.New("the bootstrap credential cannot be obtained")
	// ErrNoJob is an ErrMissing: this is no job, or one that may not have an ID token.
	ErrNoJob = fmt.Errorf("%w of a job", ErrMissing)
	// ErrJobOver is an ErrExpired: the job can ask for no ID token any more.
	ErrJobOver = fmt.Errorf("%w with its job", ErrExpired)
	// ErrElsewhere is an ErrSource: the profile does not let a job ask where it is told to.
	ErrElsewhere = fmt.Errorf("%w: the ID token would be asked for elsewhere", ErrSource)
	// ErrIssuer is the service that a job of a CI system asks for its ID token.
	ErrIssuer = errors.New("the CI system's service for ID tokens fails")
)

// System is what the sources need of the process they run in.
type System struct {
	Store  keyring.Store
	Key    string // of the bootstrap credential in the store, for source keyring
	Getenv func(string) string
	// Own is Getenv for variables that only count as the client itself was started with them.
	Own func(string) string
	Now func() time.Time
	// Kuberc is the file of kubectl's preferences, whose policy for plugins holds here, too;
	// empty when they are turned off.
	Kuberc string
	// MountedToken is the file of the token that a pod gets.
	MountedToken string
}

// WithinVariable keeps a source that leads back to its own profile, also by way of others, from
// running this program without end.
const WithinVariable = profile.WithinVariable

// separator is no part of any profile's name.
const separator = ","

func within(p profile.Profile, names string) bool {
	return slices.Contains(strings.Split(names, separator), p.Name)
}

// nowWithin is the variable's setting for what the profile's source runs.
func nowWithin(p profile.Profile, names string) string {
	return WithinVariable + "=" + strings.TrimPrefix(names+separator+p.Name, separator)
}

// Credential is how to call the profile's API server.
type Credential struct {
	Config *rest.Config
	// RenewalDue says that half of its life is over, and that it can renew itself.
	RenewalDue bool
}

// Find returns the profile's bootstrap credential.
func Find(ctx context.Context, p profile.Profile, system System) (Credential, error) {
	if within(p, system.Getenv(WithinVariable)) {
		return Credential{}, fmt.Errorf("%w: its source leads back to profile %q",
			ErrSource, p.Name)
	}
	switch p.Bootstrap.Source {
	case profile.SourceContext:
		config, err := fromContext(ctx, p, system)
		return Credential{Config: config}, err
	case profile.SourceKeyring:
		return fromStore(ctx, p, system)
	}
	token, err := token(ctx, p, system)
	if err != nil {
		return Credential{}, err
	}
	config, err := WithToken(p.Cluster, token)
	return Credential{Config: config}, err
}

func token(ctx context.Context, p profile.Profile, system System) (secret.String, error) {
	switch p.Bootstrap.Source {
	case profile.SourceInCluster:
		return fromFile(system.MountedToken)
	case profile.SourceTokenFile:
		return fromFile(p.Bootstrap.Path)
	case profile.SourceEnv:
		return fromVariable(p.Bootstrap.Variable, system.Getenv)
	case profile.SourceCommand:
		return fromCommand(ctx, p.Bootstrap, nowWithin(p, system.Getenv(WithinVariable)))
	case profile.SourceGitHub, profile.SourceAzure:
		return fromJob(ctx, p.Bootstrap, system.Own)
	}
	return secret.String{}, fmt.Errorf("%w: unknown source %q", ErrSource, p.Bootstrap.Source)
}

// Anonymous returns how to reach a cluster without a credential.
func Anonymous(cluster profile.Cluster) (*rest.Config, error) {
	config := &rest.Config{Host: cluster.Server, TLSClientConfig: rest.TLSClientConfig{
		ServerName: cluster.TLSServerName, CAData: cluster.CertificateAuthorityData}}
	if cluster.ProxyURL == "" {
		return config, nil
	}
	proxy, err := url.Parse(cluster.ProxyURL)
	if err != nil {
		return nil, fmt.Errorf("%w: proxy-url %q is not a URL", profile.ErrCluster,
			secret.URL(cluster.ProxyURL))
	}
	config.Proxy = http.ProxyURL(proxy)
	return config, nil
}

// Minter returns a client that asks for tokens as config says.
func Minter(config *rest.Config, now func() time.Time) (*mint.Client, error) {
	client, err := connect.To(config)
	if err != nil {
		return nil, err
	}
	return mint.New(client, now), nil
}

// WithToken returns how to call a cluster with a bearer token.
func WithToken(cluster profile.Cluster, token secret.String) (*rest.Config, error) {
	config, err := Anonymous(cluster)
	if err != nil {
		return nil, err
	}
	config.BearerToken = token.Reveal()
	return config, nil
}

// clean takes a token out of what a file, a variable or a command gave. It is an ErrMissing when
// there is nothing, and an ErrSource when it is no token; what it was instead is nobody's business.
func clean(text, where string) (secret.String, error) {
	text = strings.TrimSpace(text)
	switch {
	case text == "":
		return secret.String{}, fmt.Errorf("%w: %s is empty", ErrMissing, where)
	case len(text) > secret.MaxToken:
		return secret.String{}, fmt.Errorf("%w: %s holds more than %d bytes",
			ErrSource, where, secret.MaxToken)
	case !secret.IsToken(text):
		return secret.String{}, fmt.Errorf("%w: %s holds no token", ErrSource, where)
	}
	return secret.New(text), nil
}
