package execcred

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientauth "k8s.io/client-go/pkg/apis/clientauthentication/v1"
	clientauthv1beta1 "k8s.io/client-go/pkg/apis/clientauthentication/v1beta1"

	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

// sent are what clients say of a cluster, by client-go's own types.
var sent = []clientauth.Cluster{
	{Server: "https://c:6443"},
	{Server: "https://c", TLSServerName: "n", InsecureSkipTLSVerify: true, ProxyURL: "http://p",
		DisableCompression: true, CertificateAuthorityData: []byte("ABC")},
}

func TestRequestsAreReadAsClientGoWritesThem(t *testing.T) {
	for _, cluster := range sent {
		cluster.Config.Raw = []byte(`{"profile":"p"}`)
		for version, object := range map[string]any{
			V1: clientauth.ExecCredential{
				TypeMeta: metav1.TypeMeta{APIVersion: V1, Kind: kind},
				Spec:     clientauth.ExecCredentialSpec{Cluster: &cluster}},
			V1Beta1: clientauthv1beta1.ExecCredential{
				TypeMeta: metav1.TypeMeta{APIVersion: V1Beta1, Kind: kind},
				Spec: clientauthv1beta1.ExecCredentialSpec{
					Cluster: (*clientauthv1beta1.Cluster)(&cluster)}},
		} {
			text, err := json.Marshal(object)
			if err != nil {
				t.Fatal(err)
			}
			info, err := Parse(string(text))
			if err != nil || info.APIVersion != version || info.Cluster == nil {
				t.Fatalf("%s: %+v, %v", text, info, err)
			}
			got := info.Cluster
			if got.Server != cluster.Server || got.TLSServerName != cluster.TLSServerName ||
				got.InsecureSkipTLSVerify != cluster.InsecureSkipTLSVerify ||
				got.ProxyURL != cluster.ProxyURL ||
				!bytes.Equal(got.CertificateAuthorityData,
					cluster.CertificateAuthorityData) ||
				!bytes.Equal(got.Config, cluster.Config.Raw) {
				t.Errorf("%s is read as %+v", text, got)
			}
		}
	}
}

func TestAnswersAreThoseThatClientGoWouldWrite(t *testing.T) {
	expires := time.Date(2026, 3, 1, 12, 0, 0, 999, time.FixedZone("x", 3600))
	timestamp := metav1.NewTime(expires)
	for version, object := range map[string]any{
		V1: clientauth.ExecCredential{
			TypeMeta: metav1.TypeMeta{APIVersion: V1, Kind: kind},
			Status: &clientauth.ExecCredentialStatus{Token: "t<&>",
				ExpirationTimestamp: &timestamp}},
		V1Beta1: clientauthv1beta1.ExecCredential{
			TypeMeta: metav1.TypeMeta{APIVersion: V1Beta1, Kind: kind},
			Status: &clientauthv1beta1.ExecCredentialStatus{Token: "t<&>",
				ExpirationTimestamp: &timestamp}},
	} {
		want, err := json.Marshal(object)
		if err != nil {
			t.Fatal(err)
		}
		got, err := Encode(version, secret.New("t<&>"), expires)
		if err != nil || !bytes.Equal(bytes.TrimSuffix(got, []byte("\n")), want) {
			t.Errorf("%s, %v; client-go writes %s", got, err, want)
		}
	}
}
