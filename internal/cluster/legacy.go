package cluster

import (
	"context"
	"fmt"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
)

// legacyName is the annotation that names a legacy token Secret's account
// (https://kubernetes.io/docs/concepts/configuration/secret/#serviceaccount-token-secrets).
const legacyName = "kubernetes.io/service-account.name"

// LegacySecret holds a ServiceAccount token that never expires.
type LegacySecret struct{ Name, UID string }

// ListLegacySecrets lists the legacy token Secrets of account. Of the Secrets only the metadata is
// read.
func ListLegacySecrets(ctx context.Context, client *api.Client, namespace,
	account string) ([]LegacySecret, error) {
	ref := Ref{Kind: "Secret", Namespace: namespace}
	query := map[string]string{"fieldSelector": "type=kubernetes.io/service-account-token"}
	items, err := listMetadata(ctx, client, ref.collection(), query)
	if err != nil {
		return nil, fmt.Errorf("listing token Secrets of %q: %w", namespace+"/"+account,
			err)
	}
	var secrets []LegacySecret
	for _, item := range items {
		if item.Annotations[legacyName] == account {
			secrets = append(secrets, LegacySecret{Name: item.Name, UID: item.UID})
		}
	}
	return secrets, nil
}

// DeleteLegacySecret deletes what ListLegacySecrets found, and with it its token. Errors are
// *ObjectError; another Secret under that name by now is an api.ErrConflict.
func DeleteLegacySecret(ctx context.Context, client *api.Client, namespace string,
	secret LegacySecret) error {
	ref := Ref{Kind: "Secret", Namespace: namespace, Name: secret.Name}
	if _, err := deleteByUID(ctx, client, ref, secret.UID); err != nil {
		return &ObjectError{Doing: "deleting", Object: ref, Err: err}
	}
	return nil
}
