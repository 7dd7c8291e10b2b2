package main

import (
	"errors"
	"slices"
	"syscall"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/bootstrap"
	"github.com/sa-exec-credential/sa-exec-credential/internal/execcred"
	"github.com/sa-exec-credential/sa-exec-credential/internal/files"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// The exit codes. Only they, and not the text on standard error, reach a client.
const (
	exitDone       = 0
	exitUnexpected = 1
	exitUsage      = 2
	exitProfile    = 3 // profile missing, untrusted file, or a cluster that is not the profile's
	exitBootstrap  = 4 // bootstrap credential missing, expired or refused
	exitServer     = 5 // API server unreachable or failing
	exitStore      = 6 // store unavailable, locked or too slow
	exitForbidden  = 7 // forbidden by RBAC or admission
)

// problem is what a person is told about a kind of error, and what a script.
type problem struct {
	kind error
	code int
	hint string
}

// problems is in the order in which errors are looked up: an error may wrap several of these.
func problems() []problem {
	const setupAgain = "run setup again for this service account"
	return []problem{
		{errUsage, exitUsage, "see sa-exec-credential --help"},
		{errNotForClients, exitUsage, "set the args of the kubeconfig user's exec section to: get --profile NAME"},
		{execcred.ErrMalformed, exitUsage, "KUBERNETES_EXEC_INFO is set by the client; to get a token by hand use: sa-exec-credential token"},
		{execcred.ErrAPIVersion, exitUsage, "set apiVersion: client.authentication.k8s.io/v1 in the kubeconfig user's exec section"},

		{errNoClusterInfo, exitProfile, "set provideClusterInfo: true in the kubeconfig user's exec section; for a client that cannot send it, run setup with --allow-missing-cluster-info"},
		{errNoExecInfo, exitProfile, "to get a token by hand use: sa-exec-credential token --profile NAME; for a client that sends none, run setup with --allow-missing-cluster-info"},
		{errInsecureClient, exitProfile, "remove insecure-skip-tls-verify from the kubeconfig cluster"},
		{errForgedFolder, exitProfile, "remove HOME and XDG_CONFIG_HOME from env in the kubeconfig user's exec section, and set them for the client itself"},
		{profile.ErrOtherCluster, exitProfile, "if you trust this kubeconfig, run setup for its cluster; otherwise do not use it"},
		{profile.ErrName, exitUsage, "sa-exec-credential status lists the profiles"},
		{profile.ErrMissing, exitProfile, "sa-exec-credential status lists the profiles; setup makes one"},
		{profile.ErrMalformed, exitProfile, setupAgain + ", or mend the file"},
		{profile.ErrUnreadable, exitProfile, "make sure that it is yours, then: chmod u+r on the file, u+rwx on its folders"},
		{profile.ErrCluster, exitProfile, "the cluster needs an https server URL and, in PEM, nothing but certificates"},
		{files.ErrUntrusted, exitProfile, "make sure that the file is yours, then: chmod go-w on it and its folder"},
		{errNoHome, exitProfile, "set HOME"},
		{syscall.EMFILE, exitUnexpected, "let the process open more files: ulimit -n"},
		{errOwnContext, exitUsage, "name an administrator's context with --context"},
		{errNoDevice, exitUsage, "sa-exec-credential devices lists them"},
		{errInterrupted, exitUnexpected, "run the same command again: it finishes the rest"},
		{errStillAccepted, exitServer, "see whether another program makes the Secret again"},
		{errNotInPod, exitBootstrap, "set automountServiceAccountToken: true for the pod, or use another --bootstrap"},

		{errBootstrapRefused, exitBootstrap, setupAgain + "; its device may have been revoked"},
		{bootstrap.ErrMissing, exitBootstrap, setupAgain},
		{bootstrap.ErrExpired, exitBootstrap, setupAgain},
		{bootstrap.ErrSource, exitBootstrap, "try the bootstrap source by hand, then run setup again"},
		{api.ErrCredential, exitBootstrap, "try the bootstrap source by hand, then run setup again"},
		{errDeviceGone, exitBootstrap, setupAgain + "; its device Secret has been deleted or replaced"},

		{keyring.ErrLocked, exitStore, "unlock the keyring, or run setup with --store kernel"},
		{keyring.ErrTimeout, exitStore, "see whether the keyring waits for a password; --store kernel at setup does without it"},
		{keyring.ErrUnavailable, exitStore, "start the keyring service, or run setup with --store kernel"},
		{keyring.ErrTooBig, exitStore, "run setup with another --store"},
		{keyring.ErrQuota, exitStore, "sa-exec-credential logout --all frees room; keyctl show @u lists what else is there"},

		{api.ErrAdmission, exitForbidden, "a policy of the cluster denies this token request: --duration may be longer than it allows"},
		{api.ErrForbidden, exitForbidden, "grant create on serviceaccounts/token for this service account; setup does"},
		{errAccountGone, exitServer, setupAgain + "; the service account or its namespace is gone"},
		{api.ErrUnauthorized, exitBootstrap, setupAgain},
		{api.ErrThrottled, exitServer, "try again in a few seconds"},
		{api.ErrTLS, exitServer, "check this machine's clock; if the cluster's certificate authority has changed, run setup again"},
		{api.ErrTimeout, exitServer, "check the network, VPN and proxy on the way to the cluster"},
		{api.ErrUnreachable, exitServer, "check the network, VPN and proxy on the way to the cluster"},
		{api.ErrServer, exitServer, "try again later; the API server's own log says what failed"},
		{api.ErrAnswer, exitServer, "check that the profile's server is a Kubernetes API server and not a proxy's page"},
		{api.ErrNotFound, exitServer, setupAgain},
		{api.ErrConflict, exitServer, setupAgain},
		{api.ErrInvalid, exitServer, setupAgain},
	}
}

func problemOf(err error) problem {
	if p, found := setupHint(err); found {
		return p
	}
	return problemOfKind(err)
}

func problemOfKind(err error) problem {
	for _, p := range slices.Concat(migrateProblems(), problems(), setupProblems(), doctorProblems()) {
		if errors.Is(err, p.kind) {
			return p
		}
	}
	return problem{code: exitUnexpected, hint: "run the command with -v to see more"}
}

func exitCode(err error) int { return problemOf(err).code }

func hintFor(err error) string { return problemOf(err).hint }

// errorKinds are the errors that are still told apart after one process has left them to another.
func errorKinds() []error {
	kinds := make([]error, 0, 64)
	for _, p := range problems() {
		kinds = append(kinds, p.kind)
	}
	return kinds
}
