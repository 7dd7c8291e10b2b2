package mint

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
)

// User is whom a credential stands for.
type User struct{ Name string }

// WhoAmI asks the API server whom the client's own credential stands for (SelfSubjectReview,
// KEP-3325). Kubernetes has that since 1.28; an older API server is asked what else tells.
func (c *Client) WhoAmI(ctx context.Context) (User, error) {
	ctx, cancel := context.WithTimeout(ctx, Deadline)
	defer cancel()
	sent := object{group, "SelfSubjectReview"}
	var answer struct {
		object
		Status struct{ UserInfo struct{ Username string } }
	}
	path := "/apis/authentication.k8s.io/v1/selfsubjectreviews"
	err := c.client.Post(ctx, path, sent, &answer)
	if err == nil {
		err = answer.answers(sent)
	}
	var status *api.StatusError
	switch {
	case err == nil:
		return User{Name: answer.Status.UserInfo.Username}, nil
	case !errors.As(err, &status):
		return User{}, err
	case status.Kind == api.ErrForbidden:
		if name := refusedUser(status.Message); name != "" {
			return User{Name: name}, nil
		}
	case status.Kind == api.ErrNotFound:
		if name := c.requester(ctx); name != "" {
			return User{Name: name}, nil
		}
	}
	return User{}, withoutMessage(err)
}

// anonymous is the name of who shows no credential (apiserver's user.Anonymous).
const anonymous = "system:anonymous"

// refusedUser is whom the server's words about a request that is not allowed name, and empty when
// they are not those of the API server itself: `… is forbidden: User "NAME" cannot create …`. An
// anonymous request is one that came without the credential.
func refusedUser(message string) string {
	_, after, found := strings.Cut(message, `: User "`)
	if !found {
		return ""
	}
	quoted, err := strconv.QuotedPrefix(`"` + after)
	if err != nil {
		return ""
	}
	name, err := strconv.Unquote(quoted)
	if err != nil || name == anonymous {
		return ""
	}
	return name
}

// requester asks who is asking for a certificate, which is for those that may do everything: the
// server answers that it knows no SelfSubjectReview, and names nobody. It is a dry run, so that
// nothing is created. Empty: not known.
func (c *Client) requester(ctx context.Context) string {
	body, err := signingRequest()
	if err != nil {
		return ""
	}
	data, err := c.client.Raw(ctx, http.MethodPost,
		"/apis/certificates.k8s.io/v1/certificatesigningrequests",
		map[string]string{"dryRun": "All"}, "application/json", body)
	var answer struct{ Spec struct{ Username string } }
	if err != nil || json.Unmarshal(data, &answer) != nil {
		return ""
	}
	return answer.Spec.Username
}

// signingRequest is a CertificateSigningRequest with a key that nobody keeps.
func signingRequest() ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, fmt.Errorf("making a certificate request: %w", err)
	}
	type object = map[string]any
	return json.Marshal(object{
		"apiVersion": "certificates.k8s.io/v1", "kind": "CertificateSigningRequest",
		"metadata": object{"generateName": "sa-exec-credential-"},
		"spec": object{
			"request": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST",
				Bytes: der}),
			"signerName": "sa-exec-credential.invalid/nobody",
			"usages":     []string{"client auth"},
		},
	})
}
