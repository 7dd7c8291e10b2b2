package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

const (
	coreOfBuild  = "/api/v1/namespaces/build"
	rbacOfBuild  = "/apis/rbac.authorization.k8s.io/v1/namespaces/build"
	secretsPath  = coreOfBuild + "/secrets"
	accountsPath = coreOfBuild + "/serviceaccounts"
	deviceX      = "ci-device-x-0123456789abcdef"
	secretPath   = secretsPath + "/" + deviceX
	accountPath  = accountsPath + "/" + deviceX
	rolePath     = rbacOfBuild + "/roles/" + deviceX
	bindingPath  = rbacOfBuild + "/rolebindings/" + deviceX
)

// deviceMetadata is the metadata of an object of the device; more are further fields of it.
func deviceMetadata(uid, more string) string {
	return `{"metadata":{"name":"` + deviceX + `","uid":"` + uid + `"` + more + `}}`
}

const (
	deleting  = `,"deletionTimestamp":"2026-03-01T12:00:00Z"`
	ourLabels = `,"labels":{"sa-exec-credential/account":"ci","app.kubernetes.io/component":"device"}`
)

// found and exists are the answers to reading an object of the device and to creating it again.
// foundBinding binds the device's role to nobody.
func foundBinding() answer {
	return answer{200, `{"metadata":{"uid":"b-1"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"Role","name":"` +
		deviceX + `"}}`}
}

func found(uid, more string) answer { return answer{200, deviceMetadata(uid, more)} }

var exists = answer{409, status(409, "already exists")}

// newDevice are the answers to a setup that creates a device.
func newDevice() map[string]answer {
	return map[string]answer{
		"POST " + secretsPath:                   {201, deviceMetadata("s-1", "")},
		"POST " + accountsPath:                  {201, deviceMetadata("a-1", "")},
		"POST " + rbacOfBuild + "/roles":        {201, deviceMetadata("r-1", "")},
		"POST " + rbacOfBuild + "/rolebindings": {201, deviceMetadata("b-1", "")},
	}
}

func TestEnsureDevice(t *testing.T) {
	tests := []struct {
		name    string
		answers map[string]answer // beside newDevice
		err     error
		wrote   []string // beside what creates it
	}{
		{"one that is not there is created", nil, nil, nil},
		{"one that is there is taken", map[string]answer{
			"POST " + secretsPath: exists, "GET " + secretPath: found("s-1", ourLabels),
			"POST " + accountsPath: exists, "GET " + accountPath: found("a-1",
				ourLabels)}, nil, nil},
		{"labels and finalizers do not matter", map[string]answer{"POST " +
			accountsPath: exists,
			"GET " + accountPath: found("a-1", `,"finalizers":["x/y"]`)}, nil, nil},
		{"its role and its binding are put right", map[string]answer{
			"POST " + rbacOfBuild + "/roles": exists, "GET " + rolePath: found("r-1",
				""),
			"PATCH " + rolePath:                     {200, "{}"},
			"POST " + rbacOfBuild + "/rolebindings": exists, "GET " +
				bindingPath: foundBinding(),
			"PATCH " + bindingPath: {200, "{}"}}, nil,
			[]string{"PATCH " + rolePath, "PATCH " + bindingPath}},
		{"a Secret that is being deleted is refused", map[string]answer{"POST " +
			secretsPath: exists,
			"GET " + secretPath: found("s-1", deleting)}, ErrTerminating, nil},
		{"an account that is being deleted is refused", map[string]answer{"POST " +
			accountsPath: exists,
			"GET " + accountPath: found("a-1", deleting)}, ErrTerminating, nil},
		{"a role that is being deleted is refused", map[string]answer{
			"POST " + rbacOfBuild + "/roles": exists, "GET " + rolePath: found("r-1",
				deleting)},
			ErrTerminating, nil},
		{"one that is gone again is an error", map[string]answer{"POST " +
			secretsPath: exists},
			api.ErrNotFound, nil},
		{"who cannot create Secrets is told", map[string]answer{"POST " + secretsPath: {403,
			status(403, "cannot create")}}, api.ErrForbidden, nil},
		{"who cannot create roles is told", map[string]answer{"POST " + rbacOfBuild +
			"/roles": {403,
			status(403, "cannot create")}}, api.ErrForbidden, nil},
		{"an answer without a uid makes no sense", map[string]answer{"POST " +
			secretsPath: found("", "")},
			api.ErrAnswer, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			answers := newDevice()
			for line, a := range tt.answers {
				answers[line] = a
			}
			client, requests := serve(t, answers)
			device, err := EnsureDevice(t.Context(), client, deviceOf("build", Minting{}))
			var object *ObjectError
			if !errors.Is(err, tt.err) || err != nil && !errors.As(err, &object) ||
				err == nil &&
					device != (profile.Device{Name: deviceX, SecretUID: "s-1",
						AccountUID: "a-1"}) {
				t.Errorf("got %+v, %v, want %v", device, err, tt.err)
			}
			wrote := slices.DeleteFunc(requests.wrote().lines(),
				func(line string) bool { return strings.HasPrefix(line, "POST ") })
			if !slices.Equal(wrote, tt.wrote) {
				t.Errorf("it wrote %q, want %q", wrote, tt.wrote)
			}
			for _, r := range *requests {
				if strings.HasPrefix(r.line, "PATCH ") &&
					r.query.Get("force") != "true" {
					t.Errorf("%s asks who owns the fields: %v", r.line, r.query)
				}
			}
		})
	}
}

