package cluster

import (
	"encoding/json"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

const (
	secretsPath = "/api/v1/namespaces/build/secrets"
	devicePath  = secretsPath + "/ci-device-x"
)

// deviceSecret is one as the server answers it; more are further fields of its metadata.
func deviceSecret(account, component, uid, more string) answer {
	return answer{200,
		`{"metadata":{"name":"ci-device-x","uid":"` + uid +
			`","labels":{"sa-exec-credential/account":"` + account +
			`","app.kubernetes.io/component":"` + component + `"}` + more + `}}`}
}

const deleting = `,"deletionTimestamp":"2026-03-01T12:00:00Z"`

func TestEnsureDevice(t *testing.T) {
	ours, forbidden := deviceSecret("ci", "device", "u-1", ""), answer{403,
		status(403, "cannot get")}
	tests := []struct {
		name    string
		answers map[string]answer
		err     error
		creates bool
	}{
		{"one that is there is taken", map[string]answer{"GET " + devicePath: ours}, nil, false},
		{"one that is not there is created", map[string]answer{"POST " + secretsPath: ours}, nil,
			true},
		{"who cannot read can create",
			map[string]answer{"GET " + devicePath: forbidden,
				"POST " + secretsPath: ours}, nil, true},
		{"a Secret of others is refused",
			map[string]answer{"GET " + devicePath: deviceSecret("", "", "u-1", "")},
			ErrForeign, false},
		{"another account's is refused",
			map[string]answer{"GET " + devicePath: deviceSecret("cd", "device", "u-1", "")},
			ErrForeign, false},
		{"what is no device is refused",
			map[string]answer{"GET " + devicePath: deviceSecret("ci", "access", "u-1", "")},
			ErrForeign, false},
		{"one that is being deleted is refused",
			map[string]answer{"GET " + devicePath: deviceSecret("ci", "device", "u-1", deleting)},
			ErrTerminating, false},
		{"an answer without a uid makes no sense",
			map[string]answer{"GET " + devicePath: deviceSecret("ci", "device", "", "")},
			api.ErrAnswer, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client, requests := serve(t, tt.answers)
			device, err := EnsureDevice(t.Context(), client, "build", "ci", "x",
				Owner{Host: "laptop\x1b[2J", User: "jane"})
			if !errors.Is(err, tt.err) || err == nil &&
				device != (profile.Device{Secret: "ci-device-x", UID: "u-1"}) {
				t.Errorf("got %+v, %v", device, err)
			}
			wrote := requests.wrote()
			if (len(wrote) > 0) != tt.creates {
				t.Fatalf("it wrote %q", wrote.lines())
			}
			if tt.creates {
				checkCreated(t, wrote[0].body)
			}
		})
	}
}

// checkCreated looks at the Secret that was sent: empty for good, of our type, and plain text about
// its owner.
func checkCreated(t *testing.T, body string) {
	t.Helper()
	var got map[string]any
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if got["immutable"] != true || got["type"] != "sa-exec-credential/device" ||
		got["data"] != nil ||
		text(got, "metadata", "annotations", hostAnnotation) != "laptop?[2J" {
		t.Errorf("created %s", body)
	}
}

func TestTwoSetupsAtOnceHaveOneDevice(t *testing.T) {
	answers := map[string]answer{"POST " + secretsPath: {409, status(409, "already exists")}}
	client, requests := serve(t, answers)
	if _, err := EnsureDevice(t.Context(), client, "build", "ci", "x",
		Owner{}); !errors.Is(err, api.ErrNotFound) {
		t.Errorf("error %v", err)
	}
	if want := []string{"GET " + devicePath, "POST " + secretsPath,
		"GET " + devicePath}; !slices.Equal(requests.lines(), want) {
		t.Errorf("requests %q", requests.lines())
	}
}

