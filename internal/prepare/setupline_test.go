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
	job := p
	job.Store, job.Cluster.Server = keyring.None, "https://k:6443"
	job.Bootstrap = profile.Bootstrap{Source: profile.SourceGitHub, Audience: "https://k:6443"}
	elsewhere := job
	elsewhere.Bootstrap.Audience, elsewhere.Bootstrap.URL = "k8s", "https://ghe.example.com"
	connection := job
	connection.Store, connection.Setup.Machine = keyring.Kernel, ""
	connection.Bootstrap = profile.Bootstrap{Source: profile.SourceAzure, ServiceConnection: "id"}
	joined := elsewhere
	joined.Setup.Machine, joined.Setup.Minters.Users = "ci", []string{"github:repo:a/b:ref:c"}
	for _, test := range []struct {
		name    string
		profile profile.Profile
		want    string
	}{
		{"a job's defaults are left out", job,
			"sa-exec-credential setup ci -n build --profile p --bootstrap github-actions"},
		{"a job's other choices are not", elsewhere, "sa-exec-credential setup ci -n build " +
			"--profile p --bootstrap github-actions --bootstrap-audience k8s " +
			"--bootstrap-url https://ghe.example.com"},
		{"a service connection, and a store", connection, "sa-exec-credential setup ci -n build " +
			"--profile p --bootstrap azure-pipelines=id --store kernel"},
		{"a job that has joined", joined, "sa-exec-credential invite ci -n build --for ci " +
			"--minter-user github:repo:a/b:ref:c --bootstrap github-actions " +
			"--bootstrap-audience k8s --bootstrap-url https://ghe.example.com"},
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
