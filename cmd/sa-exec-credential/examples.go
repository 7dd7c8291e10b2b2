package main

// examples end the help of each command; "" is the program's own.
var examples = map[string][]string{
	"": {
		"sa-exec-credential setup ci -n build --cluster-role view --use-context",
		"sa-exec-credential status",
		"sa-exec-credential revoke --profile ci.build@prod",
	},
	"setup": {
		"sa-exec-credential setup ci -n build --cluster-role view --use-context",
		"sa-exec-credential setup ci -n build --verb get,list --resource " +
			"pods,deployments.apps -o ci.kubeconfig",
		"sa-exec-credential setup jenkins -n jenkins --cluster-role edit --in automation",
		"sa-exec-credential setup ci -n build --cluster-role view --all-contexts",
	},
	"invite": {
		"sa-exec-credential invite jenkins -n automation --cluster-role view --for build-7 | " +
			"ssh build-7 sa-exec-credential join --use-context",
		"sa-exec-credential invite jenkins -n automation --for build-1 --for build-2 " +
			"--valid 1h -o invitations",
	},
	"join": {
		"ssh build-7 sa-exec-credential join --use-context < build-7.invitation",
		"sa-exec-credential join build-7.invitation",
	},
	"token": {
		"curl -H @<(sa-exec-credential token --header --profile ci.build@prod) " +
			"https://prod.example.com:6443/api/v1/pods",
		"sa-exec-credential token --context ci.build@prod",
	},
	"status": {
		"sa-exec-credential status",
		"sa-exec-credential status -o json",
	},
	"logout": {
		"sa-exec-credential logout --profile ci.build@prod",
		"sa-exec-credential logout --all --bootstrap",
	},
	"get": {
		"KUBERNETES_EXEC_INFO='…' sa-exec-credential get --profile ci.build@prod",
		"sa-exec-credential token --profile ci.build@prod   # by hand",
	},
	"kubeconfig": {
		"sa-exec-credential kubeconfig --profile ci.build@prod",
		"sa-exec-credential kubeconfig --profile ci.build@prod -o ~/.kube/config " +
			"--use-context",
	},
	"rotate": {
		"sa-exec-credential rotate --profile ci.build@prod",
		"sa-exec-credential rotate --profile ci.build@prod --context admin@prod",
	},
	"renew": {
		"sa-exec-credential renew",
		"sa-exec-credential renew --profile ci.build@prod",
	},
	"revoke": {
		"sa-exec-credential revoke --profile ci.build@prod",
		"sa-exec-credential revoke --device build-7 --serviceaccount jenkins -n automation",
	},
	"forget": {
		"sa-exec-credential forget --profile ci.build@prod --dry-run",
		"sa-exec-credential forget --profile ci.build@prod --kubeconfig ci.kubeconfig",
	},
	"uninstall": {
		"sa-exec-credential uninstall ci -n build --dry-run",
		"sa-exec-credential uninstall ci -n build --context admin@prod",
	},
	"devices": {
		"sa-exec-credential devices ci -n build",
		"sa-exec-credential devices ci -n build -o json",
	},
	"migrate": {
		"sa-exec-credential migrate ci@prod --admin-context admin@prod --dry-run",
		"sa-exec-credential migrate ci@prod --admin-context admin@prod " +
			"--delete-legacy-secret",
	},
	"doctor": {
		"sa-exec-credential doctor",
		"sa-exec-credential doctor --profile ci.build@prod -o json",
	},
	"version": {
		"sa-exec-credential version",
		"sa-exec-credential --version",
	},
	"completion": {
		"source <(sa-exec-credential completion bash)",
		"sa-exec-credential completion fish | source",
		"sa-exec-credential completion powershell | Out-String | Invoke-Expression",
	},
}
