package profile

import (
	"reflect"
	"slices"
	"strings"
	"testing"
)

func TestMinterCalled(t *testing.T) {
	for user, want := range map[string]Minters{
		"alice":                                {Users: []string{"alice"}},
		"system:serviceaccount:ci:runner":      {Accounts: []string{"ci/runner"}},
		"system:serviceaccount:ci":             {Users: []string{"system:serviceaccount:ci"}},
		"github:repo:org/app:ref:refs/heads/x": {Users: []string{"github:repo:org/app:ref:refs/heads/x"}},
	} {
		if got := MinterCalled(user); !reflect.DeepEqual(got, want) {
			t.Errorf("%q is %+v", user, got)
		}
	}
}

func TestMintersTogether(t *testing.T) {
	a := Minters{Users: []string{"b", "a"}, Groups: []string{"g"}}
	b := Minters{Users: []string{"a"}, Accounts: []string{"ci/runner"}}
	both := a.And(b)
	want := []string{"--minter-user", "a", "--minter-user", "b", "--minter-group", "g",
		"--minter", "ci/runner"}
	if got := both.Flags(); !slices.Equal(got, want) {
		t.Errorf("flags %q", got)
	}
	if !both.Covers(a) || !both.Covers(b) || a.Covers(b) || both.IsEmpty() ||
		!(Minters{}).IsEmpty() {
		t.Errorf("%+v", both)
	}
	if got := strings.Join(both.Names(), ", "); got !=
		`user "a", user "b", group "g", account "ci/runner"` {
		t.Errorf("names %s", got)
	}
}

func TestActingGoesWithADeviceAndAnotherSource(t *testing.T) {
	for name, test := range map[string]struct {
		device string
		source Bootstrap
		ok     bool
	}{
		"a file and a device": {"d", Bootstrap{Source: SourceTokenFile, Path: "/t", AsDevice: true}, true},
		"no device":           {"", Bootstrap{Source: SourceTokenFile, Path: "/t", AsDevice: true}, false},
		"the keyring": {"d", Bootstrap{Source: SourceKeyring, AsDevice: true,
			Duration: &Duration{MinDuration}}, false},
	} {
		p := Profile{Name: "p", Cluster: Cluster{Server: "https://prod:6443"}, Namespace: "build",
			ServiceAccount: "ci", Duration: Duration{MinDuration}, Device: test.device,
			Bootstrap: test.source, Store: "kernel"}
		if err := p.Validate(); (err == nil) != test.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}