func TestDeleteDevice(t *testing.T) {
	device := profile.Device{Secret: "ci-device-x", UID: "u-1"}
	tests := []struct {
		name    string
		device  profile.Device
		there   answer
		err     error
		deletes bool
	}{
		{"a device is deleted", device, deviceSecret("ci", "device", "u-1", ""), nil, true},
		{"who cannot read relies on the uid", device, answer{403, status(403, "cannot get")}, nil,
			true},
		{"a Secret of others stays", device, deviceSecret("", "", "u-1", ""), ErrForeign, false},
		{"another account's stays", device, deviceSecret("cd", "device", "u-1", ""), ErrForeign,
			false},
		{"what is no device stays", device, deviceSecret("ci", "cap", "u-1", ""), ErrForeign,
			false},
		{"one that is gone is not found", device, answer{404, status(404, "not found")},
			api.ErrNotFound, false},
		{"without a uid nothing is deleted", profile.Device{Secret: "ci-device-x"},
			deviceSecret("ci", "device", "u-1", ""), ErrUsage, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client, requests := serve(t,
				map[string]answer{"GET " + devicePath: tt.there,
					"DELETE " + devicePath: {200, "{}"}})
			if err := DeleteDevice(t.Context(), client, "build", "ci",
				tt.device); !errors.Is(err, tt.err) {
				t.Errorf("error %v, want %v", err, tt.err)
			}
			wrote := requests.wrote()
			if (len(wrote) > 0) != tt.deletes {
				t.Fatalf("it wrote %q", wrote.lines())
			}
			const options = `{"apiVersion":"v1","kind":"DeleteOptions","preconditions":{"uid":"u-1"}}`
			if tt.deletes && wrote[0].body != options {
				t.Errorf("sent %s, not what deletes only this very Secret", wrote[0].body)
			}
		})
	}
}

func TestNoteBootstrapNamesTheSecretByItsUID(t *testing.T) {
	client, requests := serve(t, map[string]answer{"PATCH " + devicePath: {200, "{}"}})
	issued := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	if err := NoteBootstrap(t.Context(), client, "build",
		profile.Device{Secret: "ci-device-x",
			UID: "u-1"}, issued, issued.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	const want = `{"metadata":{"annotations":{"sa-exec-credential/bootstrap-expires":"2026-03-01T13:00:00Z",` +
		`"sa-exec-credential/bootstrap-issued":"2026-03-01T12:00:00Z"},"uid":"u-1"}}`
	if got := (*requests)[0]; got.body != want ||
		got.contentType != "application/merge-patch+json" {
		t.Errorf("sent %s as %q", got.body, got.contentType)
	}
}

func TestDeviceExists(t *testing.T) {
	tests := []struct {
		name   string
		there  answer
		exists bool
		err    error
	}{
		{"the very Secret exists", deviceSecret("ci", "device", "u-1", ""), true, nil},
		{"another one of that name is not it", deviceSecret("ci", "device", "u-2", ""), false, nil},
		{"one that is being deleted is gone", deviceSecret("ci", "device", "u-1", deleting), false,
			nil},
		{"one that is not found is gone", answer{404, status(404, "not found")}, false, nil},
		{"one that cannot be read is an error", answer{403, status(403, "cannot get")}, false,
			api.ErrForbidden},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client, _ := serve(t, map[string]answer{"GET " + devicePath: tt.there})
			exists, err := DeviceExists(t.Context(), client, "build",
				profile.Device{Secret: "ci-device-x", UID: "u-1"})
			if exists != tt.exists || !errors.Is(err, tt.err) {
				t.Errorf("got %v, %v", exists, err)
			}
		})
	}
}

func TestClusterUID(t *testing.T) {
	for _, tt := range []struct {
		name  string
		there answer
		uid   string
		err   error
	}{
		{"it is that of kube-system",
			answer{200, `{"metadata":{"name":"kube-system","uid":"k-1"}}`}, "k-1", nil},
		{"who cannot look has none", answer{403, status(403, "cannot get")}, "", nil},
		{"a server that fails is an error", answer{500, status(500, "etcd")}, "", api.ErrServer},
	} {
		t.Run(tt.name, func(t *testing.T) {
			client, _ := serve(t, map[string]answer{"GET /api/v1/namespaces/kube-system": tt.there})
			if uid, err := ClusterUID(t.Context(), client); uid != tt.uid ||
				!errors.Is(err, tt.err) {
				t.Errorf("got %q, %v", uid, err)
			}
		})
	}
}

func TestLegacySecretsAreTheAccountsOwn(t *testing.T) {
	client, requests := serve(t, map[string]answer{"GET " + secretsPath: {200, `{"items":[
		{"metadata":{"name":"ci-token","uid":"u-1","annotations":{"kubernetes.io/service-account.name":"ci"}}},
		{"metadata":{"name":"cd-token","uid":"u-2","annotations":{"kubernetes.io/service-account.name":"cd"}}},
		{"metadata":{"name":"no-token","uid":"u-3"}}]}`}})
	secrets, err := ListLegacySecrets(t.Context(), client, "build", "ci")
	if err != nil || !slices.Equal(secrets, []LegacySecret{{Name: "ci-token", UID: "u-1"}}) {
		t.Errorf("got %+v, %v", secrets, err)
	}
	if selector := (*requests)[0].query.Get("fieldSelector"); selector != "type=kubernetes.io/service-account-token" {
		t.Errorf("asked for %q", selector)
	}
}
