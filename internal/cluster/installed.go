package cluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
)

// Found is an object as it was looked at: another one of its name is not meant.
type Found struct {
	Ref
	UID string
}

// Kept is what was looked at and stays.
type Kept struct {
	Ref
	Why string
}

// String names the object, or the kind where none is named, and says why it stays.
func (k Kept) String() string {
	if k.Name == "" {
		return k.Resource() + ": " + k.Why
	}
	return k.Ref.String() + ": " + k.Why
}

// Installed is what setups created for one account.
type Installed struct {
	Namespace, Account string
	Devices            []DeviceInfo
	// in the order in which they can go: bindings, roles, the account
	Objects []Found
	Limits  bool   // the account has limits of its own
	Space   *Found // the account's namespace; nil: it stays, or is gone
	Kept    []Kept
	// OthersLimited is how many other accounts have limits; negative: unknown, or there are no
	// limits.
	OthersLimited int
}

// IsEmpty reports whether there is nothing.
func (i *Installed) IsEmpty() bool {
	return len(i.Devices)+len(i.Objects) == 0 && !i.Limits && i.Space == nil
}

// FindInstalled looks for all that setups created for an account: by its name and by the labels
// that it was given. What carries another owner's mark, or was there before, is kept. alsoIn are
// namespaces in which the account may have rights, for callers who cannot list those of all
// namespaces.
func FindInstalled(ctx context.Context, client *api.Client, namespace, account string,
	alsoIn []string) (*Installed, error) {
	i := &Installed{Namespace: namespace, Account: account, OthersLimited: -1}
	var err error
	if i.Devices, err = Devices(ctx, client, namespace, account); err != nil {
		return nil, err
	}
	for _, kind := range []string{"RoleBinding", "ClusterRoleBinding", "Role", "ClusterRole"} {
		if err := i.findRights(ctx, client, kind, append([]string{namespace},
			alsoIn...)); err != nil {
			return nil, err
		}
	}
	i.findForeign(ctx, client)
	live, err := readLimits(ctx, client)
	switch {
	case errors.Is(err, api.ErrForbidden):
		i.keep(LimitsRef, "you cannot read it")
	case err != nil:
		return nil, &ObjectError{Doing: "reading", Object: LimitsRef, Err: err}
	case live.Metadata.ResourceVersion != "":
		key := limitsKey(namespace, account)
		i.Limits = len(live.without(key, key+mintersSuffix)) > 0
		i.OthersLimited = len(live.accounts())
		if i.Limits {
			i.OthersLimited--
		}
	}
	if err := i.findAccount(ctx, client); err != nil {
		return nil, err
	}
	return i, i.findSpace(ctx, client)
}

func (i *Installed) keep(ref Ref, format string, args ...any) {
	i.Kept = append(i.Kept, Kept{ref, fmt.Sprintf(format, args...)})
}

// isOwn holds for what setup has labelled as one of the components, and nobody else as theirs.
func (i *Installed) isOwn(m metadata, components ...string) bool {
	return m.Labels[accountLabel] == labelValue(i.Account) &&
		m.Labels[managedByLabel] == fieldManager &&
		slices.Contains(components, m.Labels[componentLabel])
}

// findRights looks for roles or bindings of a kind in all namespaces, or in those that can be
// looked into.
func (i *Installed) findRights(ctx context.Context, client *api.Client, kind string,
	namespaces []string) error {
	everywhere := Ref{Kind: kind}
	items, err := listMetadata(ctx, client, everywhere.collection(), i.selector())
	if errors.Is(err, api.ErrForbidden) && strings.HasPrefix(kind, "Cluster") {
		i.keep(everywhere, "you cannot list them, so none was looked for")
		return nil
	}
	if errors.Is(err, api.ErrForbidden) {
		slices.Sort(namespaces)
		namespaces = slices.Compact(namespaces)
		i.keep(everywhere, "you cannot list those of all namespaces, so they were looked "+
			"for in %s only",
			strings.Join(namespaces, ", "))
		items, err = i.listEach(ctx, client, kind, append(namespaces, limitsNamespace))
	}
	if err != nil {
		return fmt.Errorf("listing %s of %q: %w", everywhere.Resource(),
			i.Namespace+"/"+i.Account, err)
	}
	for _, item := range items {
		ref := Ref{Kind: kind, Namespace: item.Namespace, Name: item.Name}
		switch {
		case !i.isNamedByUs(ref) || item.DeletionTimestamp != "":
		case i.isOwn(item, componentAccess, componentMinter, componentDevice):
			i.Objects = append(i.Objects, Found{ref, item.UID})
		case item.Labels[managedByLabel] != "" &&
			item.Labels[managedByLabel] != fieldManager:
			i.keep(ref, "it is managed by %q", printable(item.Labels[managedByLabel]))
		default:
			i.keep(ref, "setup did not create it")
		}
	}
	return nil
}

func (i *Installed) selector() map[string]string {
	return map[string]string{"labelSelector": accountLabel + "=" + labelValue(i.Account)}
}

func (i *Installed) listEach(ctx context.Context, client *api.Client, kind string,
	namespaces []string) (all []metadata, err error) {
	for _, namespace := range namespaces {
		ref := Ref{Kind: kind, Namespace: namespace}
		items, err := listMetadata(ctx, client, ref.collection(), i.selector())
		if errors.Is(err, api.ErrForbidden) && namespace == limitsNamespace {
			continue // what is there is of no use without the devices
		}
		if err != nil {
			return nil, err
		}
		all = append(all, items...)
	}
	return all, nil
}

