package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
)

// Planned is what would be applied.
type Planned struct {
	Objects []Object
	// Roles are the rules of the roles that exist and are to be bound; those that the caller
	// cannot read are missing.
	Roles map[Ref][]Rule
	// Risks are rights among those that are granted in the account's own namespace, by which
	// it can become another account there, such as "create pods".
	Risks []string
}

// Plan is Objects with what has to be asked of the cluster first: its resources when a role is to
// be created, whether the roles to bind and the namespaces exist, what they give away, and which
// objects have to be written. It only reads, so a dry run can call it.
func Plan(ctx context.Context, client *api.Client, w Wanted) (Planned, error) {
	if err := w.Check(); err != nil {
		return Planned{}, err
	}
	var known Resources
	if w.createsRole() {
		var err error
		if known, err = Discover(ctx, client); err != nil {
			return Planned{}, err
		}
	}
	for _, namespace := range split(w.In) {
		if err := checkNamespace(ctx, client, namespace); err != nil {
			return Planned{}, err
		}
	}
	if err := checkAccount(ctx, client, w); err != nil {
		return Planned{}, err
	}
	rules, err := checkRoles(ctx, client, w)
	if err != nil {
		return Planned{}, err
	}
	objects, err := Objects(w, known)
	if err != nil {
		return Planned{}, err
	}
	own, err := known.rules(split(w.Verbs), split(w.Resources), w.ResourceNames)
	if err != nil {
		return Planned{}, err
	}
	if err := review(ctx, client, objects); err != nil {
		return Planned{}, err
	}
	planned := Planned{Objects: objects, Roles: rules}
	if w.ClusterWide || slices.Contains(w.grantedIn(), w.Namespace) {
		planned.Risks = risksOf(slices.Concat(slices.Concat(
			slices.Collect(maps.Values(rules))...), asRules(own.all)))
	}
	return planned, nil
}

// checkNamespace is an UnknownError for a namespace that rights shall be granted in and that is
// not there.
func checkNamespace(ctx context.Context, client *api.Client, name string) error {
	ref := Ref{Kind: "Namespace", Name: name}
	_, err := readMetadata(ctx, client, ref)
	switch {
	case errors.Is(err, api.ErrNotFound):
		return &UnknownError{What: "namespace", Given: name}
	case err != nil && !errors.Is(err, api.ErrForbidden):
		return &ObjectError{Doing: "reading", Object: ref, Err: err}
	}
	return nil
}

// checkAccount is an UnknownError for an account that is to be left as it is and is not there.
func checkAccount(ctx context.Context, client *api.Client, w Wanted) error {
	if !w.NoRBAC {
		return nil
	}
	ref := w.namespaced("ServiceAccount", w.ServiceAccount)
	_, err := readMetadata(ctx, client, ref)
	switch {
	case errors.Is(err, api.ErrNotFound):
		return &UnknownError{What: "service account", Given: w.Namespace + "/" +
			w.ServiceAccount}
	case err != nil && !errors.Is(err, api.ErrForbidden):
		return &ObjectError{Doing: "reading", Object: ref, Err: err}
	}
	return nil
}

// checkRoles returns the rules of all roles to bind that the caller can read.
func checkRoles(ctx context.Context, client *api.Client, w Wanted) (map[Ref][]Rule, error) {
	var refs []Ref
	for _, role := range split(w.Roles) {
		for _, in := range w.grantedIn() {
			refs = append(refs, Ref{Kind: "Role", Namespace: in, Name: role})
		}
	}
	for _, role := range split(w.ClusterRoles) {
		refs = append(refs, Ref{Kind: "ClusterRole", Name: role})
	}
	all := map[Ref][]Rule{}
	for _, ref := range refs {
		rules, readable, err := checkRole(ctx, client, w, ref)
		if err != nil {
			return nil, err
		}
		if readable {
			all[ref] = rules
		}
	}
	return all, nil
}

// checkRole looks at a role to bind. The API server lets an administrator bind a role that does
// not exist.
func checkRole(ctx context.Context, client *api.Client, w Wanted, ref Ref) (rules []Rule,
	readable bool, err error) {
	answer, err := get(ctx, client, ref.path(), "", nil)
	switch {
	case errors.Is(err, api.ErrNotFound):
		return nil, false, unknownRole(ctx, client, ref)
	case errors.Is(err, api.ErrForbidden):
		return nil, false, nil // to bind a role one need not be allowed to read it
	case err != nil:
		return nil, false, &ObjectError{Doing: "reading", Object: ref, Err: err}
	}
	var role struct {
		Rules []Rule `json:"rules"`
	}
	if err := decode(answer, &role); err != nil {
		return nil, false, &ObjectError{Doing: "reading", Object: ref, Err: err}
	}
	for _, rule := range role.Rules {
		if slices.Contains(rule.Verbs, "*") && slices.Contains(rule.Resources, "*") &&
			!w.AllowAdmin {
			return nil, false, fmt.Errorf("%w: %v", ErrAdmin, ref)
		}
	}
	return role.Rules, true, nil
}

func unknownRole(ctx context.Context, client *api.Client, ref Ref) error {
	unknown := &UnknownError{What: "role", Given: ref.Name}
	if ref.Kind == "ClusterRole" {
		unknown.What = "cluster role"
	}
	// Without the right to list them there are no suggestions, and that is no further error.
	if items, err := listMetadata(ctx, client, ref.collection(), nil); err == nil {
		names := make([]string, len(items))
		for i, item := range items {
			names[i] = item.Name
		}
		unknown.Nearest = nearest(ref.Name, names)
	}
	return unknown
}

