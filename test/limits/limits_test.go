//go:build linux

// Package limits_test takes the policy of a cluster away, changes it, and has many people set it up
// at once.
package limits_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/client-go/rest"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/test/lab"
)

func TestMain(m *testing.M) { lab.Main(m, lab.Options{OwnPlane: true}) }

type object = lab.Object

// Paths of the API.
const (
	policy = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/sa-exec-credential"
	limits = "/api/v1/namespaces/sa-exec-credential/configmaps/limits"
)

// limitsOf are what devices of an account can ask for; empty: they are not set.
func limitsOf(t *testing.T, key string) string {
	t.Helper()
	data, _ := lab.Administrator().Must(t, http.MethodGet, limits, nil)["data"].(object)
	text, _ := data[key].(string)
	return text
}

// newMachine makes one on which nothing is set up.
func newMachine(t *testing.T, namespace string) *lab.Machine {
	t.Helper()
	m := lab.NewMachine(t, keyring.Kernel)
	m.Namespace, m.Profile = namespace, "it"
	return m
}

// setup sets up an account.
func setup(m *lab.Machine, account string, flags ...string) lab.Result {
	m.Helper()
	return m.Setup(append([]string{account, "-n", m.Namespace, "--profile", m.Profile,
		"--store", string(m.Kind()), "--cluster-role", "view"}, flags...)...)
}

// request asks for a token as the machine's device, of a lifetime.
func request(m *lab.Machine, account string, lifetime time.Duration) lab.Answer {
	m.Helper()
	p := m.Configuration()
	_, bootstrap := m.Tokens(p)
	return lab.Holder(bootstrap).Ask(m.T, http.MethodPost, lab.TokenOf(m.Namespace, account),
		lab.TokenRequest(int(lifetime/time.Second), p.Device.Name))
}

// checkLimit expects tokens of a lifetime at most.
func checkLimit(m *lab.Machine, account string, longest time.Duration) {
	m.Helper()
	if a := request(m, account, longest); a.Code != http.StatusCreated {
		m.Errorf("a token of %v: %d %s", longest, a.Code, a.Message)
	}
	const tooLong = "denied request: the lifetime asked for exceeds what setup allowed"
	if a := request(m, account, longest+time.Second); a.Code != http.StatusForbidden ||
		!strings.HasSuffix(a.Message, tooLong) {
		m.Errorf("a token of %v and a second: %d %s", longest, a.Code, a.Message)
	}
}

// removePolicy returns when devices can ask for any lifetime. The API server is started anew: one
// in which nothing has been bound to a ConfigMap for a second never again hears of changes in any
// (https://github.com/kubernetes/kubernetes/issues/130887).
func removePolicy(t *testing.T, witness *lab.Machine, account string) {
	t.Helper()
	witness.AsAdmin("delete", "validatingadmissionpolicybinding,validatingadmissionpolicy",
		"sa-exec-credential")
	lab.Plane.StopAPIServer()
	if err := lab.Plane.StartAPIServer(t.Context()); err != nil {
		t.Fatal(err)
	}
	lab.Eventually(t, "admission has heard that the policy is gone", func() bool {
		return request(witness, account, 100*time.Hour).Code == http.StatusCreated
	})
}

// TestManySetupsOfAClusterWithoutAPolicy is the first one, and starts with a new cluster.
func TestManySetupsOfAClusterWithoutAPolicy(t *testing.T) {
	namespace := lab.Namespace()
	var accounts []string
	for i := range 8 {
		accounts = append(accounts, fmt.Sprintf("at-once-%d", i))
	}
	var running sync.WaitGroup
	for _, account := range append(slices.Clone(accounts), accounts[0]) {
		m := newMachine(t, namespace)
		running.Go(func() {
			if r := setup(m, account); r.Code != 0 || strings.Contains(r.Stderr,
				"warning") {
				t.Errorf("setup of %s: exit code %d\n%s", account, r.Code, r.Stderr)
			}
		})
	}
	running.Wait()
	for _, account := range accounts {
		if limitsOf(t, namespace+"."+account) == "" {
			t.Errorf("there are no limits of %s", account)
		}
	}
	if limitsOf(t, "default") == "" || limitsOf(t,
		"apiAudiences") != "https://kubernetes.default.svc" {
		t.Errorf("the limits are %v", lab.Administrator().Must(t, http.MethodGet, limits,
			nil)["data"])
	}
}

