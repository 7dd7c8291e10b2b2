package lifecycle

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sa-exec-credential/sa-exec-credential/internal/admin"
	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/call"
	"github.com/sa-exec-credential/sa-exec-credential/internal/cluster"
	"github.com/sa-exec-credential/sa-exec-credential/internal/device"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/kubeconfig"
	"github.com/sa-exec-credential/sa-exec-credential/internal/prepare"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/rights"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
	"github.com/sa-exec-credential/sa-exec-credential/internal/session"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// Uninstalling is what setups created for an account in a cluster, and what there is of it on this
// machine, found out before any of it is removed.
type Uninstalling struct {
	host   *host.Host
	admin  *admin.Admin
	origin profile.Origin // the administrator's context, for commands
	report ui.Report
	found  *cluster.Installed
	local  []*Forgetting
	record string // this machine's device record for the account, if no profile names it
}

// PlanUninstall looks for all of it, and whether the caller may remove it: every right that is
// missing is named at once.
func PlanUninstall(ctx context.Context, h *host.Host, c admin.Choice, namespace, account string,
	report ui.Report) (*Uninstalling, error) {
	a, origin, err := findAdmin(ctx, h, c, report)
	if err != nil {
		return nil, err
	}
	namespace = a.Namespace(namespace)
	for _, problem := range []error{profile.CheckNamespace(namespace),
		profile.CheckServiceAccount(account)} {
		if problem != nil {
			return nil, ui.Usagef("%w", problem)
		}
	}
	u := &Uninstalling{host: h, admin: a, origin: origin, report: report}
	in, err := u.findLocal(namespace, account, c.Kubeconfig)
	if err != nil {
		return nil, err
	}
	if u.found, err = cluster.FindInstalled(ctx, a.Client, namespace, account, in); err != nil {
		return nil, err
	}
	if u.found.Space != nil {
		if err := u.checkSpace(ctx); err != nil {
			return nil, err
		}
	}
	return u, u.checkRights(ctx)
}

// findAdmin finds the context as devices and revoke --device do, and how commands name it.
func findAdmin(ctx context.Context, h *host.Host, c admin.Choice,
	report ui.Report) (found *admin.Admin, origin profile.Origin, err error) {
	if found, err = admin.Find(ctx, h, c, nil, report); err != nil {
		return nil, origin, err
	}
	origin.Context = found.Context.Name
	if own, err := h.KubeconfigPaths(""); err != nil || !slices.Equal(own, found.Kubeconfig) {
		origin.Kubeconfig = found.Kubeconfig
	}
	return found, origin, nil
}

// findLocal finds the profiles of the account, and returns the namespaces in which it was given
// rights.
func (u *Uninstalling) findLocal(namespace, account, file string) (in []string, err error) {
	profiles, err := u.host.Profiles()
	if err != nil {
		return nil, err
	}
	names, err := profiles.Names()
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		p, err := profiles.Load(name)
		if err != nil {
			u.report(ui.Warning, fmt.Sprintf("%v; whether it is one of the account's "+
				"is not known",
				err))
			continue
		}
		if p.Account() != namespace+"/"+account ||
			p.Cluster.DifferenceWithin(u.admin.Context.Cluster) != nil {
			continue
		}
		f, err := PlanForget(u.host, name, "", u.report)
		if err != nil {
			return nil, err
		}
		f.isEnded = true
		if file != "" && !slices.Contains(f.paths, file) {
			f.paths = append(f.paths, file)
			f.contexts = kubeconfig.CanForget(f.paths, name)
		}
		u.local = append(u.local, f)
		in = append(in, p.In...)
	}
	// All profiles of the account name one record: it goes with the last of them.
	for i, f := range u.local {
		isLast := i == len(u.local)-1
		f.goesLater = !isLast
		if isLast && len(f.others) == len(u.local)-1 {
			f.keeps = ""
		}
	}
	return in, u.findRecord(namespace, account)
}

// findRecord finds what a setup that was interrupted before it had a profile has left here.
func (u *Uninstalling) findRecord(namespace, account string) error {
	dir, err := call.Devices(u.host)
	if err != nil {
		return err
	}
	name, err := deviceRecord(u.admin, namespace, account)
	if err != nil {
		return err
	}
	sharing, err := session.Sharing(u.host, name)
	if err == nil && len(sharing) == 0 && slices.Contains(dir.Names(), name) {
		u.record = name
	}
	return nil
}

