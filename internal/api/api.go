// Package api makes single, bounded calls to an API server through client-go's REST client: no
// retries, no warnings on standard error, answers of limited size, and errors of a few kinds that
// say what a person can do about them.
//
// It imports nothing of this module.
package api

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"sync/atomic"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
)

// maxAnswer bounds an answer in bytes, headers aside. The largest that is read is a discovery
// document of a cluster with many custom resources; a TokenRequest is about 2 KB.
const maxAnswer = 16 << 20

// userAgent names this program in the API server's audit log.
const userAgent = "sa-exec-credential"

// Client calls one API server as one user.
type Client struct {
	rest *rest.RESTClient
	date *dateRecorder
}

// New returns a client for what config describes. The types that scheme knows are what Post encodes
// and decodes. No connection is made yet.
func New(config *rest.Config, scheme *runtime.Scheme) (*Client, error) {
	metav1.AddToGroupVersion(scheme, schema.GroupVersion{Version: "v1"})
	c := rest.CopyConfig(config)
	recorder := &dateRecorder{host: config.Host}
	c.APIPath = "/api"
	c.GroupVersion = &schema.GroupVersion{Version: "v1"}
	c.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	c.ContentType = runtime.ContentTypeJSON
	c.UserAgent = userAgent
	c.QPS = -1
	c.WarningHandler = rest.NoWarnings{}
	// One call a connection gains nothing from HTTP/2, and its debug log would print the
	// Authorization header.
	c.NextProtos = []string{"http/1.1"}
	c.Wrap(recorder.wrap)
	found, err := rest.HTTPClientFor(c)
	if err != nil {
		return nil, fmt.Errorf("preparing the API client: %w", err)
	}
	// A redirect is never followed: the round tripper would add the credential for whatever
	// host it names.
	own := *found
	own.CheckRedirect = notFollowed
	client, err := rest.RESTClientForConfigAndClient(c, &own)
	if err != nil {
		return nil, fmt.Errorf("preparing the API client: %w", err)
	}
	return &Client{rest: client, date: recorder}, nil
}

func notFollowed(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// do returns when ctx is over, whatever the call does: it may run a credential plugin, which
// nothing stops.
//
// A panic in the call is ErrInternal: nobody else could recover from one in this goroutine, so it
// would end the process and print what it was raised with, which may hold the credential.
func do(ctx context.Context, request *rest.Request) (rest.Result, error) {
	type outcome struct {
		answer rest.Result
		err    error
	}
	done := make(chan outcome, 1)
	go func() {
		var o outcome
		defer func() {
			if recover() != nil {
				o.err = fmt.Errorf("%w: panic in the API client", ErrInternal)
			}
			done <- o
		}()
		o.answer = request.Do(ctx)
		o.err = o.answer.Error()
	}()
	select {
	case o := <-done:
		return o.answer, o.err
	case <-ctx.Done():
		return rest.Result{}, ctx.Err()
	}
}

// Post sends body to the absolute path and decodes the answer into result, which may be nil.
func (c *Client) Post(ctx context.Context, path string, body, result runtime.Object) error {
	answer, err := do(ctx, c.rest.Post().AbsPath(path).MaxRetries(0).Body(body))
	if err != nil {
		return classify(ctx, err)
	}
	if result == nil {
		return nil
	}
	if err := answer.Into(result); err != nil {
		return fmt.Errorf("%w: it cannot be decoded", ErrAnswer)
	}
	return nil
}

// Raw sends body, of the given content type, to the absolute path and returns the answer's bytes.
// body may be nil.
func (c *Client) Raw(ctx context.Context, verb, path string, query map[string]string,
	contentType string, body []byte) ([]byte, error) {
	request := c.rest.Verb(verb).AbsPath(path).MaxRetries(0)
	for name, value := range query {
		request = request.Param(name, value)
	}
	if body != nil {
		request = request.SetHeader("Content-Type", contentType).Body(body)
	}
	return raw(ctx, request)
}

// raw asks for the error apart, because only that way does the REST client read the Status in an
// answer's body.
func raw(ctx context.Context, request *rest.Request) ([]byte, error) {
	answer, err := do(ctx, request)
	if err != nil {
		return nil, classify(ctx, err)
	}
	return answer.Raw()
}

// Get returns the bytes found at the absolute path. accept is the media type asked for; empty means
// JSON.
func (c *Client) Get(ctx context.Context, path, accept string,
	query map[string]string) ([]byte, error) {
	request := c.rest.Get().AbsPath(path).MaxRetries(0)
	for name, value := range query {
		request = request.Param(name, value)
	}
	if accept != "" {
		request = request.SetHeader("Accept", accept)
	}
	return raw(ctx, request)
}

// ServerTime is the Date of the last answer, in whole seconds; zero when there was none.
func (c *Client) ServerTime() time.Time {
	if seconds := c.date.unix.Load(); seconds != 0 {
		return time.Unix(seconds, 0)
	}
	return time.Time{}
}

// dateRecorder keeps the Date header, which the REST client does not hand out, and reads the body
// for it: the REST client has no limit, and complains of a connection that breaks off on standard
// error.
type dateRecorder struct {
	host string // of the API server, as a URL
	next http.RoundTripper
	unix atomic.Int64
}

func (d *dateRecorder) wrap(next http.RoundTripper) http.RoundTripper {
	d.next = hearingProxies(next, d.host)
	return d
}

// RoundTrip implements http.RoundTripper.
func (d *dateRecorder) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := d.next.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if date, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		d.unix.Store(date.Unix())
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return nil, err
	}
	if len(body) > maxAnswer {
		return nil, fmt.Errorf("%w: it is longer than %d bytes", ErrAnswer, maxAnswer)
	}
	response.Body = io.NopCloser(bytes.NewReader(body))
	return response, nil
}