// TestLimitsAreInForceWhenSetupReturns has new ones each time, and at first no policy.
func TestLimitsAreInForceWhenSetupReturns(t *testing.T) {
	namespace := lab.Namespace()
	witness := newMachine(t, namespace)
	setup(witness, "witness").Succeeds()
	checkLimit(witness, "witness", time.Hour)
	removePolicy(t, witness, "witness")
	for i := range 20 {
		m, account, longest := newMachine(t, namespace), fmt.Sprintf("ci-%d", i),
			time.Duration(90-i)*time.Minute
		setup(m, account, "--duration", longest.String()).Succeeds()
		checkLimit(m, account, longest)
	}
}

// TestDoctorSeesThatThereIsNoPolicy, and what it says helps.
func TestDoctorSeesThatThereIsNoPolicy(t *testing.T) {
	m := newMachine(t, lab.Namespace())
	setup(m, lab.Account).Succeeds()
	removePolicy(t, m, lab.Account)
	type finding struct{ Check, Result, Detail, Fix string }
	doctor := func() finding {
		var report struct{ Items []finding }
		r := m.Plugin("doctor", "-o", "json")
		m.Decode(r, &report)
		i := slices.IndexFunc(report.Items, func(f finding) bool { return f.Check == "limits" })
		if i < 0 {
			t.Fatalf("nothing is said of limits:\n%s", r.Stdout)
		}
		return report.Items[i]
	}
	sick := doctor()
	if sick.Result != "warning" || !strings.HasPrefix(sick.Detail, "not limited: ") {
		t.Errorf("without a policy: %+v", sick)
	}
	m.Exec("/bin/sh", "-c", sick.Fix).Succeeds()
	if well := doctor(); well.Result != "ok" {
		t.Errorf("after %s: %+v", sick.Fix, well)
	}
	checkLimit(m, lab.Account, time.Hour)
}

// TestWithoutTheRightToThePolicy has an administrator of a namespace set up an account, and then
// one of the cluster. The first time there is no policy.
func TestWithoutTheRightToThePolicy(t *testing.T) {
	leads := newMachine(t, lab.Namespace())
	setup(leads, "before").Succeeds()
	removePolicy(t, leads, "before")
	leads.Profile, leads.Namespace = "led", lab.Namespace()
	leads.AsAdmin("create", "namespace", leads.Namespace)
	leads.AsAdmin("create", "rolebinding", "lead", "-n", leads.Namespace, "--clusterrole=admin",
		"--user=lead")
	leads.Admin = lab.User(t, "lead")
	r := setup(leads, lab.Account).Succeeds()
	lab.Has(t, "setup", r.Stderr, "no limits on what devices can ask for")
	key := leads.Namespace + "." + lab.Account
	if limitsOf(t, key) != "" {
		t.Error("there are limits of an account whose administrator cannot write them")
	}
	if a := request(leads, lab.Account, 100*time.Hour); a.Code != http.StatusCreated {
		t.Errorf("a token without limits: %d %s", a.Code, a.Message)
	}
	second := newMachine(t, leads.Namespace)
	setup(second, lab.Account).Succeeds()
	if limitsOf(t, key) == "" {
		t.Error("there are no limits after an administrator's setup")
	}
	for _, m := range []*lab.Machine{leads, second} {
		m.Forget()
		m.Plugin("token", "--profile", m.Profile).Succeeds()
		checkLimit(m, lab.Account, time.Hour)
	}
	r = setup(leads, lab.Account).Succeeds()
	lab.Has(t, "setup", r.Stderr, "limits: in force, as others have set them")
}

