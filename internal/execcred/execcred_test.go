package execcred

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

func TestParse(t *testing.T) {
	const cluster = `{"server":"https://c:6443","certificate-authority-data":"QUJD","tls-server-name":"n","proxy-url":"http://p","config":{"a":1}}`
	tests := []struct {
		name    string
		text    string
		version string
		server  string
		err     error
	}{
		{name: "a v1 client with cluster information is read", version: V1,
			server: "https://c:6443",
			text:   `{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","spec":{"interactive":true,"cluster":` + cluster + `}}`},
		{name: "a v1beta1 client with cluster information is read", version: V1Beta1,
			server: "https://c:6443",
			text:   `{"apiVersion":"client.authentication.k8s.io/v1beta1","kind":"ExecCredential","spec":{"cluster":` + cluster + `}}`},
		{name: "a client without cluster information is read", version: V1,
			text: `{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","spec":{"interactive":false}}`},
		{name: "unknown fields are a newer client's business", version: V1,
			text: `{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","spec":{"new":1},"more":2}`},
		{name: "C#'s kind is a client without cluster information", version: V1,
			text: `{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredentials","spec":{"interactive":false}}`},
		{name: "what a client of C#'s kind says of a cluster does not count", version: V1,
			text: `{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredentials","spec":{"cluster":` + cluster + `}}`},
		{name: "a missing kind is a client without cluster information", version: V1Beta1,
			text: `{"apiVersion":"client.authentication.k8s.io/v1beta1","spec":{"cluster":` + cluster + `}}`},
		{name: "a missing kind makes a cluster of the wrong shape no matter", version: V1,
			text: `{"spec":{"cluster":7},"apiVersion":"client.authentication.k8s.io/v1"}`},
		{name: "neither kind nor version is refused", text: `{"spec":{}}`,
			err: ErrMalformed},
		{name: "text that breaks off is refused", err: ErrMalformed,
			text: `{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredentials"`},
		{name: "empty text is refused", text: "", err: ErrMalformed},
		{name: "text that is not JSON is refused", text: "{", err: ErrMalformed},
		{name: "JSON that is no object is refused", text: `["a"]`, err: ErrMalformed},
		{name: "null is refused", text: `null`, err: ErrMalformed},
		{name: "another kind is refused", err: ErrMalformed,
			text: `{"apiVersion":"client.authentication.k8s.io/v1","kind":"Pod"}`},
		{name: "another version is refused", err: ErrAPIVersion,
			text: `{"apiVersion":"client.authentication.k8s.io/v1alpha1","kind":"ExecCredential"}`},
		{name: "a spec of the wrong shape is refused", err: ErrMalformed,
			text: `{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","spec":{"cluster":7}}`},
		{name: "a mebibyte is read", text: padded(1 << 20), version: V1},
		{name: "more than a mebibyte is refused", text: padded(1<<20 + 1),
			err: ErrMalformed},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			info, err := Parse(tt.text)
			if !errors.Is(err, tt.err) {
				t.Fatalf("error %v, want %v", err, tt.err)
			}
			if info.APIVersion != tt.version {
				t.Errorf("version %q, want %q", info.APIVersion, tt.version)
			}
			if tt.server == "" {
				if info.Cluster != nil {
					t.Errorf("cluster %+v out of nothing", info.Cluster)
				}
				return
			}
			if info.Cluster == nil || info.Cluster.Server != tt.server ||
				string(info.Cluster.CertificateAuthorityData) != "ABC" ||
				info.Cluster.TLSServerName != "n" || info.Cluster.ProxyURL != "http://p" {
				t.Errorf("cluster %+v", info.Cluster)
			}
		})
	}
}

// padded is exec info of a size, with which nothing else is wrong.
func padded(size int) string {
	const head, tail = `{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","more":"`, `"}`
	return head + strings.Repeat("x", size-len(head)-len(tail)) + tail
}

func TestEncodeAnswersInTheVersionAskedFor(t *testing.T) {
	expires := time.Date(2026, 3, 1, 12, 0, 0, 999, time.FixedZone("x", 3600))
	for _, version := range []string{V1, V1Beta1} {
		encoded, err := Encode(version, secret.New("tok"), expires)
		if err != nil {
			t.Fatal(err)
		}
		var got struct {
			APIVersion string
			Kind       string
			Status     struct{ Token, ExpirationTimestamp string }
		}
		if err := json.Unmarshal(encoded, &got); err != nil {
			t.Fatal(err)
		}
		if got.APIVersion != version || got.Kind != "ExecCredential" ||
			got.Status.Token != "tok" ||
			got.Status.ExpirationTimestamp != "2026-03-01T11:00:00Z" {
			t.Errorf("got %s", encoded)
		}
		if !strings.HasSuffix(string(encoded), "}\n") {
			t.Errorf("no final newline: %q", encoded)
		}
	}
	if out, err := Encode("v2", secret.New("tok"), expires); err == nil || out != nil {
		t.Errorf("an unknown version was answered: %s", out)
	}
}

func FuzzParse(f *testing.F) {
	f.Add("")
	f.Add(`{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","spec":{"cluster":{"server":"https://c"}}}`)
	f.Add(`{"apiVersion":"client.authentication.k8s.io/v1beta1","kind":"ExecCredential","spec":{"interactive":true}}`)
	f.Add(`{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","spec":{"cluster":{"certificate-authority-data":"!"}}}`)
	f.Add(`{"apiVersion":"client.authentication.k8s.io/v1","kind":"ExecCredential","spec":{"cluster":{"config":{"apiVersion":"x"}}}}`)
	f.Fuzz(func(t *testing.T, text string) {
		info, err := Parse(text)
		if err != nil {
			if !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrAPIVersion) {
				t.Errorf("error of no kind: %v", err)
			}
			return
		}
		if _, err := Encode(info.APIVersion, secret.New("t"), time.Unix(0, 0)); err != nil {
			t.Errorf("a version that is read cannot be answered: %v", err)
		}
	})
}
