// Package mint makes the TokenRequest call, and asks whom a token stands for.
//
// It knows nothing of caches, stores or profiles: of this module it imports only internal/api and
// internal/secret.
package mint

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

// Deadline bounds a call, from looking up the server's name to the last byte of the answer.
const Deadline = 10 * time.Second

// tolerance is how far this machine's clock may be from the server's before times are corrected.
// The server's Date has whole seconds, so less cannot be told apart from the time on the way.
const tolerance = 2 * time.Second

// Client calls one API server with one credential.
type Client struct {
	client *api.Client
	now    func() time.Time
}

// New returns a client that authenticates as another one does.
func New(client *api.Client, now func() time.Time) *Client {
	return &Client{client: client, now: now}
}

// Request says which token to mint.
type Request struct {
	Namespace      string
	ServiceAccount string
	Audiences      []string
	Duration       time.Duration // asked for, in whole seconds; the server may grant less
	Bound          *Secret       // nil: not bound
}

// Secret is the object that a token is bound to: the token dies with it.
type Secret struct{ Name, UID string }

// Grant is a minted token. Its times are by this machine's clock, also when that is wrong.
type Grant struct {
	Token     secret.String
	IssuedAt  time.Time
	ExpiresAt time.Time
	Skew      time.Duration // this machine's clock minus the server's; 0 when they agree
}

// Mint requests a token. Errors wrap one of the errors of package api.
func (c *Client) Mint(ctx context.Context, r Request) (Grant, error) {
	ctx, cancel := context.WithTimeout(ctx, Deadline)
	defer cancel()
	path := "/api/v1/namespaces/" + r.Namespace + "/serviceaccounts/" + r.ServiceAccount +
		"/token"
	asked := c.now()
	var answer tokenRequest
	sent := r.body()
	if err := c.client.Post(ctx, path, sent, &answer); err != nil {
		return Grant{}, withoutMessage(err)
	}
	if err := answer.answers(sent.object); err != nil {
		return Grant{}, err
	}
	return c.grant(r, answer.Status, asked)
}

// withoutMessage drops the server's words: a server, or who poses as one, could put the token into
// them.
func withoutMessage(err error) error {
	var status *api.StatusError
	if errors.As(err, &status) {
		status.Message, status.Causes = "", nil
	}
	return err
}

// group is the API group and version of what this package sends.
const group = "authentication.k8s.io/v1"

// object is what every object of the API begins with.
type object struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
}

// answers is an error when an object is not of the kind of what was sent.
func (o object) answers(sent object) error {
	if o != sent {
		return fmt.Errorf("%w: it is no %s", api.ErrAnswer, sent.Kind)
	}
	return nil
}

// tokenRequest is a TokenRequest of the API, as far as this program needs it.
type tokenRequest struct {
	object
	Spec   tokenSpec   `json:"spec"`
	Status tokenStatus `json:"status,omitzero"`
}

type tokenSpec struct {
	Audiences         []string     `json:"audiences"`
	ExpirationSeconds int64        `json:"expirationSeconds"`
	BoundObjectRef    *boundObject `json:"boundObjectRef"`
}

type boundObject struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	Name       string `json:"name"`
	UID        string `json:"uid"`
}

type tokenStatus struct {
	Token               string    `json:"token"`
	ExpirationTimestamp time.Time `json:"expirationTimestamp"`
}

func (r Request) body() tokenRequest {
	request := tokenRequest{object: object{group, "TokenRequest"}, Spec: tokenSpec{
		Audiences: r.Audiences, ExpirationSeconds: int64(r.Duration / time.Second)}}
	if r.Bound != nil {
		request.Spec.BoundObjectRef = &boundObject{"v1", "Secret", r.Bound.Name,
			r.Bound.UID}
	}
	return request
}

