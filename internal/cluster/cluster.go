package cluster

import (
	"context"
	"errors"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// ClusterUID tells a cluster from another one behind the same address: the uid of the namespace
// kube-system, which lives as long as its cluster. It is empty where the caller cannot read it.
// Errors are *ObjectError.
func ClusterUID(ctx context.Context, client *api.Client) (string, error) {
	ref := Ref{Kind: "Namespace", Name: "kube-system"}
	found, err := readMetadata(ctx, client, ref)
	if errors.Is(err, api.ErrForbidden) {
		return "", nil
	}
	if err != nil {
		return "", &ObjectError{Doing: "reading", Object: ref, Err: err}
	}
	return found.UID, nil
}

// DeviceExists reports whether both objects of a device are still those that tokens are bound to.
// Errors are *ObjectError.
func DeviceExists(ctx context.Context, client *api.Client, namespace string,
	d profile.Device) (bool, error) {
	for _, object := range []struct{ kind, uid string }{{"Secret", d.SecretUID},
		{"ServiceAccount", d.AccountUID}} {
		ref := Ref{Kind: object.kind, Namespace: namespace, Name: d.Name}
		found, err := readMetadata(ctx, client, ref)
		switch {
		case errors.Is(err, api.ErrNotFound):
			return false, nil
		case err != nil:
			return false, &ObjectError{Doing: "reading", Object: ref, Err: err}
		case found.UID != object.uid || found.DeletionTimestamp != "":
			return false, nil
		}
	}
	return true, nil
}