// TestAPolicyOfAnotherVersion changes the policy, and has a setup of another account run.
func TestAPolicyOfAnotherVersion(t *testing.T) {
	admin := lab.Administrator()
	setup(newMachine(t, lab.Namespace()), lab.Account).Succeeds()
	validations := func() []any {
		return admin.Must(t, http.MethodGet, policy,
			nil)["spec"].(object)["validations"].([]any)
	}
	whole := validations()
	for _, c := range []struct {
		name, version string
		stays         bool
	}{
		{"a newer one stays", "999", true},
		{"one that somebody changed is put right", "1", false},
		{"one of no version is put right", "latest", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			admin.Must(t, http.MethodPatch, policy, object{
				"metadata": object{"annotations": object{"sa-exec-credential/policy-version": c.version}},
				"spec":     object{"validations": whole[:1]}})
			r := setup(newMachine(t, lab.Namespace()), lab.Account).Succeeds()
			if left := len(validations()); (left == 1) != c.stays || !c.stays &&
				left != len(whole) {
				t.Errorf("there are %d validations after setup:\n%s", left,
					r.Stderr)
			}
		})
	}
}

// TestMintersWhereAPolicyOfVersionOneIsInForce: that knows nobody who acts as a device, and denies
// it. Setup and invite replace it, and wait until the new one counts.
func TestMintersWhereAPolicyOfVersionOneIsInForce(t *testing.T) {
	admin := lab.Administrator()
	witness := newMachine(t, lab.Namespace())
	flags, token := withMinter(witness)
	setup(witness, lab.Account, flags...).Succeeds()
	device := witness.Load(witness.Profile).Device.Name
	minter := lab.Impersonator(token, rest.ImpersonationConfig{UserName: "system:serviceaccount:" +
		"sa-exec-credential:" + witness.Namespace + "." + device})
	for _, command := range []string{"setup", "invite"} {
		spec := admin.Must(t, http.MethodGet, policy, nil)["spec"].(object)
		older := slices.Clone(spec["validations"].([]any))
		older[0] = object{"message": "older", "reason": "Forbidden",
			"expression": "!variables.isDevice || !variables.isTokenRequest || " +
				"request.namespace == variables.user[0]"}
		admin.Must(t, http.MethodPatch, policy, object{
			"metadata": object{"annotations": object{"sa-exec-credential/policy-version": "1"}},
			"spec":     object{"validations": older}})
		lab.Eventually(t, "the older one counts", func() bool {
			a := minter.Ask(t, http.MethodPost,
				lab.TokenOf(witness.Namespace, lab.Account),
				lab.TokenRequest(600, device))
			return strings.HasSuffix(a.Message, "older")
		})
		m := newMachine(t, lab.Namespace())
		flags, _ := withMinter(m)
		if command == "setup" {
			setup(m, lab.Account, flags...).Succeeds()
			continue
		}
		m.Plugin(append([]string{"invite", lab.Account, "-n", m.Namespace, "--for", "ci-1",
			"--kubeconfig", m.Admin}, flags...)...).Succeeds()
	}
}

// withMinter creates an account that may mint, and returns the flags for it, and its token.
func withMinter(m *lab.Machine) (flags []string, token string) {
	m.Helper()
	m.AsAdmin("create", "namespace", m.Namespace)
	m.AsAdmin("create", "serviceaccount", "runner", "-n", m.Namespace)
	token = m.AdminsToken("create", "token", "runner", "-n", m.Namespace)
	file := lab.WriteFile(m.T, m.TempDir()+"/token", token, 0o600)
	return []string{"--bootstrap", "token-file=" + file, "--minter", m.Namespace + "/runner"}, token
}
