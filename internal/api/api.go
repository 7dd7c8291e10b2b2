// Package api makes single, bounded calls to an API server: no retries, no redirects, answers of
// limited size, and errors of a few kinds that say what a person can do about them.
//
// It has to be quick to start, for the program that every kubectl call runs links it. So it imports
// nothing of client-go, and of this module only internal/secret.
package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync/atomic"
	"time"
)

// maxAnswer bounds an answer in bytes, headers aside. The largest that is read is a discovery
// document of a cluster with many custom resources; a TokenRequest is about 2 KB.
const maxAnswer = 16 << 20

// userAgent names this program in the API server's audit log.
const userAgent = "sa-exec-credential"

const jsonType = "application/json"

// Client calls one API server as one user.
type Client struct {
	server  *url.URL
	through http.RoundTripper
	date    atomic.Int64 // of the last answer, in Unix seconds; 0: there was none
	memo    *Memo        // nil: nothing is shared with others
}

// New returns a client of the server at a URL. What its requests go through adds the credential. No
// connection is made yet.
func New(server *url.URL, through http.RoundTripper) *Client {
	return &Client{server: server, through: through}
}

// do returns when ctx is over, whatever the call does: it may run a credential plugin, which
// nothing stops.
//
// A panic in the call is ErrInternal: nobody else could recover from one in this goroutine, so it
// would end the process and print what it was raised with, which may hold the credential.
func (c *Client) do(ctx context.Context, request *http.Request) (answer, error) {
	type outcome struct {
		answer answer
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
		o.answer, o.err = c.exchange(request.WithContext(ctx))
	}()
	select {
	case o := <-done:
		if o.err != nil {
			return answer{}, classify(ctx, o.err)
		}
		return o.answer, nil
	case <-ctx.Done():
		return answer{}, classify(ctx, ctx.Err())
	}
}

// answer is what a server says where all is well.
type answer struct {
	contentType string
	body        []byte
}

// exchange sends a request and reads the answer. A redirect is never followed: the round tripper
// would add the credential for whatever host it names.
func (c *Client) exchange(request *http.Request) (a answer, err error) {
	response, err := c.through.RoundTrip(request)
	if err != nil {
		return a, err
	}
	defer response.Body.Close()
	if date, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		c.date.Store(date.Unix())
	}
	a.contentType = response.Header.Get("Content-Type")
	a.body, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer+1))
	if err != nil {
		return a, err
	}
	if len(a.body) > maxAnswer {
		return a, fmt.Errorf("%w: it is longer than %d bytes", ErrAnswer, maxAnswer)
	}
	if response.StatusCode < http.StatusOK || response.StatusCode > http.StatusPartialContent {
		return a, statusError(response.StatusCode, a.body)
	}
	return a, nil
}

// request is one to an absolute path.
func (c *Client) request(verb, where string, query map[string]string, contentType string,
	body []byte) *http.Request {
	target := *c.server
	target.Path = path.Join("/", c.server.Path, where)
	values := url.Values{}
	for name, value := range query {
		values.Set(name, value)
	}
	target.RawQuery = values.Encode()
	request := &http.Request{Method: verb, URL: &target, Host: target.Host,
		Header: http.Header{"Accept": {jsonType}, "User-Agent": {userAgent}}}
	if body != nil {
		request.Header.Set("Content-Type", contentType)
		request.ContentLength = int64(len(body))
		request.Body = io.NopCloser(bytes.NewReader(body))
	}
	return request
}

// Post sends body to the absolute path and decodes the answer into result, both as JSON.
func (c *Client) Post(ctx context.Context, where string, body, result any) error {
	encoded, err := json.Marshal(body)
	if err != nil {
		return fmt.Errorf("%w: encoding the request: %w", ErrInternal, err)
	}
	answer, err := c.do(ctx, c.request(http.MethodPost, where, nil, jsonType, encoded))
	if err != nil {
		return err
	}
	media, _, _ := strings.Cut(answer.contentType, ";")
	isJSON := media == "" || strings.EqualFold(strings.TrimSpace(media), jsonType)
	if !isJSON || json.Unmarshal(answer.body, result) != nil { // whose error may quote it
		return fmt.Errorf("%w: it cannot be decoded", ErrAnswer)
	}
	return nil
}

// Raw sends body, of the given content type, to the absolute path and returns the answer's bytes.
// body may be nil.
func (c *Client) Raw(ctx context.Context, verb, where string, query map[string]string,
	contentType string, body []byte) ([]byte, error) {
	answer, err := c.do(ctx, c.request(verb, where, query, contentType, body))
	return answer.body, err
}

// Get returns the bytes found at the absolute path. accept is the media type asked for; empty means
// JSON.
func (c *Client) Get(ctx context.Context, where, accept string,
	query map[string]string) ([]byte, error) {
	request := c.request(http.MethodGet, where, query, "", nil)
	if accept != "" {
		request.Header.Set("Accept", accept)
	}
	answer, err := c.do(ctx, request)
	return answer.body, err
}

// ServerTime is the Date of the last answer, in whole seconds; zero when there was none.
func (c *Client) ServerTime() time.Time {
	if seconds := c.date.Load(); seconds != 0 {
		return time.Unix(seconds, 0)
	}
	return time.Time{}
}
