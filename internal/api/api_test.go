package api

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
)

// TestACallIsMadeOnce, also where the server asks for another: the caller has a time limit and knows
// better.
func TestACallIsMadeOnce(t *testing.T) {
	for name, call := range calls {
		t.Run(name, func(t *testing.T) {
			asked := 0
			err := call(t, clientThrough(t, func(*http.Request) (*http.Response,
				error) {
				asked++
				return &http.Response{StatusCode: http.StatusServiceUnavailable,
					Body:   http.NoBody,
					Header: http.Header{"Retry-After": {"0"}}}, nil
			}))
			if Kind(err) != ErrServer || asked != 1 {
				t.Errorf("error %v after %d requests", err, asked)
			}
		})
	}
}

func TestAnAnswerHasAtMost16MiB(t *testing.T) {
	const limit = 16 << 20
	for size, want := range map[int]error{limit: nil, limit + 1: ErrAnswer} {
		client := clientThrough(t, func(*http.Request) (*http.Response, error) {
			return answerOf(bytes.NewReader(make([]byte, size)))
		})
		body, err := client.Get(t.Context(), "/x", "", nil)
		if !errors.Is(err, want) || err == nil && len(body) != size {
			t.Errorf("%d bytes: read %d, %v", size, len(body), err)
		}
	}
}

func TestWhatIsAskedFor(t *testing.T) {
	var got *http.Request
	var sent []byte
	client := clientThrough(t, func(r *http.Request) (*http.Response, error) {
		got = r
		if r.Body != nil {
			sent, _ = io.ReadAll(r.Body)
		}
		return answerOf(strings.NewReader("{}"))
	})
	query := map[string]string{"labelSelector": "a=b,c=d"}
	if _, err := client.Get(t.Context(), "/x", "application/json;as=Table", query); err != nil {
		t.Fatal(err)
	}
	if got.Header.Get("Accept") != "application/json;as=Table" ||
		got.URL.Query().Get("labelSelector") != "a=b,c=d" {
		t.Errorf("asked for %q as %q", got.URL, got.Header.Get("Accept"))
	}
	if _, err := client.Get(t.Context(), "/x", "", nil); err != nil ||
		!strings.HasPrefix(got.Header.Get("Accept"), "application/json") {
		t.Errorf("by default as %q, %v", got.Header.Get("Accept"), err)
	}
	body := []byte(`{"a":1}`)
	if _, err := client.Raw(t.Context(), http.MethodPatch, "/x", query,
		"application/merge-patch+json", body); err != nil {
		t.Fatal(err)
	}
	if got.Method != http.MethodPatch ||
		got.Header.Get("Content-Type") != "application/merge-patch+json" ||
		!bytes.Equal(sent, body) {
		t.Errorf("sent %s %q of %q", got.Method, sent, got.Header.Get("Content-Type"))
	}
}
