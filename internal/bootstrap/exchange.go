package bootstrap

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"k8s.io/client-go/rest"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/connect"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

// maxAnswer bounds the answer to a request for an ID token, in bytes.
const maxAnswer = 2 * secret.MaxToken

// pause is between a request and its repetition where the service does not say how long to wait.
const pause = time.Second

// exchange sends a request and returns the answer's body. Where the service is overloaded or
// fails, it is asked once more, after the time that it names, as long as ctx lets that wait.
// Errors are ErrIssuer or ErrJobOver, and hold nothing of what was sent or answered.
func exchange(ctx context.Context, request *http.Request) ([]byte, error) {
	// the roots of the system and the proxy of the variables, as for an API server
	client, err := connect.HTTPClient(&rest.Config{Host: request.URL.String()})
	if err != nil {
		return nil, fmt.Errorf("%w: it cannot be called", ErrIssuer)
	}
	body, again, err := send(ctx, client, request)
	if err == nil || again < 0 || !isWaited(ctx, again) {
		return body, err
	}
	body, _, err = send(ctx, client, request)
	return body, err
}

// isWaited waits, unless ctx ends before.
func isWaited(ctx context.Context, d time.Duration) bool {
	if deadline, limited := ctx.Deadline(); limited && time.Until(deadline) <= d {
		return false
	}
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// send is one request. again is how long to wait before another; negative: none helps.
func send(ctx context.Context, client *http.Client, request *http.Request) (body []byte,
	again time.Duration, err error) {
	response, err := client.Do(request.Clone(ctx))
	if err != nil {
		return nil, -1, unreached(ctx, err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		again, err = refusal(response)
		return nil, again, err
	}
	if body, err = io.ReadAll(io.LimitReader(response.Body, maxAnswer+1)); err != nil {
		return nil, -1, unreached(ctx, err)
	}
	if len(body) > maxAnswer {
		return nil, -1, fmt.Errorf("%w: it answers with more than %d bytes", ErrIssuer,
			maxAnswer)
	}
	return body, -1, nil
}

// refusal says what an answer means that is no success, and after what time another may be one.
func refusal(response *http.Response) (again time.Duration, err error) {
	code := response.StatusCode
	switch {
	case code == http.StatusUnauthorized || code == http.StatusForbidden:
		return -1, fmt.Errorf("%w, or it may not have one: its own token is refused (%d)",
			ErrJobOver, code)
	case code == http.StatusTooManyRequests:
		return retryAfter(response), fmt.Errorf("%w: it is throttling (429)", ErrIssuer)
	case code >= http.StatusInternalServerError:
		return retryAfter(response), fmt.Errorf("%w: it answers with %d", ErrIssuer, code)
	case code < http.StatusBadRequest:
		return -1, fmt.Errorf("%w: it answers with %d, and no redirect is followed",
			ErrIssuer, code)
	}
	return -1, fmt.Errorf("%w: it refuses the request (%d)", ErrIssuer, code)
}

// retryAfter is what the service says (RFC 9110, section 10.2.3), in seconds or as a date.
func retryAfter(response *http.Response) time.Duration {
	text := response.Header.Get("Retry-After")
	if seconds, err := strconv.Atoi(text); err == nil && seconds >= 0 {
		return time.Duration(min(seconds, 3600)) * time.Second
	}
	if date, err := http.ParseTime(text); err == nil {
		return max(time.Until(date), 0)
	}
	return pause
}

// troubles are what can go wrong on the way to a service that is no API server.
var troubles = map[error]string{
	api.ErrTLS:         "its certificate is not trusted",
	api.ErrTimeout:     "it did not answer in time",
	api.ErrUnreachable: "it is unreachable",
}

func unreached(ctx context.Context, err error) error {
	err = api.FromNetwork(ctx, err)
	for kind, trouble := range troubles {
		if !errors.Is(err, kind) {
			continue
		}
		if kind == api.ErrUnreachable { // and why
			trouble += strings.TrimPrefix(err.Error(), kind.Error())
		}
		return fmt.Errorf("%w: %s", ErrIssuer, trouble)
	}
	return fmt.Errorf("%w: it cannot be called", ErrIssuer)
}
