package prepare

import (
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

func TestSetupLine(t *testing.T) {
	p := profile.Profile{Name: "p", Namespace: "build", ServiceAccount: "ci",
		Store:     keyring.Keyring,
		Duration:  profile.Duration{Duration: time.Hour},
		Bootstrap: profile.Bootstrap{Source: profile.SourceKeyring}}
	special := p
	special.ServiceAccount, special.Store, special.Audiences = "default", keyring.Kernel,
		[]string{"vault"}
	special.Duration.Duration = 90 * time.Minute
	special.Bootstrap = profile.Bootstrap{Source: profile.SourceCommand,
		Command: []string{"/usr/bin/pass", "my token"}}
	special.Origin = &profile.Origin{Context: "admin@test",
		Kubeconfig: []string{"/home/jane/admin"}}
	special.AllowMissingClusterInfo = true
	granted := p
	granted.Setup.Rights = profile.Rights{ClusterRoles: []string{"view", "my role"},
		Verbs: []string{"get", "list"}, Resources: []string{"pods"}, AllowAdmin: true}
	granted.In = []string{"a", "b"}
	granted.Origin = &profile.Origin{Context: "it's me", Kubeconfig: []string{"/a b", "/c"}}
	for _, test := range []struct {
		name    string
		profile profile.Profile
		want    string
	}{
		{"defaults are left out", p, "sa-exec-credential setup ci -n build --profile p"},
		{"all else is said", special, "sa-exec-credential setup default -n build " +
			"--profile p --context admin@test --kubeconfig /home/jane/admin " +
			`--duration 1h30m --audience vault --bootstrap 'command=/usr/bin/pass '\''my token'\' --store kernel ` +
			"--allow-default-account --allow-missing-cluster-info"},
		{"rights, and files that no flag names together", granted, `KUBECONFIG='/a b:/c' ` +
			`sa-exec-credential setup ci -n build --profile p --context 'it'\''s me' ` +
			"--cluster-role 'view,my role' --verb get,list --resource pods " +
			"--allow-admin --in a --in b"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := SetupLine(test.profile); got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
		})
	}
	const kubectl = `KUBECONFIG='/a b:/c' kubectl --context 'it'\''s me' delete secret s`
	if got := KubectlLine(granted.Origin, "delete", "secret", "s"); got != kubectl {
		t.Errorf("got %s", got)
	}
}