// grant checks the answer and moves its times to this machine's clock. The expiry is the server's
// word (status.expirationTimestamp, KEP-1205), except that a token is never taken to live longer
// than was asked for: a second that begins on the way is not the token's.
func (c *Client) grant(r Request, status tokenStatus,
	asked time.Time) (Grant, error) {
	if !secret.IsToken(status.Token) {
		return Grant{}, fmt.Errorf("%w: it holds no token", api.ErrAnswer)
	}
	serverNow := issuerTime(c.client.ServerTime(), ParseClaims(status.Token).IssuedAt)
	skew := time.Duration(0)
	if !serverNow.IsZero() {
		if difference := asked.Sub(serverNow); difference.Abs() > tolerance+c.now().Sub(asked).Abs() {
			skew = difference
		}
	}
	expires := status.ExpirationTimestamp.Add(skew)
	if latest := asked.Add(r.Duration); expires.After(latest) {
		expires = latest
	}
	if !expires.After(asked) {
		return Grant{}, fmt.Errorf("%w: its token has expired already", api.ErrAnswer)
	}
	return Grant{Token: secret.New(status.Token), IssuedAt: asked, ExpiresAt: expires,
		Skew: skew}, nil
}

// proxyTolerance is how far the Date of an answer may be from the token's own iat: further, and a
// proxy with a clock of its own has set it.
const proxyTolerance = time.Minute

// issuerTime is the clock that the expiry is by, zero when unknown: the Date of the answer, or the
// token's iat where there is no Date or one that cannot be the issuer's.
func issuerTime(date, issued time.Time) time.Time {
	if date.IsZero() || !issued.IsZero() && date.Sub(issued).Abs() > proxyTolerance {
		return issued
	}
	return date
}

// Claims are what a ServiceAccount token says of itself. They are not verified: good for showing
// and for hints, not for decisions about trust.
type Claims struct {
	ID             string // JTI; in the audit log as authentication.kubernetes.io/credential-id
	Issuer         string
	Subject        string
	Audiences      []string
	IssuedAt       time.Time
	ExpiresAt      time.Time // zero: never, as in tokens of legacy Secrets
	Namespace      string
	ServiceAccount string
	BoundSecret    Secret // the zero value: not bound to a Secret
	LegacySecret   string // the Secret that a legacy token was read from
}

// ParseClaims reads a token's claims; what it cannot read is left zero. The claims are described in
// https://kubernetes.io/docs/reference/access-authn-authz/service-accounts-admin/#schema-for-service-account-private-claims.
func ParseClaims(token string) Claims {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return Claims{}
	}
	payload, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return Claims{}
	}
	var raw struct {
		ID         string          `json:"jti"`
		Issuer     string          `json:"iss"`
		Subject    string          `json:"sub"`
		Audience   json.RawMessage `json:"aud"`
		IssuedAt   int64           `json:"iat"`
		ExpiresAt  int64           `json:"exp"`
		Kubernetes struct {
			Namespace      string `json:"namespace"`
			ServiceAccount named  `json:"serviceaccount"`
			Secret         named  `json:"secret"`
		} `json:"kubernetes.io"`
		LegacyNamespace string `json:"kubernetes.io/serviceaccount/namespace"`
		LegacyName      string `json:"kubernetes.io/serviceaccount/service-account.name"`
		LegacySecret    string `json:"kubernetes.io/serviceaccount/secret.name"`
	}
	if json.Unmarshal(payload, &raw) != nil {
		return Claims{}
	}
	claims := Claims{ID: raw.ID, Issuer: raw.Issuer, Subject: raw.Subject,
		Audiences: audiences(raw.Audience),
		IssuedAt:  unix(raw.IssuedAt), ExpiresAt: unix(raw.ExpiresAt),
		Namespace: raw.Kubernetes.Namespace, ServiceAccount: raw.Kubernetes.ServiceAccount.Name,
		BoundSecret: Secret(raw.Kubernetes.Secret), LegacySecret: raw.LegacySecret}
	if claims.Namespace == "" {
		claims.Namespace, claims.ServiceAccount = raw.LegacyNamespace, raw.LegacyName
	}
	return claims
}

type named struct {
	Name string `json:"name"`
	UID  string `json:"uid"`
}

// audiences reads "aud", which RFC 7519 allows to be one string or a list.
func audiences(raw json.RawMessage) []string {
	var list []string
	if json.Unmarshal(raw, &list) == nil {
		return list
	}
	var one string
	if json.Unmarshal(raw, &one) == nil {
		return []string{one}
	}
	return nil
}

func unix(seconds int64) time.Time {
	if seconds <= 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}

// Username is the name that RBAC knows a service account by.
func Username(namespace, serviceAccount string) string {
	return "system:serviceaccount:" + namespace + ":" + serviceAccount
}
