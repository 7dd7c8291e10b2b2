// Package execcred speaks the client-go exec credential protocol: it reads what a client says of
// itself in KUBERNETES_EXEC_INFO and encodes the answer.
//
// It knows nothing of profiles, stores or the API server: of this module it imports only
// internal/secret.
package execcred

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientauth "k8s.io/client-go/pkg/apis/clientauthentication/v1"
	clientauthv1beta1 "k8s.io/client-go/pkg/apis/clientauthentication/v1beta1"

	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

// EnvironmentVariable is where a client puts its ExecCredential for the plugin.
const EnvironmentVariable = "KUBERNETES_EXEC_INFO"

const kind = "ExecCredential"

// kindOfCSharp is what the C# client sends in its place, without a cluster:
// github.com/kubernetes-client/csharp, CreateRunnableExternalProcess.
const kindOfCSharp = "ExecCredentials"

// The versions of client.authentication.k8s.io that clients use today.
const (
	V1      = "client.authentication.k8s.io/v1"
	V1Beta1 = "client.authentication.k8s.io/v1beta1"
)

// maxInfo bounds what is parsed, in bytes. Linux limits one environment variable to 128 KiB; a
// cluster's CA bundle is the only large part.
const maxInfo = 1 << 20

// What can be wrong with exec info. The errors of Parse wrap one of them.
var (
	ErrMalformed  = errors.New("malformed exec info")
	ErrAPIVersion = errors.New("unknown apiVersion")
)

// Info is what a client says: the version it wants its answer in and the cluster it will send the
// token to.
type Info struct {
	APIVersion string
	Cluster    *clientauth.Cluster // nil when the client did not say
	Absent     bool                // the client sent no exec info at all
}

// Absent returns what a client that sets no exec info is taken to say: some clients set none at
// all, and of the versions they may expect v1 is the only one that is not deprecated.
func Absent() Info { return Info{APIVersion: V1, Absent: true} }

// Parse reads the value of KUBERNETES_EXEC_INFO. A client that sends no kind, or C#'s, counts as
// one that does not say where the token goes, whatever else it sends.
func Parse(text string) (Info, error) {
	if len(text) > maxInfo {
		return Info{}, fmt.Errorf("%w: longer than %d bytes", ErrMalformed, maxInfo)
	}
	// v1beta1 differs from v1 in nothing that JSON shows, so one type reads both. What is
	// wrong with one field does not keep the decoder from the others.
	var cred clientauth.ExecCredential
	err := json.Unmarshal([]byte(text), &cred)
	switch {
	case cred.TypeMeta == (metav1.TypeMeta{}):
		return Info{}, malformed()
	case cred.Kind != kind && cred.Kind != kindOfCSharp && cred.Kind != "":
		return Info{}, fmt.Errorf("%w: kind is %q, not %q", ErrMalformed, cred.Kind, kind)
	case cred.APIVersion != V1 && cred.APIVersion != V1Beta1:
		return Info{}, fmt.Errorf("%w %q in exec info", ErrAPIVersion, cred.APIVersion)
	case cred.Kind != kind:
		return Info{APIVersion: cred.APIVersion}, nil
	case err != nil:
		return Info{}, malformed()
	}
	return Info{APIVersion: cred.APIVersion, Cluster: cred.Spec.Cluster}, nil
}

func malformed() error {
	return fmt.Errorf("%w: %s does not hold an ExecCredential in JSON", ErrMalformed,
		EnvironmentVariable)
}

// Encode returns the ExecCredential that answers a client in the version it asked for, ending in a
// newline. The client uses token until expires, compared without leeway, so expires has to be early
// already; it is written in whole seconds, rounded down.
func Encode(apiVersion string, token secret.String, expires time.Time) ([]byte, error) {
	timestamp := metav1.NewTime(expires.UTC().Truncate(time.Second))
	meta := metav1.TypeMeta{APIVersion: apiVersion, Kind: kind}
	var answer any
	switch apiVersion {
	case V1:
		answer = clientauth.ExecCredential{TypeMeta: meta,
			Status: &clientauth.ExecCredentialStatus{
				Token: token.Reveal(), ExpirationTimestamp: &timestamp}}
	case V1Beta1:
		answer = clientauthv1beta1.ExecCredential{TypeMeta: meta,
			Status: &clientauthv1beta1.ExecCredentialStatus{
				Token: token.Reveal(), ExpirationTimestamp: &timestamp}}
	default:
		return nil, fmt.Errorf("%w %q", ErrAPIVersion, apiVersion)
	}
	encoded, err := json.Marshal(answer)
	if err != nil {
		return nil, fmt.Errorf("encoding ExecCredential: %w", err)
	}
	return append(encoded, '\n'), nil
}
