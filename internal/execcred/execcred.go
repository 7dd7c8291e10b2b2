// Package execcred speaks the client-go exec credential protocol: it reads what a client says of
// itself in KUBERNETES_EXEC_INFO and encodes the answer.
//
// It knows nothing of profiles, stores or the API server: of this module it imports only
// internal/secret. The types are its own, and not client-go's: a hit would pay for the
// initialisation of all that those need. A test holds them to client-go's.
package execcred

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

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
	Cluster    *Cluster // nil when the client did not say
	Absent     bool     // the client sent no exec info at all
}

// Cluster is where a client says that it will send the token to.
type Cluster struct {
	Server                   string `json:"server"`
	TLSServerName            string `json:"tls-server-name"`
	InsecureSkipTLSVerify    bool   `json:"insecure-skip-tls-verify"`
	CertificateAuthorityData []byte `json:"certificate-authority-data"` // PEM
	ProxyURL                 string `json:"proxy-url"`
	// Config is the cluster's extension client.authentication.k8s.io/exec, in JSON. Empty:
	// there is none.
	Config json.RawMessage `json:"config"`
}

// typeMeta is what every object of an API begins with.
type typeMeta struct {
	Kind       string `json:"kind,omitempty"`
	APIVersion string `json:"apiVersion,omitempty"`
}

// request is what a client sends. v1beta1 differs from v1 in nothing that JSON shows, so one type
// reads both.
type request struct {
	typeMeta
	Spec struct {
		Cluster *Cluster `json:"cluster"`
	} `json:"spec"`
}

// response is the answer to it. Clients of v1 and v1beta1 find an empty spec in it, as client-go
// would write it.
type response struct {
	typeMeta
	Spec struct {
		Interactive bool `json:"interactive"`
	} `json:"spec"`
	Status struct {
		ExpirationTimestamp string `json:"expirationTimestamp"`
		Token               string `json:"token"`
	} `json:"status"`
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
	// What is wrong with one field does not keep the decoder from the others.
	var cred request
	err := json.Unmarshal([]byte(text), &cred)
	switch {
	case cred.typeMeta == (typeMeta{}):
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
	if apiVersion != V1 && apiVersion != V1Beta1 {
		return nil, fmt.Errorf("%w %q", ErrAPIVersion, apiVersion)
	}
	answer := response{typeMeta: typeMeta{APIVersion: apiVersion, Kind: kind}}
	answer.Status.Token = token.Reveal()
	answer.Status.ExpirationTimestamp = expires.UTC().Format(time.RFC3339)
	encoded, err := json.Marshal(answer)
	if err != nil {
		return nil, fmt.Errorf("encoding ExecCredential: %w", err)
	}
	return append(encoded, '\n'), nil
}