// checkSpace keeps a namespace in which there is something of others.
func (u *Uninstalling) checkSpace(ctx context.Context) error {
	why, err := occupied(ctx, u.admin.Client, u.found)
	if err == nil && why != "" {
		u.found.Kept = append(u.found.Kept, cluster.Kept{Ref: u.found.Space.Ref, Why: why})
		u.found.Space = nil
	}
	return err
}

// shownOthers bounds a line.
const shownOthers = 3

// everyNamespace are what the controllers of Kubernetes and OpenShift put into each namespace.
var everyNamespace = []string{"serviceaccounts default", "configmaps kube-root-ca.crt",
	"configmaps openshift-service-ca.crt"}

// occupied says what is in the account's namespace beside what would be deleted and what every
// namespace has. What cannot be listed may be there.
func occupied(ctx context.Context, client *api.Client,
	found *cluster.Installed) (why string, err error) {
	expected := slices.Clone(everyNamespace)
	for _, ref := range found.Refs() {
		if ref.Namespace == found.Namespace {
			expected = append(expected, ref.Qualified()+" "+ref.Name)
		}
	}
	known, err := cluster.Discover(ctx, client)
	if err != nil {
		return "", err
	}
	var others []string
	for _, r := range known {
		if !r.Namespaced || strings.Contains(r.Name, "/") || r.Name == "events" ||
			!slices.Contains(r.Verbs, "list") {
			continue
		}
		names, err := r.List(ctx, client, found.Namespace)
		switch {
		case ctx.Err() != nil:
			return "", prepare.ErrInterrupted
		case errors.Is(err, api.ErrNotFound): // it was served a moment ago
		case err != nil:
			return fmt.Sprintf("whether %v of others are in it cannot be found out: %v",
				r, err), nil
		}
		for _, name := range names {
			if !slices.Contains(expected, r.String()+" "+name) {
				others = append(others, fmt.Sprintf("%v %q", r, name))
			}
		}
	}
	if len(others) == 0 {
		return "", nil
	}
	why = "it holds " + strings.Join(others[:min(len(others), shownOthers)], ", ")
	if more := len(others) - shownOthers; more > 0 {
		why += fmt.Sprintf(" and %d more", more)
	}
	return why, nil
}

// checkRights is a *rights.Error unless the caller can remove all of it.
func (u *Uninstalling) checkRights(ctx context.Context) error {
	var needed []rights.Right
	for _, ref := range u.found.Refs() {
		verb := "delete"
		if ref == cluster.LimitsRef {
			verb = "patch"
		}
		needed = append(needed, rights.On(verb, ref))
	}
	return u.admin.Require(ctx, needed)
}

func (u *Uninstalling) account() string { return u.found.Namespace + "/" + u.found.Account }

func (u *Uninstalling) isEmpty() bool {
	return u.found.IsEmpty() && len(u.local) == 0 && u.record == ""
}

// Lines say what Run would remove, and what it would keep.
func (u *Uninstalling) Lines() (lines []string) {
	add := func(format string, args ...any) {
		lines = append(lines, fmt.Sprintf(format,
			args...))
	}
	add("account %q in the cluster %s (context %q)",
		u.account(), u.admin.Context.Cluster.Server, u.admin.Context.Name)
	for _, d := range u.found.Devices {
		minters := ""
		if names := d.Minters.Names(); len(names) > 0 {
			minters = "; minters: " + strings.Join(names, ", ")
		}
		add("remove: device %q%s: ServiceAccount, Secret, Role, RoleBinding%s",
			u.found.Namespace+"/"+d.Name, d.Owner, minters)
	}
	for _, o := range u.found.Objects {
		add("remove: %v", o.Ref)
	}
	if u.found.Limits {
		add("remove: the account's limits in %v", cluster.LimitsRef)
	}
	if u.found.Space != nil {
		add("remove: %v", u.found.Space.Ref)
	}
	for _, f := range u.local {
		for _, line := range f.Lines() {
			add("%s", strings.Replace(line, ":", " here:", 1))
		}
	}
	if u.record != "" {
		add("remove here: device record %q", u.record)
	}
	if u.isEmpty() {
		add("nothing that setup created is there")
	}
	for _, kept := range u.found.Kept {
		add("kept: %v", kept)
	}
	if shared := u.sharedLine(); shared != "" {
		add("kept: %s", shared)
	}
	return lines
}

