package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"k8s.io/client-go/rest"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/bootstrap"
	"github.com/sa-exec-credential/sa-exec-credential/internal/connect"
	"github.com/sa-exec-credential/sa-exec-credential/internal/mint"
)

// noSuchUID is the uid of no object.
const noSuchUID = "00000000-0000-0000-0000-000000000000"

// IsDenied finds out whether admission keeps the bootstrap credential from a token of a lifetime,
// without ever getting one that lives long: the request names a Secret that cannot be, and the
// API server looks for that after it has asked admission (k8s.io/kubernetes,
// pkg/registry/core/serviceaccount/storage/token.go). With dryRun it would issue the token all
// the same (measured on 1.36).
func (s *Session) IsDenied(ctx context.Context, lifetime time.Duration) (bool, error) {
	credential, err := s.credential(ctx)
	if err != nil {
		return false, err
	}
	return s.IsDeniedTo(ctx, credential.Config, lifetime)
}

// IsDeniedTo is IsDenied for another credential than the profile's own.
func (s *Session) IsDeniedTo(ctx context.Context, config *rest.Config,
	lifetime time.Duration) (bool, error) {
	client, err := bootstrap.Minter(config, s.Host.Now)
	if err != nil {
		return false, err
	}
	request := s.TokenRequest()
	request.Duration = lifetime
	request.Bound = &mint.Secret{Name: s.Device.Name, UID: noSuchUID}
	_, err = client.Mint(ctx, request)
	switch {
	case errors.Is(err, api.ErrAdmission):
		return true, nil
	case errors.Is(err, api.ErrNotFound), errors.Is(err, api.ErrConflict):
		return false, nil
	case err == nil:
		return false, fmt.Errorf("%w: it binds tokens to a Secret that does not exist",
			api.ErrAnswer)
	}
	return false, err
}

// HasPolicies reports whether the API server knows the admission policies that limits are enforced
// by: since Kubernetes 1.30 each does.
func (s *Session) HasPolicies(ctx context.Context) (bool, error) {
	credential, err := bootstrap.Find(ctx, s.Profile, s.System())
	if err != nil {
		return false, err
	}
	client, err := connect.To(credential.Config)
	if err != nil {
		return false, err
	}
	ctx, cancel := context.WithTimeout(ctx, mint.Deadline)
	defer cancel()
	answer, err := client.Get(ctx, "/apis/admissionregistration.k8s.io/v1", "", nil)
	if err != nil {
		return false, err
	}
	var group struct{ Resources []struct{ Name string } }
	if err := json.Unmarshal(answer, &group); err != nil {
		return false, fmt.Errorf("%w: it cannot be decoded", api.ErrAnswer)
	}
	for _, resource := range group.Resources {
		if resource.Name == "validatingadmissionpolicies" {
			return true, nil
		}
	}
	return false, nil
}