// TestADeviceCanCreateTokensOnly looks at what is sent: an empty Secret for good, an account that
// no pod gets a token of, the one right, and plain text about the owner.
func TestADeviceCanCreateTokensOnly(t *testing.T) {
	client, requests := serve(t, newDevice())
	if _, err := EnsureDevice(t.Context(), client, deviceOf("build", Minting{})); err != nil {
		t.Fatal(err)
	}
	sent := map[string]map[string]any{}
	for _, r := range *requests {
		var object map[string]any
		if err := json.Unmarshal([]byte(r.body), &object); err != nil {
			t.Fatal(err)
		}
		sent[text(object, "kind")] = object
		if text(object, "metadata", "annotations", hostAnnotation) != "laptop?[2J" ||
			text(object, "metadata", "labels", accountLabel) != "ci" {
			t.Errorf("sent %s", r.body)
		}
	}
	secret, account := sent["Secret"], sent["ServiceAccount"]
	if secret["immutable"] != true || secret["type"] != secretType || secret["data"] != nil ||
		secret["stringData"] != nil || account["automountServiceAccountToken"] != false {
		t.Errorf("sent %v and %v", secret, account)
	}
	if rules := fmt.Sprint(sent["Role"]["rules"]); rules != "[map[apiGroups:[] "+
		"resourceNames:[ci "+deviceX+"] resources:[serviceaccounts/token] "+
		"verbs:[create]]]" {
		t.Errorf("sent the rules %s", rules)
	}
	binding := fmt.Sprint(sent["RoleBinding"]["roleRef"], sent["RoleBinding"]["subjects"])
	if want := "map[apiGroup:rbac.authorization.k8s.io kind:Role name:" + deviceX + "] " +
		"[map[kind:ServiceAccount name:" + deviceX + " namespace:build]]"; binding != want {
		t.Errorf("sent the binding %s, want %s", binding, want)
	}
}

// listed is a list of objects' metadata.
func listed(items ...string) answer {
	return answer{200, `{"items":[` + strings.Join(items, ",") + `]}`}
}

func item(name, uid, more string) string {
	return `{"metadata":{"name":"` + name + `","uid":"` + uid + `"` + more + `}}`
}

