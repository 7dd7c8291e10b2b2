package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// A minter is whoever may mint as a device beside the machine that it is: a person, a CI system, a
// pod. Where the API server knows constrained impersonation (KEP-5284) a minter may do one thing:
// act as the device, to create tokens of the one account.
//
// Whom they act as cannot be a ServiceAccount of the account's namespace: whoever has edit there
// can impersonate all of them, and admission sees nothing but whom somebody acts as. So it is one
// of the namespace of the limits, where no account of a workload has rights. There is no object of
// that name, and so no token of it.

// Minting says who else mints as a device, and how.
type Minting struct {
	Minters profile.Minters
	// AsDevice has them act as the device. Otherwise they have the right to create tokens
	// themselves, which the policy limits to what a device may ask for.
	AsDevice bool
}

// IsByOthers reports whether anybody but the machine itself mints.
func (m Minting) IsByOthers() bool { return m.AsDevice || !m.Minters.IsEmpty() }

// actingName is unambiguous, because a namespace's name has no dot: what is before "-device-" in
// the rest is the account.
func actingName(namespace, device string) string { return namespace + "." + device }

// ActingUser is whom the minters of a device act as.
func ActingUser(namespace, device string) string {
	return Subject{Namespace: limitsNamespace, Name: actingName(namespace, device)}.Username()
}

// ActingRole is where the roles are that let minters act as devices, of no name.
func ActingRole() Ref { return Ref{Kind: "Role", Namespace: limitsNamespace} }

// maxActing is the longest of a namespace and an account together, in bytes, that leaves room for
// what else is in the name that minters act as.
const maxActing = maxName - len(".") - len(deviceInfix) - maxHostPart - len("-") - 2*randomBytes

// CheckMinting is an ErrUsage for minters that an account cannot have.
func CheckMinting(namespace, account string, m Minting) error {
	if err := m.Minters.CheckFor(namespace, account); err != nil {
		return fmt.Errorf("%w: %w", ErrUsage, err)
	}
	if m.AsDevice && len(namespace)+len(account) > maxActing {
		return fmt.Errorf("%w: invalid service account %q: with minters its name and its "+
			"namespace's must be no more than %d bytes", ErrUsage, account, maxActing)
	}
	return nil
}

// The names of what lets others mint as a device; the device's own name ends them, which keeps
// accounts that are managed from changing them.
const (
	actingPrefix  = "acting:"  // what may be done by who acts as the device
	mintersPrefix = "minters:" // who may act as the device, or mint
)

// mintingObjects let others mint as a device.
func mintingObjects(d DeviceSpec) []Object {
	m := d.Minting
	pair := func(ref Ref, rules []any, to []any) []Object {
		if len(to) == 0 {
			return nil
		}
		binding := Ref{Kind: "RoleBinding", Namespace: ref.Namespace, Name: ref.Name}
		return []Object{
			newObject(ref, d.Account, componentDevice).with("rules", rules),
			newObject(binding, d.Account, componentDevice).
				with("roleRef", roleRef("Role", ref.Name)).with("subjects", to)}
	}
	minters := Ref{Kind: "Role", Namespace: d.Namespace, Name: mintersPrefix + d.Name}
	to := mintersAsSubjects(m.Minters)
	if !m.AsDevice {
		return pair(minters, mintingRules(d.Account), to)
	}
	name := actingName(d.Namespace, d.Name)
	return slices.Concat(
		pair(Ref{Kind: "Role", Namespace: d.Namespace, Name: actingPrefix + d.Name},
			mintingRules(d.Account), subjects(Subject{limitsNamespace, name})),
		pair(minters, []any{rule([]string{"impersonate-on:serviceaccount:create"}, "",
			[]string{"serviceaccounts/token"}, []string{d.Account})}, to),
		pair(Ref{Kind: "Role", Namespace: limitsNamespace, Name: name},
			[]any{rule([]string{"impersonate:serviceaccount"}, "authentication.k8s.io",
				[]string{"serviceaccounts"}, []string{name})}, to))
}

// mintingRefs are the names of all that mintingObjects may create, bindings first.
func mintingRefs(namespace, device string) (refs []Ref) {
	for _, kind := range []string{"RoleBinding", "Role"} {
		refs = append(refs, Ref{kind, limitsNamespace, actingName(namespace, device)},
			Ref{kind, namespace, mintersPrefix + device},
			Ref{kind, namespace, actingPrefix + device})
	}
	return refs
}

func mintersAsSubjects(m profile.Minters) (list []any) {
	named := func(kind, name string) map[string]any {
		return map[string]any{"kind": kind, "apiGroup": rbacGroup, "name": name}
	}
	for _, name := range m.Users {
		list = append(list, named("User", name))
	}
	for _, name := range m.Groups {
		list = append(list, named("Group", name))
	}
	for _, account := range m.Accounts {
		namespace, name, _ := strings.Cut(account, "/")
		list = append(list, subjects(Subject{Namespace: namespace, Name: name})...)
	}
	return list
}

// binding has the fields of a RoleBinding that count here.
type binding struct {
	Metadata metadata `json:"metadata"`
	Subjects []struct {
		Kind      string `json:"kind"`
		Namespace string `json:"namespace"`
		Name      string `json:"name"`
	} `json:"subjects"`
}

func (b binding) minters() (m profile.Minters) {
	for _, s := range b.Subjects {
		switch s.Kind {
		case "User":
			m = m.And(profile.MinterCalled(s.Name))
		case "Group":
			m = m.And(profile.Minters{Groups: []string{s.Name}})
		case "ServiceAccount":
			m = m.And(profile.Minters{Accounts: []string{s.Namespace + "/" + s.Name}})
		}
	}
	return m
}

// MintersOf are who else may mint as a device; none where there is no such device. Errors are
// *ObjectError.
func MintersOf(ctx context.Context, client *api.Client, namespace, device string) (profile.Minters,
	error) {
	ref := Ref{Kind: "RoleBinding", Namespace: namespace, Name: mintersPrefix + device}
	var b binding
	answer, err := get(ctx, client, ref.path(), "", nil)
	if err == nil {
		err = decode(answer, &b)
	}
	if err != nil && !errors.Is(err, api.ErrNotFound) {
		return profile.Minters{}, &ObjectError{Doing: "reading", Object: ref, Err: err}
	}
	return b.minters(), nil
}

// addMinters notes who may mint as each of some devices. Whoever cannot list bindings is not told.
func addMinters(ctx context.Context, client *api.Client, namespace string,
	devices []DeviceInfo) {
	var list struct {
		Items []binding `json:"items"`
	}
	bindings := Ref{Kind: "RoleBinding", Namespace: namespace}
	answer, err := get(ctx, client, bindings.collection(), "", nil)
	if err != nil || decode(answer, &list) != nil {
		return
	}
	for _, b := range list.Items {
		name, found := strings.CutPrefix(b.Metadata.Name, mintersPrefix)
		i := slices.IndexFunc(devices, func(d DeviceInfo) bool { return d.Name == name })
		if found && i >= 0 {
			devices[i].Minters = b.minters()
		}
	}
}

// KnowsActing reports whether what an API server has answered to one who wanted to act as somebody
// without the right to comes from one that knows constrained impersonation: it names the rights
// that it has looked for.
func KnowsActing(answer error) bool {
	var status *api.StatusError
	return errors.As(answer, &status) && status.Kind == api.ErrForbidden &&
		(strings.Contains(status.Message, " impersonate-on:serviceaccount:") ||
			strings.Contains(status.Message, " impersonate:serviceaccount "))
}