// findForeign names the bindings of others in the account's namespace: they would still count for
// an account of its name. Whoever cannot list them is told nothing.
func (i *Installed) findForeign(ctx context.Context, client *api.Client) {
	var list struct {
		Items []struct {
			Metadata metadata            `json:"metadata"`
			Subjects []map[string]string `json:"subjects"`
		} `json:"items"`
	}
	answer, err := get(ctx, client, Ref{Kind: "RoleBinding",
		Namespace: i.Namespace}.collection(), "", nil)
	if err != nil || decode(answer, &list) != nil {
		return
	}
	for _, item := range list.Items {
		ref := Ref{Kind: "RoleBinding", Namespace: i.Namespace, Name: item.Metadata.Name}
		names := slices.ContainsFunc(item.Subjects, func(s map[string]string) bool {
			return s["kind"] == "ServiceAccount" && s["name"] == i.Account &&
				s["namespace"] == i.Namespace
		})
		if names && item.Metadata.Labels[accountLabel] == "" {
			i.keep(ref, "setup did not create it, and it names the account")
		}
	}
}

// isNamedByUs holds for the names that setup gives roles and bindings of this account, and for what
// an interrupted deletion has left of a device.
func (i *Installed) isNamedByUs(ref Ref) bool {
	w := Wanted{Namespace: i.Namespace, ServiceAccount: i.Account}
	if ref.Namespace == limitsNamespace {
		device, found := strings.CutPrefix(ref.Name, i.Namespace+".")
		return found && i.isLeft(device) || w.isAccessName(ref.Namespace, ref.Name)
	}
	if ref.Namespace != i.Namespace {
		return w.isAccessName(ref.Namespace, ref.Name)
	}
	device := strings.TrimPrefix(strings.TrimPrefix(ref.Name, actingPrefix), mintersPrefix)
	return w.isAccessName(ref.Namespace, ref.Name) || i.isLeft(device) ||
		ref.Name == w.minterRole() || strings.HasPrefix(ref.Name, w.minterRole()+":")
}

// isLeft holds for the name of a device that is not there any more.
func (i *Installed) isLeft(device string) bool {
	return IsDeviceOf(i.Account, device) && !slices.ContainsFunc(i.Devices,
		func(d DeviceInfo) bool { return d.Name == device })
}

// findAccount takes the account when setup created it.
func (i *Installed) findAccount(ctx context.Context, client *api.Client) error {
	ref := Ref{Kind: "ServiceAccount", Namespace: i.Namespace, Name: i.Account}
	found, err := i.own(ctx, client, ref, componentAccount, "setup did not create it")
	if found != nil {
		i.Objects = append(i.Objects, *found)
	}
	return err
}

// findSpace takes the namespace when setup created it for the account. What else is in it is not
// looked at.
func (i *Installed) findSpace(ctx context.Context, client *api.Client) (err error) {
	ref := Ref{Kind: "Namespace", Name: i.Namespace}
	i.Space, err = i.own(ctx, client, ref, componentNamespace,
		"setup did not create it for this account")
	return err
}

// own is an object that setup created, or nil. One that others did is kept, for a reason.
func (i *Installed) own(ctx context.Context, client *api.Client, ref Ref, component,
	others string) (*Found, error) {
	found, err := readMetadata(ctx, client, ref)
	switch {
	case errors.Is(err, api.ErrNotFound):
	case errors.Is(err, api.ErrForbidden):
		i.keep(ref, "you cannot read it")
	case err != nil:
		return nil, &ObjectError{Doing: "reading", Object: ref, Err: err}
	case found.DeletionTimestamp != "":
	case !i.isOwn(found, component):
		i.keep(ref, "%s", others)
	default:
		return &Found{ref, found.UID}, nil
	}
	return nil, nil
}

// listLimit bounds an answer of which one item too many is enough.
const listLimit = "500"

// List returns the names of what a namespace has of a resource.
func (r Resource) List(ctx context.Context, client *api.Client, namespace string) ([]string,
	error) {
	root := "/apis/" + r.Group + "/" + r.Version
	if r.Group == "" {
		root = "/api/" + r.Version
	}
	path := root + "/namespaces/" + namespace + "/" + r.Name
	items, err := listMetadata(ctx, client, path, map[string]string{"limit": listLimit})
	names := make([]string, len(items))
	for i, item := range items {
		names[i] = printable(item.Name)
	}
	return names, err
}

// Qualified is the resource with its group.
func (r Ref) Qualified() string { return Qualified(r.Resource(), r.Group()) }

// Group is the API group, empty for the core group.
func (r Ref) Group() string {
	group, _, found := strings.Cut(collections[r.Kind].apiVersion, "/")
	if !found {
		return ""
	}
	return group
}

// Refs are all objects that would be deleted, and the ConfigMap of limits if it would be changed.
func (i *Installed) Refs() (refs []Ref) {
	for _, d := range i.Devices {
		for _, kind := range []string{"ServiceAccount", "Secret", "RoleBinding", "Role"} {
			refs = append(refs, Ref{Kind: kind, Namespace: i.Namespace, Name: d.Name})
		}
		if !d.Minters.IsEmpty() {
			refs = append(refs, mintingRefs(i.Namespace, d.Name)...)
		}
	}
	for _, f := range i.Objects {
		refs = append(refs, f.Ref)
	}
	if i.Space != nil {
		refs = append(refs, i.Space.Ref)
	}
	if i.Limits {
		refs = append(refs, LimitsRef)
	}
	return refs
}

// Delete deletes what was found, and nothing else that has its name by now. Errors are
// *ObjectError.
func Delete(ctx context.Context, client *api.Client, f Found) (Deletion, error) {
	_, err := deleteByUID(ctx, client, f.Ref, f.UID)
	if errors.Is(err, api.ErrNotFound) {
		return Gone, nil
	}
	if err != nil {
		return "", &ObjectError{Doing: "deleting", Object: f.Ref, Err: err}
	}
	return Deleted, nil
}