func TestDevices(t *testing.T) {
	tests := []struct {
		name     string
		secrets  []string
		accounts []string
		want     []string // name, uids, and what is odd
	}{
		{"a device is a Secret and an account of its name", []string{item(deviceX, "s-1",
			ourLabels)},
			[]string{item(deviceX, "a-1", ourLabels)}, []string{deviceX +
				" s-1 a-1 []"}},
		{"without labels it is listed all the same", []string{item(deviceX, "s-1", "")},
			[]string{item(deviceX, "a-1", ourLabels)},
			[]string{deviceX + " s-1 a-1 [Secret without our labels]"}},
		{"with another account's label, too", []string{item(deviceX, "s-1", ourLabels)},
			[]string{item(deviceX, "a-1", strings.Replace(ourLabels, `"ci"`, `"cd"`,
				1))},
			[]string{deviceX + " s-1 a-1 [ServiceAccount without our labels]"}},
		{"and with another component's", []string{item(deviceX, "s-1",
			strings.Replace(ourLabels, `"device"`, `"access"`, 1))},
			[]string{item(deviceX, "a-1", ourLabels)},
			[]string{deviceX + " s-1 a-1 [Secret without our labels]"}},
		{"one that is being deleted is marked", []string{item(deviceX, "s-1",
			ourLabels+deleting)},
			[]string{item(deviceX, "a-1", ourLabels+deleting)},
			[]string{deviceX + " s-1 a-1 [Secret is being deleted ServiceAccount is " +
				"being deleted]"}},
		{"a Secret without its account is listed", []string{item(deviceX, "s-1",
			ourLabels)}, nil,
			[]string{deviceX + " s-1  [no ServiceAccount]"}},
		{"an account without its Secret is listed", nil, []string{item(deviceX, "a-1",
			ourLabels)},
			[]string{deviceX + "  a-1 [no Secret]"}},
		{"names decide, and not labels", []string{item("ci", "s-1", ourLabels),
			item("ci-device-x", "s-2", ourLabels), item("cd-device-x-0123456789abcdef",
				"s-3", ourLabels),
			item("ci-device-x-0123456789abcdeg", "s-4", ourLabels), item("ci-token",
				"s-5", "")},
			[]string{item("default", "a-1", ""), item("ci", "a-2", ourLabels)}, nil},
		{"they come in the order of their names",
			[]string{item("ci-device-b-0123456789abcdef", "s-1", ourLabels),
				item("ci-device-a-0123456789abcdef", "s-2", ourLabels)}, nil,
			[]string{"ci-device-a-0123456789abcdef s-2  [no ServiceAccount]",
				"ci-device-b-0123456789abcdef s-1  [no ServiceAccount]"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client, requests := serve(t, map[string]answer{"GET " +
				secretsPath: listed(tt.secrets...),
				"GET " + accountsPath: listed(tt.accounts...)})
			devices, err := Devices(t.Context(), client, "build", "ci")
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, d := range devices {
				got = append(got, fmt.Sprintf("%s %s %s %v", d.Name, d.SecretUID,
					d.AccountUID, d.Odd))
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
			for _, r := range *requests {
				if r.query.Has("labelSelector") {
					t.Errorf("%s asks for labels %v", r.line, r.query)
				}
			}
		})
	}
}

func TestWhatIsKnownOfADevice(t *testing.T) {
	const secret = `,"creationTimestamp":"2026-03-01T12:00:00Z","annotations":{
		"sa-exec-credential/host":"laptop\u001b[2J","sa-exec-credential/user":"jane",
		"sa-exec-credential/bootstrap-issued":"2026-03-01T13:00:00Z",
		"sa-exec-credential/bootstrap-expires":"next week"}`
	client, _ := serve(t, map[string]answer{
		"GET " + secretsPath: listed(item(deviceX, "s-1", ourLabels+secret)),
		"GET " + accountsPath: listed(item(deviceX, "a-1",
			`,"creationTimestamp":"2026-03-01T11:00:00Z"`))})
	devices, err := Devices(t.Context(), client, "build", "ci")
	if err != nil || len(devices) != 1 {
		t.Fatalf("got %v, %v", devices, err)
	}
	d := devices[0]
	if d.Short != "x-0123456789abcdef" || d.Owner != (Owner{Host: "laptop?[2J", User: "jane"}) ||
		d.Created.Hour() != 11 || d.Issued.Hour() != 13 || !d.Expires.IsZero() {
		t.Errorf("got %+v", d)
	}
}

func TestWhoCannotListDevicesIsTold(t *testing.T) {
	forbidden := answer{403, status(403, "cannot list")}
	for _, answers := range []map[string]answer{{"GET " + secretsPath: forbidden},
		{"GET " + secretsPath: listed(), "GET " + accountsPath: forbidden}} {
		client, _ := serve(t, answers)
		if devices, err := Devices(t.Context(), client, "build", "ci"); !errors.Is(err,
			api.ErrForbidden) {
			t.Errorf("got %v, %v", devices, err)
		}
	}
}

func TestDeleteDevice(t *testing.T) {
	const success = `{"kind":"Status","apiVersion":"v1","status":"Success"}`
	forbidden, conflict := answer{403, status(403, "cannot")}, answer{409, status(409,
		"the UID differs")}
	held := `,"finalizers":["x/y"],"labels":{},"ownerReferences":[{"kind":"ConfigMap","uid":"o-1"}]`
	tests := []struct {
		name    string
		answers map[string]answer
		err     error
		want    []string // of the account and the Secret
		wrote   []string
	}{
		{"a device is deleted", map[string]answer{"DELETE " + accountPath: {200, success},
			"DELETE " + secretPath: {200, success}, "DELETE " + rolePath: {200,
				success},
			"DELETE " + bindingPath: {200, success}}, nil, []string{string(Deleted),
			string(Deleted)},
			[]string{"DELETE " + accountPath + " a-1", "DELETE " + secretPath + " s-1"}},
		{"one that is gone is gone", nil, nil, []string{string(Gone), string(Gone)}, nil},
		{"half of one is deleted, too", map[string]answer{"DELETE " + secretPath: {200,
			success}}, nil,
			[]string{string(Gone), string(Deleted)}, nil},
		{"finalizers do not keep it", map[string]answer{
			"DELETE " + accountPath: {200, deviceMetadata("a-1", held+deleting)},
			"PATCH " + accountPath:  {200, "{}"}, "DELETE " + secretPath: {200,
				deviceMetadata("s-1", held+deleting)},
			"PATCH " + secretPath: {200, "{}"}}, nil, []string{string(Deleted),
			string(Deleted)},
			[]string{"DELETE " + accountPath + " a-1", "PATCH " + accountPath + " a-1",
				"DELETE " + secretPath + " s-1", "PATCH " + secretPath + " s-1"}},
		{"finalizers that somebody else removes meanwhile do not matter", map[string]answer{
			"DELETE " + secretPath: {200, deviceMetadata("s-1", held+deleting)}}, nil,
			[]string{string(Gone), string(Deleted)}, nil},
		{"a namesake goes, too", map[string]answer{"1 DELETE " + secretPath: conflict,
			"GET " + secretPath: found("s-2", ""), "DELETE " + secretPath: {200,
				success}}, nil,
			[]string{string(Gone), string(Namesake)},
			[]string{"DELETE " + accountPath + " a-1", "DELETE " + secretPath + " s-1",
				"DELETE " + secretPath + " s-2"}},
		{"a namesake with a finalizer goes, too", map[string]answer{"1 DELETE " +
			accountPath: conflict,
			"GET " + accountPath: found("a-2", held), "DELETE " + accountPath: {200,
				deviceMetadata("a-2", held)},
			"PATCH " + accountPath: {200, "{}"}}, nil, []string{string(Namesake),
			string(Gone)},
			[]string{"DELETE " + accountPath + " a-1", "DELETE " + accountPath + " a-2",
				"PATCH " + accountPath + " a-2", "DELETE " + secretPath + " s-1"}},
		{"a namesake that is gone again is gone", map[string]answer{"1 DELETE " +
			secretPath: conflict}, nil,
			[]string{string(Gone), string(Gone)}, nil},
		{"who cannot delete the account is told", map[string]answer{"DELETE " +
			accountPath: forbidden},
			api.ErrForbidden, nil, []string{"DELETE " + accountPath + " a-1"}},
		{"who cannot delete the Secret is told", map[string]answer{"DELETE " +
			secretPath: forbidden},
			api.ErrForbidden, []string{string(Gone)}, nil},
		{"who cannot remove a finalizer is told", map[string]answer{
			"DELETE " + accountPath: {200, deviceMetadata("a-1", held)}, "PATCH " +
				accountPath: forbidden},
			api.ErrForbidden, nil, nil},
		{"who cannot delete the role has ended the device", map[string]answer{
			"DELETE " + rolePath: forbidden, "DELETE " + bindingPath: forbidden}, nil,
			[]string{string(Gone), string(Gone)}, nil},
		{"a server that fails with the binding is an error", map[string]answer{
			"DELETE " + bindingPath: {500, status(500, "etcd")}}, api.ErrServer,
			[]string{string(Gone), string(Gone)}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client, requests := serve(t, tt.answers)
			var got []string
			err := DeleteDevice(t.Context(), client, "build",
				profile.Device{Name: deviceX, SecretUID: "s-1", AccountUID: "a-1"},
				func(_ Ref, result Deletion) { got = append(got, string(result)) })
			if !errors.Is(err, tt.err) || !slices.Equal(got, tt.want) {
				t.Errorf("got %q, %v, want %q, %v", got, err, tt.want, tt.err)
			}
			want := tt.wrote
			for _, ref := range rolesOfDevice("build", deviceX) {
				if tt.err == nil {
					want = append(want, "DELETE "+ref.path()+" ")
				}
			}
			if wrote := withUIDs(requests.wrote()); tt.wrote != nil &&
				!slices.Equal(wrote, want) {
				t.Errorf("it wrote %q, want %q", wrote, want)
			}
		})
	}
}