// sharedLine says what all accounts of the cluster share, and when it can go.
func (u *Uninstalling) sharedLine() string {
	const shared = `ValidatingAdmissionPolicy "sa-exec-credential", its binding ` +
		`and Namespace "sa-exec-credential": `
	switch others := u.found.OthersLimited; {
	case others < 0:
		return ""
	case others > 0:
		return shared + ui.Plural(others, "other account") +
			" of the cluster depend on them"
	}
	return shared + "no other account of the cluster has limits; when none is to be set up " +
		"any more: " +
		prepare.KubectlLine(&u.origin, "delete", "--ignore-not-found",
			"validatingadmissionpolicybindings/sa-exec-credential",
			"validatingadmissionpolicies/sa-exec-credential",
			"namespaces/sa-exec-credential")
}

func (u *Uninstalling) step(format string, args ...any) {
	u.report(ui.Step, fmt.Sprintf(format, args...))
}

// Run removes it, after it has been listed: what is in the cluster, and what is here once the
// tokens are refused. Interrupted anywhere, another uninstall finds the rest.
func (u *Uninstalling) Run(ctx context.Context) error {
	for _, line := range u.Lines() {
		u.step("%s", line)
	}
	canary := u.canary(ctx)
	if err := u.removeFromCluster(ctx); err != nil {
		return interruptedOr(ctx, err)
	}
	switch {
	case !canary.Empty():
		if err := awaitRefusal(ctx, u.host, u.admin.Context.Cluster, canary,
			u.report); err != nil {
			return err
		}
	case len(u.found.Devices) > 0:
		u.step("the tokens and bootstrap credentials are refused in some 15 seconds")
	}
	return u.removeFromHere(ctx)
}

func interruptedOr(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return prepare.ErrInterrupted
	}
	return err
}

// canary is bound to the device that is deleted last: when it is refused, the others are.
func (u *Uninstalling) canary(ctx context.Context) secret.String {
	for _, d := range slices.Backward(u.found.Devices) {
		if d.SecretUID != "" {
			return canaryOf(ctx, u.host, u.admin, u.found.Namespace, u.found.Account,
				d.Device)
		}
	}
	return secret.String{}
}

func (u *Uninstalling) removeFromCluster(ctx context.Context) error {
	for _, d := range u.found.Devices {
		if err := deleteDevice(ctx, u.admin, u.found.Namespace, d.Device,
			u.report); err != nil {
			return err
		}
	}
	for _, object := range u.found.Objects {
		if err := u.delete(ctx, object); err != nil {
			return err
		}
	}
	if u.found.Limits {
		result, err := cluster.RemoveLimits(ctx, u.admin.Client, u.found.Namespace,
			u.found.Account)
		if err != nil {
			return err
		}
		u.step("limits in %v: %s", cluster.LimitsRef, result)
	}
	if u.found.Space == nil {
		return nil
	}
	space := *u.found.Space
	if err := u.checkSpace(ctx); err != nil { // things may have come since
		return err
	}
	if u.found.Space == nil {
		u.step("%v: kept: %s", space.Ref, u.found.Kept[len(u.found.Kept)-1].Why)
		return nil
	}
	return u.delete(ctx, space)
}

// delete deletes an object. One that somebody has replaced since it was looked at stays.
func (u *Uninstalling) delete(ctx context.Context, object cluster.Found) error {
	result, err := cluster.Delete(ctx, u.admin.Client, object)
	if errors.Is(err, api.ErrConflict) {
		u.report(ui.Warning,
			fmt.Sprintf("%v: kept: it has been replaced since it was looked at",
				object.Ref))
		return nil
	}
	if err == nil {
		u.step("%v: %s", object.Ref, result)
	}
	return err
}

// removeFromHere forgets the profiles, and the record that no profile names.
func (u *Uninstalling) removeFromHere(ctx context.Context) error {
	var failed []error
	for _, f := range u.local {
		failed = append(failed, f.Run(ctx))
	}
	if u.record != "" {
		dir, err := call.Devices(u.host)
		if err == nil {
			err = dir.Remove(u.record)
		}
		if err == nil {
			u.step("device record %q: removed", u.record)
		}
		failed = append(failed, err)
	}
	return errors.Join(failed...)
}

// deviceRecord is the name of this machine's record for an account of the administrator's cluster.
func deviceRecord(a *admin.Admin, namespace, account string) (string, error) {
	return device.NameFor(profile.Profile{Namespace: namespace, ServiceAccount: account,
		Cluster: a.Context.Cluster})
}
