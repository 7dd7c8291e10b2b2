// Package connect makes clients of package api from what client-go knows of a server and a user:
// certificates, plugins, proxies, impersonation.
//
// Of this module it imports only internal/api.
package connect

import (
	"fmt"

	"k8s.io/client-go/rest"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
)

// To returns a client for what config describes. No connection is made yet.
func To(config *rest.Config) (*api.Client, error) {
	server, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, fmt.Errorf("preparing the API client: %w", err)
	}
	client, err := HTTPClient(config)
	if err != nil {
		return nil, fmt.Errorf("preparing the API client: %w", err)
	}
	return api.New(server, client.Transport), nil
}