var uidInBody = regexp.MustCompile(`"uid":"([^"]*)"`)

// withUIDs are the lines of requests, each with the uid that it is bound to.
func withUIDs(requests requests) []string {
	var lines []string
	for _, r := range requests {
		uid := append(uidInBody.FindStringSubmatch(r.body), "", "")[1]
		lines = append(lines, r.line+" "+uid)
	}
	return lines
}

func TestADeviceWithoutUIDsIsDeletedByItsName(t *testing.T) {
	client, requests := serve(t, nil)
	if err := DeleteDevice(t.Context(), client, "build", profile.Device{Name: deviceX},
		func(Ref, Deletion) {}); err != nil {
		t.Fatal(err)
	}
	if body := (*requests)[0].body; body != `{"apiVersion":"v1","kind":"DeleteOptions"}` {
		t.Errorf("sent %s", body)
	}
}

func TestNoteBootstrapNamesTheSecretByItsUID(t *testing.T) {
	client, requests := serve(t, map[string]answer{"PATCH " + secretPath: {200, "{}"}})
	issued := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	if err := NoteBootstrap(t.Context(), client, "build", profile.Device{Name: deviceX,
		SecretUID: "s-1"},
		issued, issued.Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	const want = `{"metadata":{"annotations":{"sa-exec-credential/bootstrap-expires":"2026-03-01T13:00:00Z",` +
		`"sa-exec-credential/bootstrap-issued":"2026-03-01T12:00:00Z"},"uid":"s-1"}}`
	if got := (*requests)[0]; got.body != want ||
		got.contentType != "application/merge-patch+json" {
		t.Errorf("sent %s as %q", got.body, got.contentType)
	}
}

func TestDeviceExists(t *testing.T) {
	tests := []struct {
		name            string
		secret, account answer
		exists          bool
		err             error
	}{
		{"the very objects exist", found("s-1", ""), found("a-1", ""), true, nil},
		{"another Secret of that name is not it", found("s-2", ""), found("a-1", ""), false,
			nil},
		{"another account of that name is not it", found("s-1", ""), found("a-2", ""),
			false, nil},
		{"a Secret that is being deleted is gone", found("s-1", deleting), found("a-1", ""),
			false, nil},
		{"an account that is being deleted is gone", found("s-1", ""), found("a-1",
			deleting), false, nil},
		{"a Secret that is not found is gone", answer{404, status(404, "not found")},
			found("a-1", ""),
			false, nil},
		{"an account that is not found is gone", found("s-1", ""), answer{404, status(404,
			"not found")},
			false, nil},
		{"one that cannot be read is an error", answer{403, status(403, "cannot get")},
			found("a-1", ""),
			false, api.ErrForbidden},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client, _ := serve(t, map[string]answer{"GET " + secretPath: tt.secret,
				"GET " + accountPath: tt.account})
			exists, err := DeviceExists(t.Context(), client, "build",
				profile.Device{Name: deviceX, SecretUID: "s-1", AccountUID: "a-1"})
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
		{"a server that fails is an error", answer{500, status(500, "etcd")}, "",
			api.ErrServer},
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

func TestTheStateOfADeviceIsWhatTheClusterKnows(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	ago := func(minutes int) time.Time { return now.Add(-time.Duration(minutes) * time.Minute) }
	for _, test := range []struct {
		name                   string
		invited, until, issued time.Time
		want                   string
	}{
		{"set up here", time.Time{}, time.Time{}, ago(5), SetUp},
		{"nothing is known", time.Time{}, time.Time{}, time.Time{}, SetUp},
		{"invited a moment ago", ago(1), ago(-9), time.Time{}, Invited},
		{"to the second", ago(10), now, time.Time{}, Lapsed},
		{"invited an hour ago", ago(60), ago(50), time.Time{}, Lapsed},
		{"until when is not known", ago(60), time.Time{}, time.Time{}, Lapsed},
		{"set up after that", ago(60), ago(50), ago(5), SetUp},
		{"invited after that", ago(5), ago(-5), ago(60), Invited},
	} {
		d := DeviceInfo{Owner: Owner{Invited: test.invited}, InvitedUntil: test.until,
			Issued: test.issued}
		if got := d.State(now); got != test.want {
			t.Errorf("%s: %q, not %q", test.name, got, test.want)
		}
	}
	d := DeviceInfo{Owner: Owner{Invited: ago(600)},
		Minters: profile.MinterCalled("github:main")}
	if got := d.State(now); got != Invited {
		t.Errorf("invited without a secret: %q", got)
	}
}

func TestWhatADeviceIsCalled(t *testing.T) {
	d := DeviceInfo{Short: "build-7-0123456789abcdef", Owner: Owner{Host: "Build-7.example.com"}}
	for name, want := range map[string]bool{"build-7": true, "BUILD-7": true,
		"build-7.example.com": true, "build-7.example": false, "build": false, "": false,
		"build-7.other.com": false} {
		if got := d.IsCalled(name); got != want {
			t.Errorf("%q: %v", name, got)
		}
	}
	nameless := DeviceInfo{Short: "build-7-0123456789abcdef"} // somebody removed what it said
	if !nameless.IsCalled("build-7") || nameless.IsCalled("") {
		t.Error("without its annotations it has another name")
	}
}
