package cluster

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// secretType marks device Secrets. The API server gives it no meaning.
const secretType = "sa-exec-credential/device"

// The annotations of a device Secret.
const (
	deviceAnnotation = "sa-exec-credential/device"
	hostAnnotation   = "sa-exec-credential/host"
	userAnnotation   = "sa-exec-credential/user"
	// Written whenever an administrator's credential creates a bootstrap token. The bootstrap
	// account can create tokens and nothing else, so what it renews by itself leaves no trace here:
	// only the audit log has that.
	issuedAnnotation  = "sa-exec-credential/bootstrap-issued"
	expiresAnnotation = "sa-exec-credential/bootstrap-expires"
)

const (
	maxDeviceName = validation.DNS1123LabelMaxLength
	maxHostPart   = 40
	maxAnnotation = 256
)

// Owner says whose machine a device Secret is for, for people who list them.
type Owner struct{ Host, User string }

// DeviceInfo is a machine that can mint, or could.
type DeviceInfo struct {
	Name        string // what NewDeviceName gave
	Secret, UID string
	Owner       Owner
	Created     time.Time
	// Issued and Expires are of the last bootstrap token that setup or rotate requested for the
	// device. The token renews itself, which the cluster does not record: the device can be in use
	// after Expires. Zero when unknown.
	Issued, Expires time.Time
}

// NewDeviceName chooses a name for this machine from the first part of its host name; each call
// gives another.
func NewDeviceName(hostname string) string {
	host, _, _ := strings.Cut(strings.ToLower(hostname), ".")
	host = strings.Map(func(r rune) rune {
		if 'a' <= r && r <= 'z' || '0' <= r && r <= '9' {
			return r
		}
		return '-'
	}, host)
	host = strings.Trim(host[:min(len(host), maxHostPart)], "-")
	if host == "" {
		host = "device"
	}
	var random [3]byte
	_, _ = rand.Read(random[:]) // never fails (crypto/rand)
	return host + "-" + hex.EncodeToString(random[:])
}

// DeviceSecret is the name of a device's Secret.
func DeviceSecret(account, deviceName string) string { return devicePrefix(account) + deviceName }

// DeviceName is the other way round; it is empty when the Secret is not named for a device of
// account.
func DeviceName(account, secretName string) string {
	name, found := strings.CutPrefix(secretName, devicePrefix(account))
	if !found {
		return ""
	}
	return name
}

// devicePrefix begins the names of an account's device Secrets; the cap looks for it.
func devicePrefix(account string) string {
	const middle = "-device-"
	return shorten(account, maxName-len(middle)-maxDeviceName) + middle
}

// EnsureDevice returns the device's Secret, created now or by an earlier call. A Secret of that
// name that is not a device of account is an ErrForeign. Errors are *ObjectError, or wrap ErrUsage
// for a name that cannot be.
func EnsureDevice(ctx context.Context, client *api.Client, namespace, account, deviceName string,
	owner Owner) (profile.Device, error) {
	if problems := validation.IsDNS1123Label(deviceName); len(problems) > 0 {
		return profile.Device{}, fmt.Errorf("%w: invalid device name %q: %s", ErrUsage, deviceName,
			problems[0])
	}
	ref := Ref{Kind: "Secret", Namespace: namespace, Name: DeviceSecret(account, deviceName)}
	found, err := readMetadata(ctx, client, ref)
	// Who can create but not read Secrets can still create a new one.
	if errors.Is(err, api.ErrNotFound) || errors.Is(err, api.ErrForbidden) {
		found, err = createDevice(ctx, client, ref, account, deviceName, owner)
	}
	if errors.Is(err, api.ErrConflict) { // another setup on this machine was quicker
		found, err = readMetadata(ctx, client, ref)
	}
	if err == nil {
		err = found.checkDevice(account)
	}
	if err != nil {
		return profile.Device{}, &ObjectError{Doing: "preparing", Object: ref, Err: err}
	}
	return profile.Device{Secret: found.Name, UID: found.UID}, nil
}

func createDevice(ctx context.Context, client *api.Client, ref Ref, account, deviceName string,
	owner Owner) (metadata, error) {
	secret := newObject(ref, account, componentDevice).
		with("type", secretType).
		with("immutable", true) // it stays empty
	secret.content["metadata"].(map[string]any)["annotations"] = map[string]any{
		deviceAnnotation: deviceName, hostAnnotation: printable(owner.Host), userAnnotation: printable(owner.User)}
	query := map[string]string{"fieldManager": fieldManager}
	answer, err := send(ctx, client, http.MethodPost, ref.collection(), query, "application/json",
		secret.encode())
	if err != nil {
		return metadata{}, err
	}
	return decodeMetadata(answer)
}

