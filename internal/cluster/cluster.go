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

// DeviceExists reports whether the device's Secret is still the one that tokens are bound to.
// Errors are *ObjectError.
func DeviceExists(ctx context.Context, client *api.Client, namespace string,
	device profile.Device) (bool, error) {
	ref := Ref{Kind: "Secret", Namespace: namespace, Name: device.Secret}
	found, err := readMetadata(ctx, client, ref)
	if errors.Is(err, api.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, &ObjectError{Doing: "reading", Object: ref, Err: err}
	}
	return found.UID == device.UID && found.DeletionTimestamp == "", nil
}
