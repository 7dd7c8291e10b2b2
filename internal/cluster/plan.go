package cluster

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
)

// Plan is Objects with what has to be asked of the cluster first: its resources when a role is to
// be created, and whether the roles to bind exist and give everything away. It only reads, so a dry
// run can call it.
func Plan(ctx context.Context, client *api.Client, w Wanted) ([]Object, error) {
	if err := w.Check(); err != nil {
		return nil, err
	}
	var known Resources
	if w.createsRole() {
		var err error
		if known, err = Discover(ctx, client); err != nil {
			return nil, err
		}
	}
	for _, role := range split(w.Roles) {
		if err := checkRole(ctx, client, w, w.namespaced("Role", role)); err != nil {
			return nil, err
		}
	}
	for _, role := range split(w.ClusterRoles) {
		if err := checkRole(ctx, client, w, Ref{Kind: "ClusterRole", Name: role}); err != nil {
			return nil, err
		}
	}
	return Objects(w, known)
}

// checkRole looks at a role to bind. The API server lets an administrator bind a role that does not
// exist.
func checkRole(ctx context.Context, client *api.Client, w Wanted, ref Ref) error {
	answer, err := get(ctx, client, ref.path(), "", nil)
	switch {
	case errors.Is(err, api.ErrNotFound):
		return unknownRole(ctx, client, ref)
	case errors.Is(err, api.ErrForbidden):
		return nil // to bind a role one need not be allowed to read it
	case err != nil:
		return &ObjectError{Doing: "reading", Object: ref, Err: err}
	}
	var role struct {
		Rules []struct{ Verbs, Resources []string }
	}
	if err := decode(answer, &role); err != nil {
		return &ObjectError{Doing: "reading", Object: ref, Err: err}
	}
	for _, rule := range role.Rules {
		if slices.Contains(rule.Verbs, "*") && slices.Contains(rule.Resources, "*") &&
			!w.AllowAdmin {
			return fmt.Errorf("%w: %v", ErrAdmin, ref)
		}
	}
	return nil
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

// Superseded lists the bindings that earlier setups created for the account and w does not ask for:
// they still count. It is empty when w asks for no rights at all, which leaves those there are.
// Bindings that the caller cannot list are not in it.
func Superseded(ctx context.Context, client *api.Client, w Wanted,
	objects []Object) ([]Ref, error) {
	if w.NoRBAC || !w.createsRole() && len(split(w.Roles))+len(split(w.ClusterRoles)) == 0 {
		return nil, nil
	}
	wanted := map[Ref]bool{}
	for _, object := range objects {
		wanted[object.Ref()] = true
	}
	query := map[string]string{"labelSelector": accountLabel + "=" + labelValue(w.ServiceAccount) +
		"," + componentLabel + "=" + componentAccess}
	var superseded []Ref
	for _, ref := range []Ref{w.namespaced("RoleBinding", ""), {Kind: "ClusterRoleBinding"}} {
		items, err := listMetadata(ctx, client, ref.collection(), query)
		if err != nil && !errors.Is(err, api.ErrForbidden) {
			return nil, fmt.Errorf("listing the bindings of %q: %w",
				w.Namespace+"/"+w.ServiceAccount, err)
		}
		for _, item := range items {
			ref.Name = item.Name
			// A binding for the cluster has the account's label, but may be for another namespace's
			// account.
			mine := ref.Namespace != "" || w.isClusterName(item.Name)
			if mine && !wanted[ref] {
				superseded = append(superseded, ref)
			}
		}
	}
	return superseded, nil
}

// isClusterName holds for names that binding gives what belongs to no namespace.
func (w Wanted) isClusterName(name string) bool {
	own := prefix + w.Namespace + ":" + w.ServiceAccount
	return name == own || strings.HasPrefix(name, own+":")
}

// metadata is all that is read of objects that may hold a secret.
type metadata struct {
	Name              string            `json:"name"`
	UID               string            `json:"uid"`
	CreationTimestamp string            `json:"creationTimestamp"`
	DeletionTimestamp string            `json:"deletionTimestamp"`
	Labels            map[string]string `json:"labels"`
	Annotations       map[string]string `json:"annotations"`
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
