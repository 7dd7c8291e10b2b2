package api

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
)

// roundTripper is a function that answers requests.
type roundTripper func(*http.Request) (*http.Response, error)

// RoundTrip implements http.RoundTripper.
func (r roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return r(request) }

// panicking is a body that cannot be read.
type panicking struct{ value any }

func (p panicking) Read([]byte) (int, error) { panic(p.value) }

func answerOf(body io.Reader) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK,
		Header: http.Header{"Content-Type": {"application/json"}},
		Body:   io.NopCloser(body)}, nil
}

// clientThrough has its requests answered by next, which stands for what client-go and other
// people's code do.
func clientThrough(t *testing.T, next roundTripper) *Client {
	t.Helper()
	return New(&url.URL{Scheme: "https", Host: "127.0.0.1:1"}, next)
}

// calls are the ways to make one.
var calls = map[string]func(*testing.T, *Client) error{
	"Get": func(t *testing.T, c *Client) error {
		_, err := c.Get(t.Context(), "/x", "", nil)
		return err
	},
	"Raw": func(t *testing.T, c *Client) error {
		_, err := c.Raw(t.Context(), http.MethodPatch, "/x", nil, "application/json",
			[]byte("{}"))
		return err
	},
	"Post": func(t *testing.T, c *Client) error {
		var answer struct{}
		return c.Post(t.Context(), "/x", struct{}{}, &answer)
	},
}

// TestACallThatPanicsIsAnError would end with the whole test binary, if the panic could get away:
// the call has a goroutine of its own, in which nobody else recovers.
func TestACallThatPanicsIsAnError(t *testing.T) {
	const credential = "hunter2"
	var nobody *http.Request
	tests := map[string]roundTripper{
		"while it is sent": func(*http.Request) (*http.Response, error) {
			panic("Bearer " + credential)
		},
		"with an error": func(*http.Request) (*http.Response, error) {
			panic(errors.New(credential))
		},
		"of the runtime": func(*http.Request) (*http.Response, error) {
			return answerOf(strings.NewReader(nobody.Method))
		},
		"while its answer is read": func(*http.Request) (*http.Response, error) {
			return answerOf(panicking{credential})
		},
		"without an answer or an error": func(*http.Request) (*http.Response, error) {
			return nil, nil
		},
	}
	for name, panics := range tests {
		for verb, call := range calls {
			t.Run(verb+" "+name, func(t *testing.T) {
				err := call(t, clientThrough(t, panics))
				if Kind(err) != ErrInternal {
					t.Errorf("error %v of kind %v", err, Kind(err))
				}
				if shown := fmt.Sprintf("%v %+v %#v", err, err,
					err); strings.Contains(shown,
					credential) {
					t.Errorf("the error shows the panic's value: %s", shown)
				}
			})
		}
	}
}

func TestAClientGoesOnAfterAPanic(t *testing.T) {
	asked := 0
	client := clientThrough(t, func(*http.Request) (*http.Response, error) {
		if asked++; asked == 1 {
			panic("once")
		}
		return answerOf(strings.NewReader(`{"works":true}`))
	})
	if _, err := client.Get(t.Context(), "/x", "", nil); err == nil {
		t.Error("the panic is no error")
	}
	if body, err := client.Get(t.Context(), "/x", "", nil); err != nil ||
		string(body) != `{"works":true}` {
		t.Errorf("%q, %v", body, err)
	}
}