func (m metadata) checkDevice(account string) error {
	switch {
	case m.Labels[accountLabel] != labelValue(account) ||
		m.Labels[componentLabel] != componentDevice:
		return ErrForeign
	case m.DeletionTimestamp != "":
		return ErrTerminating
	}
	return nil
}

// printable keeps what another machine wrote from moving somebody's cursor.
func printable(s string) string {
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r > '~' {
			return '?'
		}
		return r
	}, s)
	return s[:min(len(s), maxAnnotation)]
}

// NoteBootstrap records at a device's Secret that a bootstrap token was requested for it. Nothing
// depends on it, so callers can ignore an error, which is an *ObjectError.
func NoteBootstrap(ctx context.Context, client *api.Client, namespace string, device profile.Device,
	issued, expires time.Time) error {
	ref := Ref{Kind: "Secret", Namespace: namespace, Name: device.Secret}
	// With the uid in it, the patch is refused if the Secret is another by now.
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": device.UID,
		"annotations": map[string]any{
			issuedAnnotation: stamp(issued), expiresAnnotation: stamp(expires)}}})
	if err != nil {
		return err
	}
	query := map[string]string{"fieldManager": fieldManager}
	_, err = send(ctx, client, http.MethodPatch, ref.path(), query, "application/merge-patch+json",
		patch)
	if err != nil {
		return &ObjectError{Doing: "annotating", Object: ref, Err: err}
	}
	return nil
}

func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// Devices lists the machines that were given a bootstrap credential for account and not revoked. Of
// the Secrets only the metadata is read.
func Devices(ctx context.Context, client *api.Client,
	namespace, account string) ([]DeviceInfo, error) {
	ref := Ref{Kind: "Secret", Namespace: namespace}
	query := map[string]string{"labelSelector": accountLabel + "=" + labelValue(account) + "," +
		componentLabel + "=" + componentDevice}
	items, err := listMetadata(ctx, client, ref.collection(), query)
	if err != nil {
		return nil, fmt.Errorf("listing device Secrets of %q: %w", namespace+"/"+account, err)
	}
	devices := make([]DeviceInfo, len(items))
	for i, item := range items {
		devices[i] = DeviceInfo{Name: DeviceName(account, item.Name), Secret: item.Name,
			UID: item.UID,
			Owner: Owner{Host: printable(item.Annotations[hostAnnotation]),
				User: printable(item.Annotations[userAnnotation])},
			Created: parseTime(item.CreationTimestamp),
			Issued:  parseTime(item.Annotations[issuedAnnotation]), Expires: parseTime(item.Annotations[expiresAnnotation])}
	}
	return devices, nil
}

func parseTime(text string) time.Time {
	t, _ := time.Parse(time.RFC3339, text) // zero when somebody edited it
	return t
}

// DeleteDevice deletes a device's Secret, and with it every token that is bound to it: the API
// server refuses them some 15 seconds later. It deletes nothing that is not a device of account,
// whatever the caller's profile says, and no other Secret of that name. A Secret that is gone is an
// api.ErrNotFound, another one under the name an api.ErrConflict; of either no token is left alive.
func DeleteDevice(ctx context.Context, client *api.Client, namespace, account string,
	device profile.Device) error {
	ref := Ref{Kind: "Secret", Namespace: namespace, Name: device.Secret}
	found, err := readMetadata(ctx, client, ref)
	switch {
	case errors.Is(err, api.ErrForbidden):
		err = nil // who can delete but not read relies on the uid
	case err == nil && found.Labels[accountLabel] != labelValue(account), err == nil &&
		found.Labels[componentLabel] != componentDevice:
		err = ErrForeign
	}
	if err != nil {
		return &ObjectError{Doing: "deleting", Object: ref, Err: err}
	}
	return deleteSecret(ctx, client, ref, device.UID)
}

func deleteSecret(ctx context.Context, client *api.Client, ref Ref, uid string) error {
	if uid == "" {
		return &ObjectError{Doing: "deleting", Object: ref,
			Err: fmt.Errorf("%w: it has no uid", ErrUsage)}
	}
	options, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "DeleteOptions",
		"preconditions": map[string]any{"uid": uid}})
	if err != nil {
		return err
	}
	if _, err := send(ctx, client, http.MethodDelete, ref.path(), nil, "application/json",
		options); err != nil {
		return &ObjectError{Doing: "deleting", Object: ref, Err: err}
	}
	return nil
}
