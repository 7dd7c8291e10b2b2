package kubeconfig

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

func TestUsersThatNoClientCanBe(t *testing.T) {
	const (
		old  = "client.authentication.k8s.io/v1alpha1"
		beta = "client.authentication.k8s.io/v1beta1"
	)
	tests := []struct {
		name    string
		context string
		user    string
		says    string   // empty: it can be used
		fix     []string // FILE stands for the kubeconfig
	}{
		{name: "a token", context: "x", user: "token: tok"},
		{name: "an exec section of v1", context: "x",
			user: "exec: {apiVersion: client.authentication.k8s.io/v1, command: a, " +
				"interactiveMode: Never}"},
		{name: "one of v1beta1 needs no interactiveMode", context: "x",
			user: "exec: {apiVersion: " + beta + ", command: a}"},
		{name: "gcp with the name that gcloud gives",
			context: "gke_shop_europe-west1-b_prod", user: "auth-provider: {name: gcp}",
			says: `has the auth-provider "gcp", which Kubernetes removed`,
			fix: []string{"gcloud components install gke-gcloud-auth-plugin",
				"run: gcloud container clusters get-credentials prod --location " +
					"europe-west1-b --project shop"}},
		{name: "gcp with another name", context: "prod", user: "auth-provider: {name: gcp}",
			says: `"gcp"`, fix: []string{"get-credentials CLUSTER --location LOCATION, " +
				"with the cluster's name"}},
		{name: "azure", context: "it's", user: "auth-provider: {name: azure}",
			says: `"azure"`, fix: []string{"kubelogin convert-kubeconfig -l azurecli " +
				`--kubeconfig FILE --context it\'s`}},
		{name: "oidc", context: "x",
			user: "auth-provider: {name: oidc, config: {idp-issuer-url: " +
				"https://id.example.com, client-id: k8s, client-secret: s3cr3t, " +
				"id-token: t0k3n, extra-scopes: 'groups,email'}}",
			says: `"oidc", which no client runs but some kubectl`,
			fix: []string{"kubectl krew install oidc-login",
				"--exec-arg=--oidc-issuer-url=https://id.example.com " +
					"--exec-arg=--oidc-client-id=k8s " +
					"--exec-arg=--oidc-extra-scope=groups " +
					"--exec-arg=--oidc-extra-scope=email && kubectl config " +
					"--kubeconfig FILE set-context x --user=u-exec",
				"--oidc-client-secret=SECRET"}},
		{name: "openstack", context: "x", user: "auth-provider: {name: openstack}",
			says: `"openstack"`, fix: []string{"--exec-command=client-keystone-auth"}},
		{name: "a provider that nobody knows", context: "x",
			user: "auth-provider: {name: acme}", says: `"acme"`,
			fix: []string{"kubectl config set-credentials --help"}},
		{name: "a provider beside a token", context: "x",
			user: "{auth-provider: {name: gcp}, token: t0k3n}", says: `"gcp"`,
			fix: []string{"gcloud"}},
		{name: "aws of an old version", context: "x",
			user: "exec: {apiVersion: " + old + ", command: /usr/local/bin/aws, args: " +
				"[--region, eu-west-1, eks, get-token, --cluster-name, shop]}",
			says: `of apiVersion "` + old + `"`,
			fix: []string{"update aws, then: aws eks update-kubeconfig --name shop " +
				"--kubeconfig FILE --alias x --region eu-west-1"}},
		{name: "aws-iam-authenticator", context: "x",
			user: "exec: {apiVersion: " + old + ", command: aws-iam-authenticator, " +
				"args: [token, -i, shop]}", says: old,
			fix: []string{"aws eks update-kubeconfig --name shop --kubeconfig FILE " +
				"--alias x"}},
		{name: "another tool of an old version", context: "x",
			user: "exec: {apiVersion: " + old + ", command: tsh}", says: old,
			fix: []string{"update tsh", "kubectl config --kubeconfig FILE " +
				"set-credentials u --exec-api-version=client.authentication." +
				"k8s.io/v1 --exec-interactive-mode=IfAvailable"}},
		{name: "a section of no version", context: "x", user: "exec: {command: tsh}",
			says: `of apiVersion ""`, fix: []string{"update tsh"}},
		{name: "v1 without interactiveMode", context: "x",
			user: "exec: {apiVersion: client.authentication.k8s.io/v1, command: a}",
			says: "without interactiveMode",
			fix: []string{"kubectl config --kubeconfig FILE set-credentials u " +
				"--exec-interactive-mode=IfAvailable"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "config")
			if !strings.HasPrefix(tt.user, "{") {
				tt.user = "{" + tt.user + "}"
			}
			write(t, file, "clusters: [{name: c, cluster: {server: 'https://c'}}]\n"+
				"users: [{name: u, user: "+tt.user+"}]\ncontexts: [{name: \""+
				tt.context+"\", context: {cluster: c, user: u}}]\n")
			_, err := ClientConfig([]string{file}, tt.context)
			var problem *UserError
			if tt.says == "" && err == nil {
				return
			}
			if !errors.As(err, &problem) || !errors.Is(err, ErrUser) ||
				!strings.Contains(err.Error(), tt.says) {
				t.Fatalf("error %v, want %q", err, tt.says)
			}
			for _, part := range tt.fix {
				part = strings.ReplaceAll(part, "FILE", file)
				if !strings.Contains(problem.Fix, part) {
					t.Errorf("fix %q, want %q in it", problem.Fix, part)
				}
			}
			for _, secret := range []string{"s3cr3t", "t0k3n"} {
				if strings.Contains(err.Error()+problem.Fix, secret) {
					t.Errorf("a secret is shown")
				}
			}
		})
	}
}
