package main

import (
	"errors"
	"slices"
	"strings"
	"syscall"

	"github.com/sa-exec-credential/sa-exec-credential/internal/admin"
	"github.com/sa-exec-credential/sa-exec-credential/internal/advice"
	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/authority"
	"github.com/sa-exec-credential/sa-exec-credential/internal/bootstrap"
	"github.com/sa-exec-credential/sa-exec-credential/internal/call"
	"github.com/sa-exec-credential/sa-exec-credential/internal/cluster"
	"github.com/sa-exec-credential/sa-exec-credential/internal/device"
	"github.com/sa-exec-credential/sa-exec-credential/internal/doctor"
	"github.com/sa-exec-credential/sa-exec-credential/internal/eventlog"
	"github.com/sa-exec-credential/sa-exec-credential/internal/execcred"
	"github.com/sa-exec-credential/sa-exec-credential/internal/files"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/invitation"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kuberc"
	"github.com/sa-exec-credential/sa-exec-credential/internal/lifecycle"
	"github.com/sa-exec-credential/sa-exec-credential/internal/prepare"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/rights"
	"github.com/sa-exec-credential/sa-exec-credential/internal/session"
	"github.com/sa-exec-credential/sa-exec-credential/internal/timer"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
	"github.com/sa-exec-credential/sa-exec-credential/internal/yamledit"
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

// explain is the exit code of an error, and its hint. The same answer of an API server has another cure
// in each operation, so the operation's own list comes first. What the tables leave open, package
// advice fills in.
func explain(at advice.Situation, err error) (code int, hint string) {
	at, operation := at.Of(err), at.Operation
	var usage usageError
	if errors.As(err, &usage) {
		return exitUsage, "run: " + strings.Join(strings.Fields(ui.Program+" "+usage.command+" --help"), " ")
	}
	if p, found := ofType(at, err); found {
		return p.code, p.hint
	}
	for _, p := range slices.Concat(ofJobs, ofOperation[operation], general) {
		if errors.Is(err, p.kind) {
			return p.code, at.Complete(p.hint)
		}
	}
	if errors.Is(err, ui.ErrUsage) {
		return exitUsage, "run: " + strings.Join(strings.Fields(ui.Program+" "+operation+" --help"), " ")
	}
	return exitUnexpected, "run the command with -v to see more"
}

// What several errors are answered with.
const (
	setupAgain   = "set it up again: {setup}"
	network      = "check the network, VPN and proxy on the way to the cluster; if it has moved: {move}"
	otherLogin   = "log in again with the context's own tool, or name another one with --context"
	allowedOnly  = "use a --context that is allowed to"
	toPrepare    = "use a --context that is allowed to, or have an administrator run this with --dry-run and apply what it prints, and use --no-rbac"
	adminServer  = "check the network, VPN and proxy on the way to the context's server; to try it: {kubectl get --raw /version}"
	storeLater   = "once the store can be opened: sa-exec-credential logout --all"
	allowPlugin  = "allow the plugin's command in that file's credentialPluginAllowlist"
	sourceTried  = "try the bootstrap source by hand, then set it up again: {setup}"
	listAccounts = "to see the names: {kubectl get serviceaccounts -A}"
	listDevices  = "to see what is there: {account}"
	granted      = "grant create on serviceaccounts/token for this service account, as setup does: {setup}"
	otherStore   = "set it up with another store: {store}"
	nameProfile  = "name the profile in the args of the kubeconfig user's exec section: get --profile NAME; " + listProfiles
	chooseOne    = "let the cluster's extension client.authentication.k8s.io/exec name one, as profile: NAME; or " + nameProfile
	listProfiles = "to see the profiles: sa-exec-credential status"
	ownGKE       = `if you own a cluster of GKE, run first: kubectl create clusterrolebinding cluster-admin-me --clusterrole=cluster-admin --user="$(gcloud config get-value account)"`
	refused      = "a container's filter of system calls does that: use --store none with another --bootstrap than " +
		"keyring; to see which there are: sa-exec-credential setup --help"
	noBus = "it is there while the user of the profile is logged in; where nobody is, " +
		otherStore
	joinGroup    = `to be allowed to use the TPM, log in again after: sudo usermod -aG tss "$(id -un)"; or ` + otherStore
	noCollection = `create one in the terminal: read -rs P && printf '%s\n' "$P" | gnome-keyring-daemon --replace --unlock` +
		"; on a desktop: a keyring called Login in its password manager, set as default; or " + otherStore
)

// ofOperation is what is answered otherwise in one operation, where an administrator's context acts.
var ofOperation = map[string][]problem{
	"setup":   administrators(toPrepare, "create what is missing, or leave out the flag that names it"),
	"invite":  administrators(toPrepare, "create what is missing, or leave out the flag that names it"),
	"join":    joiners,
	"migrate": migrators("create what is missing, then run migrate again"),
	"devices": administrators(allowedOnly+" list Secrets in the namespace", listAccounts),
	"revoke":  administrators(allowedOnly+" list and delete Secrets in the namespace", listDevices),
	"rotate":  administrators(allowedOnly+" create and delete Secrets and to create tokens", setupAgain),
	"forget":  append(leftovers, problem{profile.ErrMissing, exitProfile, listProfiles}),
	"uninstall": slices.Concat(leftovers,
		administrators(allowedOnly+" do this", listAccounts)),
	"doctor": {
		{api.ErrUnauthorized, exitBootstrap, setupAgain},
		{api.ErrForbidden, exitForbidden, granted},
	},
}

// ofJobs are the answers to jobs of CI systems, whatever they do.
var ofJobs = []problem{
	{bootstrap.ErrNoJob, exitBootstrap, "this profile mints in jobs of that CI system and nowhere else; to let one of them: sa-exec-credential invite --help"},
	{bootstrap.ErrJobOver, exitBootstrap, "a job is given ID tokens as long as it runs, and if it may have any: run it again"},
	{bootstrap.ErrElsewhere, exitBootstrap, "a server of your own is named with --bootstrap-url when the profile is set up; nobody else decides where a job's token goes"},
	{bootstrap.ErrIssuer, exitServer, "try again in a minute; whether the CI system has trouble says its status page"},
	{session.ErrJobRefused, exitBootstrap, "the cluster's authentication configuration has to take the issuer, the audience and the claims of this job"},
}

// leftovers are what can be left of a profile on this machine.
var leftovers = []problem{
	{keyring.ErrLocked, exitStore, storeLater},
	{keyring.ErrTimeout, exitStore, storeLater},
	{keyring.ErrUnavailable, exitStore, storeLater},
	{lifecycle.ErrLeft, exitUnexpected, "the warnings above say what is left, and what removes it"},
}

// What an invitation that is none is answered with.
const (
	howInvite   = "; to see how: sa-exec-credential invite --help"
	inviteAgain = "have an administrator invite this machine again: {invite}"
)

// joiners are the answers to a machine that has an invitation and no administrator.
var joiners = []problem{
	{invitation.ErrEmpty, exitUsage, "what was to print it has failed, and says why; an administrator prints one" + howInvite},
	{invitation.ErrForeign, exitUsage, "hand over what an administrator has printed, and nothing else" + howInvite},
	{invitation.ErrCut, exitUsage, "hand it over whole, or have it printed again" + howInvite},
	{invitation.ErrAltered, exitUsage, "hand it over as it was printed, or have it printed again" + howInvite},
	{invitation.ErrVersion, exitUsage, "use one version of this program on both machines; to see this one's: sa-exec-credential version"},
	{invitation.ErrInvalid, exitUsage, "have it printed again" + howInvite},
	{prepare.ErrInvitationExpired, exitBootstrap, inviteAgain},
	{prepare.ErrInvitationRefused, exitBootstrap, inviteAgain},
	{prepare.ErrOtherDevice, exitUsage, "it mints already, and nothing was changed; to see with what: sa-exec-credential status"},
	{prepare.ErrProfileTaken, exitUsage, "to keep both, name another --profile; to remove that one first: {program forget}"},
	{session.ErrNotMinter, exitForbidden, "who may act as the device an administrator says, and it may have been revoked; " + inviteAgain},
	{bootstrap.ErrMissing, exitBootstrap, "what --bootstrap names has to hold a token now"},
	{bootstrap.ErrSource, exitBootstrap, "what --bootstrap names has to hold a token that an identity provider has issued"},
	{api.ErrAdmission, exitForbidden, "a policy of the cluster allows less than the invitation; " + inviteAgain},
	{api.ErrForbidden, exitForbidden, "the rights of the device are not what invite has created; " + inviteAgain},
	{api.ErrTLS, exitServer, "check this machine's clock, and who answers at the server's address; the invitation was not used up"},
	{api.ErrTimeout, exitServer, fromHere},
	{api.ErrUnreachable, exitServer, fromHere},
}

const fromHere = "check the network, VPN and proxy between this machine and the cluster; the invitation was not used up"

// migrators name the administrator's context by another flag, and have no --no-rbac.
func migrators(missing string) []problem {
	list := administrators("use an --admin-context that is allowed to", missing)
	for i := range list {
		list[i].hint = strings.ReplaceAll(list[i].hint, " --context", " --admin-context")
	}
	return list
}

// administrators are the answers that mean something about an administrator's context.
func administrators(forbidden, missing string) []problem {
	return []problem{
		{bootstrap.ErrMissing, exitBootstrap, "what --bootstrap names has to hold a token now"},
		{session.ErrBootstrapRefused, exitBootstrap, "wait a few seconds, and run the same command again: {again}"},
		{session.ErrDeviceGone, exitServer, "run the same command again: {again}"},
		{session.ErrAccountGone, exitServer, "create the service account first, or run setup without --no-rbac"},
		{kuberc.ErrDenied, exitBootstrap, allowPlugin + ", or name another context with --context"},
		{admin.ErrLogin, exitBootstrap, otherLogin},
		{api.ErrAdmission, exitForbidden, "a policy of the cluster denies this: ask its administrator, or choose shorter lifetimes"},
		{api.ErrUnauthorized, exitBootstrap, otherLogin},
		{api.ErrForbidden, exitForbidden, forbidden},
		{api.ErrNotFound, exitServer, missing},
		{api.ErrTimeout, exitServer, adminServer},
		{api.ErrUnreachable, exitServer, adminServer},
		{api.ErrTLS, exitServer, "check this machine's clock, and the certificate-authority of the context's cluster"},
	}
}

// listing is the command that lists what there is of a kind that was misspelled.
var listing = map[string]string{
	"service account": "{kubectl get serviceaccounts -A}", "namespace": "{kubectl get namespaces}",
	"role": "{kubectl get roles -A}", "cluster role": "{kubectl get clusterroles}",
	"resource": "{kubectl api-resources}", "verb": "{kubectl api-resources -o wide}",
}

// general is in the order in which errors are looked up: an error may wrap several of these.
var general = []problem{
	{errNotForClients, exitUsage, "set the args of the kubeconfig user's exec section to: get --profile NAME"},
	{execcred.ErrMalformed, exitUsage, "KUBERNETES_EXEC_INFO is set by the client; to get a token by hand: {program token}"},
	{execcred.ErrAPIVersion, exitUsage, "set apiVersion: client.authentication.k8s.io/v1 in the kubeconfig user's exec section"},

	{call.ErrNoExecInfo, exitProfile, nameProfile},
	{call.ErrNoClusterInfo, exitProfile, "if the kubeconfig user's exec section lacks provideClusterInfo: true, add it; if it is there, " + nameProfile},
	{call.ErrNoneFits, exitProfile, "if you trust this kubeconfig, run setup for its cluster; otherwise do not use it; " + listProfiles},
	{call.ErrChoice, exitUsage, "set there profile: NAME, or serviceAccount: NAMESPACE/NAME; " + listProfiles},
	{call.ErrInsecureClient, exitProfile, "remove insecure-skip-tls-verify from the kubeconfig cluster"},
	{call.ErrForgedDir, exitProfile, "remove HOME and XDG_CONFIG_HOME from env in the kubeconfig user's exec section, and set them for the client itself"},
	{kubeconfig.ErrShared, exitUsage, "give each cluster a user of its own first"}, // also wraps the difference
	{profile.ErrOtherCluster, exitProfile, "if you trust this kubeconfig, run setup for its cluster; otherwise do not use it"},
	{profile.ErrName, exitUsage, listProfiles},
	{profile.ErrMissing, exitProfile, listProfiles + "; to create it: {setup}"},
	{profile.ErrMalformed, exitProfile, "fix the file, or " + setupAgain},
	{profile.ErrUnreadable, exitProfile, "make sure that it is yours, then: chmod -R u+rwX {directory}"},
	{profile.ErrBundle, exitProfile, "take it out of the cluster's certificate-authority(-data), or put a good copy in its place: there can be nothing but certificates in PEM"},
	{profile.ErrCluster, exitProfile, "the cluster needs an https server URL and, in PEM, nothing but certificates"},
	{device.ErrMissing, exitProfile, setupAgain},
	{device.ErrMalformed, exitProfile, setupAgain},
	{files.ErrNoModes, exitProfile, "set XDG_CONFIG_HOME to a directory on a file system of Linux's own, or mount this one with the metadata option (WSL)"},
	{files.ErrUntrusted, exitProfile, "make sure that it is yours, then: chmod -R go-w {directory}"},
	{files.ErrBusy, exitUnexpected, "wait until the other command is done, then run the same command again"},
	{host.ErrNoHome, exitProfile, "set HOME"},
	{host.ErrNoTarget, exitUsage, "name a directory that this user can write to, such as a volume that is mounted there"},
	{syscall.EMFILE, exitUnexpected, "let the process open more files: ulimit -n"},
	{admin.ErrOwnContext, exitUsage, "name an administrator's context with --context; for example: {admin}; or on an administrator's machine: {elsewhere}"},
	{lifecycle.ErrNoDevice, exitUsage, listDevices},
	{prepare.ErrOtherDevice, exitUsage, "leave --device out, or end the one that it is: {program revoke}"},
	{prepare.ErrNoMinter, exitUsage, "name who may mint with --minter-user, --minter-group or --minter"},
	{prepare.ErrInvitationThere, exitUsage, "remove it, or name another directory with -o"},
	{prepare.ErrInterrupted, exitUnexpected, "the same command finishes the rest: {again}"},
	{lifecycle.ErrStillAccepted, exitServer, "see whether another program creates the Secret again"},
	{prepare.ErrNotInPod, exitBootstrap, "set automountServiceAccountToken: true for the pod, or use another --bootstrap"},
	{prepare.ErrNotAccountToken, exitUsage, "only contexts with a ServiceAccount's token can be migrated"},
	{prepare.ErrNoAccountTokens, exitServer, "use a context of the cluster's own address; in Rancher turn on the cluster's authorized cluster endpoint, and download its kubeconfig again"},
	{authority.ErrTooLarge, exitProfile, "shorten the cluster's certificate-authority(-data), or " + setupAgain},
	{prepare.ErrProfileTaken, exitUsage, "to keep both, name another --profile; to replace it: {again --take-over}"},
	{prepare.ErrStillHeld, exitUsage, "migrate the contexts of these users too, then delete the Secret with kubectl"},

	// before what it wraps where the policy cannot be read
	{kuberc.ErrDenied, exitBootstrap, allowPlugin + ", or set it up with another --bootstrap; to see the policy: kubectl kuberc view"},

	{kuberc.ErrNoKubeconfig, exitUsage, "name a file that exists with --kubeconfig, or leave it out; with a context that is there: {admin}"},
	{kubeconfig.ErrNoContext, exitUsage, "to see the contexts: {config get-contexts}; with one that is there: {admin}"},
	{kubeconfig.ErrReference, exitUsage, "fix the kubeconfig; to see it: {config view}"},
	{kubeconfig.ErrInsecure, exitProfile, "put the cluster's certificate authority into the kubeconfig and remove insecure-skip-tls-verify"},
	{yamledit.ErrMalformed, exitUsage, "fix the file; it was left as it is"},
	{kubeconfig.ErrForeign, exitUsage, "choose another --profile, or remove the entry from the kubeconfig"},
	{yamledit.ErrReadOnly, exitUsage, "write to another file with -o, or make it writable"},
	{yamledit.ErrLocked, exitUnexpected, "if no other program is at work, remove the .lock file"},
	{yamledit.ErrUnsupported, exitUsage, "write to another file with -o, and add it to KUBECONFIG"},
	{kubeconfig.ErrNotStatic, exitUsage, "only contexts with a ServiceAccount's token can be migrated"},
	{kubeconfig.ErrOurs, exitUsage, "nothing needs to be done"},
	{kuberc.ErrDenyAll, exitUsage, "change credentialPluginPolicy in kuberc first"},
	{kuberc.ErrNoAllowlist, exitUsage, "every plugin is allowed already; to change that set credentialPluginPolicy: Allowlist"},
	{kuberc.ErrPolicy, exitUsage, "fix kuberc: kubectl itself would refuse it"},
	{kubeconfig.ErrEntry, exitUsage, "run: sa-exec-credential setup --help"},

	{cluster.ErrUsage, exitUsage, "run: sa-exec-credential setup --help"},
	{cluster.ErrDefaultAccount, exitUsage, "use an account of its own; to go on nevertheless: {again --allow-default-account}"},
	{cluster.ErrAdmin, exitUsage, "grant what the work needs and no more; to go on nevertheless: {again --allow-admin}"},
	{cluster.ErrForeign, exitForbidden, "choose another name, or have its owner remove it"},
	{cluster.ErrTerminating, exitServer, "try again when it is gone"},

	{doctor.ErrCommandMissing, exitProfile, "install the program there"},
	{doctor.ErrExecSection, exitProfile, "to print one that works: {program kubeconfig}"},
	{doctor.ErrPluginDenied, exitProfile, "to see the policy: kubectl kuberc view"},
	{keyring.ErrNotKept, exitStore, otherStore},
	{timer.ErrForeign, exitUsage, "move it away, or run setup without --timer"},
	{timer.ErrSystemd, exitUnexpected, "the rest is set up; to see what it says: systemctl --user status"},
	{eventlog.ErrWrite, exitUsage, "let this user write it, or name another --log; to do without: {setup --log none}"},

	{session.ErrNotMinter, exitForbidden, "let it act as the device, as setup does: {setup}"},
	{session.ErrBootstrapRefused, exitBootstrap, "its device may have been revoked; " + setupAgain},
	{bootstrap.ErrMissing, exitBootstrap, setupAgain},
	{bootstrap.ErrExpired, exitBootstrap, setupAgain},
	{bootstrap.ErrSource, exitBootstrap, sourceTried},
	{api.ErrCredential, exitBootstrap, sourceTried},
	{session.ErrDeviceGone, exitBootstrap, "its device Secret has been deleted or replaced; " + setupAgain},

	{keyring.ErrRefused, exitStore, refused},
	{keyring.ErrNotAllowed, exitStore, joinGroup},
	{keyring.ErrSealing, exitStore, "make the TPM, or systemd, work again; or " + otherStore},
	{keyring.ErrLocked, exitStore, "unlock the keyring, or " + otherStore},
	{keyring.ErrTimeout, exitStore, "see whether the keyring waits for a password, or " + otherStore},
	{keyring.ErrNoCollection, exitStore, noCollection},
	{keyring.ErrNoBus, exitStore, noBus},
	{keyring.ErrUnavailable, exitStore, "start the keyring service, or " + otherStore},
	{keyring.ErrTooBig, exitStore, otherStore},
	{keyring.ErrQuota, exitStore, "to free room: sa-exec-credential logout --all; to see what else is there: keyctl show @u"},

	{api.ErrAdmission, exitForbidden, "a policy of the cluster denies this token request: --duration may be longer than it allows"},
	{api.ErrForbidden, exitForbidden, granted},
	{session.ErrAccountGone, exitServer, "the service account or its namespace is gone; " + setupAgain},
	{api.ErrUnauthorized, exitBootstrap, setupAgain},
	{api.ErrThrottled, exitServer, "try again in a few seconds"},
	{api.ErrTLS, exitServer, "check this machine's clock; if the cluster's certificate authority has changed, " + setupAgain},
	{api.ErrTimeout, exitServer, network},
	{api.ErrUnreachable, exitServer, network},
	{api.ErrServer, exitServer, "try again later; the API server's own log says what failed"},
	{api.ErrAnswer, exitServer, "check that the profile's server is a Kubernetes API server and not a proxy's page"},
	{api.ErrNotFound, exitServer, setupAgain},
	{api.ErrConflict, exitServer, setupAgain},
	{api.ErrInvalid, exitServer, setupAgain},
}

// ofType is for errors that say more than their kind.
func ofType(at advice.Situation, err error) (problem, bool) {
	var (
		escalation *cluster.EscalationError
		conflict   *cluster.ConflictError
		roleRef    *cluster.RoleRefError
		unknown    *cluster.UnknownError
		client     *session.ClientError
		user       *kubeconfig.UserError
		lacking    *rights.Error
		quota      *keyring.QuotaError
		missing    *prepare.EnvironmentError
		several    *session.SeveralError
		fitting    *call.FittingError
		ambiguous  *lifecycle.AmbiguousError
		record     *device.MalformedError
	)
	switch {
	case errors.As(err, &lacking):
		hint := "use the context of somebody who is, or have an administrator run: " + lacking.Commands()
		if len(lacking.NotHeld) > 0 {
			hint = ownGKE + "; else " + hint
		}
		return problem{code: exitForbidden, hint: hint}, true
	case errors.As(err, &user) && errors.Is(err, bootstrap.ErrSource):
		return problem{code: exitBootstrap, hint: user.Fix}, true
	case errors.As(err, &user):
		return problem{code: exitUsage, hint: user.Fix}, true
	case errors.As(err, &missing):
		return problem{code: exitBootstrap, hint: "the profile can keep their values of now: " +
			at.With(missing.Flags()...)}, true
	case errors.As(err, &quota):
		return problem{code: exitStore, hint: at.Complete(advice.ForQuota(quota))}, true
	case errors.As(err, &client):
		return problem{code: exitProfile, hint: at.Own(advice.ForClient(client))}, true
	case errors.As(err, &record):
		return problem{code: exitProfile, hint: "remove the record: " + ui.CommandLine("rm", record.Path) +
			at.Complete("; then set it up again: {setup}")}, true
	case errors.As(err, &several):
		return problem{code: exitUsage, hint: "name one: " + at.Again("--profile", several.Names[0])}, true
	case errors.As(err, &fitting):
		return problem{code: exitUsage, hint: chooseOne}, true
	case errors.As(err, &ambiguous):
		return problem{code: exitUsage, hint: "name one of them: " + at.Again("--device", ambiguous.Devices[0].Short)}, true
	case errors.As(err, &escalation):
		return problem{code: exitForbidden, hint: "nobody can grant more than they hold: have a cluster administrator run " + at.Operation + "; " + ownGKE}, true
	case errors.As(err, &conflict):
		return problem{code: exitForbidden, hint: "change it where it is managed, or use --no-rbac"}, true
	case errors.As(err, &roleRef):
		return problem{code: exitForbidden, hint: "delete that binding first: what it binds cannot be changed"}, true
	case errors.As(err, &unknown) && len(unknown.Nearest) > 0:
		return problem{code: exitUsage, hint: "did you mean " + strings.Join(unknown.Nearest, ", ") + "?"}, true
	case errors.As(err, &unknown):
		return problem{code: exitUsage, hint: "to see what there is: " + at.Complete(listing[unknown.What])}, true
	}
	return problem{}, false
}