// Superseded lists the bindings that earlier setups created for the account and w does not ask
// for: they still count. It is empty when w asks for no rights at all, which leaves those there
// are. Bindings that the caller cannot list are not in it.
func Superseded(ctx context.Context, client *api.Client, w Wanted, objects []Object) ([]Ref,
	error) {
	old, err := w.oldMinters(ctx, client)
	asksNone := !w.createsRole() && len(split(w.Roles))+len(split(w.ClusterRoles)) == 0
	if err != nil || w.NoRBAC || asksNone {
		return old, err
	}
	wanted := map[Ref]bool{}
	for _, object := range objects {
		wanted[object.Ref()] = true
	}
	superseded, all := old, false
	for _, ref := range w.accessCollections() {
		if all && ref.Namespace != "" {
			continue
		}
		found, listed, err := w.accessIn(ctx, client, ref)
		if err != nil {
			return nil, err
		}
		all = all || listed && ref == (Ref{Kind: "RoleBinding"})
		for _, ref := range found {
			if !wanted[ref] && !slices.Contains(superseded, ref) {
				superseded = append(superseded, ref)
			}
		}
	}
	return superseded, nil
}

// oldMinters lists the bindings by which setups of earlier versions let a pod's account mint,
// without any limits, where others mint now.
func (w Wanted) oldMinters(ctx context.Context, client *api.Client) (refs []Ref, err error) {
	if !w.Minting.IsByOthers() {
		return nil, nil
	}
	in := Ref{Kind: "RoleBinding", Namespace: w.Namespace}
	items, err := listMetadata(ctx, client, in.collection(), map[string]string{
		"labelSelector": accountLabel + "=" + labelValue(w.ServiceAccount) + "," +
			componentLabel + "=" + componentMinter})
	if err != nil && !errors.Is(err, api.ErrForbidden) {
		return nil, fmt.Errorf("listing the bindings of %q: %w",
			w.Namespace+"/"+w.ServiceAccount, err)
	}
	for _, item := range items {
		refs = append(refs, Ref{Kind: in.Kind, Namespace: item.Namespace, Name: item.Name})
	}
	return refs, nil
}

// accessCollections are where bindings of the account can be: everywhere, and in its own
// namespaces, which some can list who cannot list all.
func (w Wanted) accessCollections() []Ref {
	refs := []Ref{{Kind: "ClusterRoleBinding"}, {Kind: "RoleBinding"}}
	namespaces := append(slices.Clone(w.grantedIn()), w.Namespace)
	slices.Sort(namespaces)
	for _, in := range slices.Compact(namespaces) {
		refs = append(refs, Ref{Kind: "RoleBinding", Namespace: in})
	}
	return refs
}

// accessIn lists the account's bindings in a collection; listed is false where the caller cannot.
func (w Wanted) accessIn(ctx context.Context, client *api.Client,
	in Ref) (refs []Ref, listed bool, err error) {
	query := map[string]string{"labelSelector": accountLabel + "=" +
		labelValue(w.ServiceAccount) + "," +
		componentLabel + "=" + componentAccess}
	items, err := listMetadata(ctx, client, in.collection(), query)
	if errors.Is(err, api.ErrForbidden) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("listing the bindings of %q: %w",
			w.Namespace+"/"+w.ServiceAccount, err)
	}
	for _, item := range items {
		// A label has the account's name, but another namespace's account can have the
		// same.
		if w.isAccessName(item.Namespace, item.Name) {
			refs = append(refs, Ref{Kind: in.Kind, Namespace: item.Namespace,
				Name: item.Name})
		}
	}
	return refs, true, nil
}

// isAccessName holds for what accessName gives in a namespace, whatever role is bound.
func (w Wanted) isAccessName(in, name string) bool {
	own := w.accessName(in, "")
	return name == own || strings.HasPrefix(name, own+":role:") ||
		strings.HasPrefix(name, own+":cluster-role:")
}

// metadata is all that is read of objects that may hold a secret.
type metadata struct {
	Name              string            `json:"name"`
	Namespace         string            `json:"namespace"`
	UID               string            `json:"uid"`
	CreationTimestamp string            `json:"creationTimestamp"`
	DeletionTimestamp string            `json:"deletionTimestamp"`
	Labels            map[string]string `json:"labels"`
	Annotations       map[string]string `json:"annotations"`
	Finalizers        []string          `json:"finalizers"`
}

// listMetadata has the server leave out all but the metadata (KEP-2334).
func listMetadata(ctx context.Context, client *api.Client, path string,
	query map[string]string) ([]metadata, error) {
	answer, err := get(ctx, client, path,
		"application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1", query)
	if err != nil {
		return nil, err
	}
	var list struct {
		Items []struct {
			Metadata metadata `json:"metadata"`
		} `json:"items"`
	}
	if err := decode(answer, &list); err != nil {
		return nil, err
	}
	items := make([]metadata, len(list.Items))
	for i, item := range list.Items {
		items[i] = item.Metadata
	}
	return items, nil
}

func readMetadata(ctx context.Context, client *api.Client, ref Ref) (metadata, error) {
	answer, err := get(ctx, client, ref.path(),
		"application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1", nil)
	if err != nil {
		return metadata{}, err
	}
	return decodeMetadata(answer)
}

func decodeMetadata(answer []byte) (metadata, error) {
	var object struct {
		Metadata metadata `json:"metadata"`
	}
	if err := json.Unmarshal(answer, &object); err != nil || object.Metadata.UID == "" {
		return metadata{}, fmt.Errorf("%w: it is not the object", api.ErrAnswer)
	}
	return object.Metadata, nil
}
