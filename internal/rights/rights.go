// Package rights finds out what a caller is not allowed to, before anything is changed, and what
// an administrator runs to allow it.
//
// It asks the API server's authorizer and changes nothing. Of this module it imports internal/api,
// internal/cluster, internal/parallel and internal/ui.
package rights

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/cluster"
	"github.com/sa-exec-credential/sa-exec-credential/internal/parallel"
)

// Right is something to do with an object, or with every object of a resource where Name is empty.
type Right struct {
	Verb      string
	Group     string // empty for the core group
	Resource  string // plural; a subresource stands behind a slash
	Namespace string // empty: of the whole cluster
	Name      string
}

// On is the right to do something with an object, or with all of its kind.
func On(verb string, ref cluster.Ref) Right {
	return Right{Verb: verb, Group: ref.Group(), Resource: ref.Resource(),
		Namespace: ref.Namespace, Name: ref.Name}
}

func (r Right) attributes() map[string]any {
	resource, sub, _ := strings.Cut(r.Resource, "/")
	return map[string]any{"verb": r.Verb, "group": r.Group, "resource": resource,
		"subresource": sub, "namespace": r.Namespace, "name": r.Name}
}

// questions is how many are asked at once.
const questions = 8

// Missing are the rights of a list that the caller does not have, each once. Whoever has all
// rights is asked one question; whoever has one for all objects of a resource is asked about none
// of them by its name. It is empty where the caller cannot be told.
func Missing(ctx context.Context, client *api.Client, list []Right) ([]Right, error) {
	everything := Right{Verb: "*", Group: "*", Resource: "*"}
	if len(list) == 0 {
		return nil, nil
	}
	if left, err := denied(ctx, client, []Right{everything}); err != nil || len(left) == 0 {
		return nil, err
	}
	named := map[Right][]Right{}
	var kinds []Right
	for _, r := range list {
		of := r
		of.Name = ""
		if named[of] == nil {
			kinds = append(kinds, of)
		}
		if !slices.Contains(named[of], r) {
			named[of] = append(named[of], r)
		}
	}
	left, err := denied(ctx, client, kinds)
	if err != nil {
		return nil, err
	}
	var further, missing []Right
	for _, of := range left {
		for _, r := range named[of] {
			if r.Name == "" {
				missing = append(missing, r)
			} else {
				further = append(further, r)
			}
		}
	}
	left, err = denied(ctx, client, further)
	return append(missing, left...), err
}

// denied asks about each right.
func denied(ctx context.Context, client *api.Client, list []Right) (left []Right, err error) {
	answers, problems := make([]bool, len(list)), make([]error, len(list))
	parallel.ForEach(len(list), questions, func(i int) {
		answers[i], problems[i] = cluster.Allowed(ctx, client, list[i].attributes())
	})
	for i, r := range list {
		switch err := problems[i]; {
		case api.IsAny(err, api.ErrForbidden, api.ErrNotFound): // it is not to be told
		case err != nil:
			return nil, fmt.Errorf("asking what you are allowed to: %w", err)
		case !answers[i]:
			left = append(left, r)
		}
	}
	return left, nil
}

// ForDevice are the rights to create a device of an account, and to request tokens of it. A
// device's own right to create tokens can only be given by one who has it.
func ForDevice(namespace string) []Right {
	list := []Right{{Verb: "create", Resource: "serviceaccounts/token", Namespace: namespace}}
	for _, kind := range []string{"Secret", "ServiceAccount", "Role", "RoleBinding"} {
		list = append(list, On("create", cluster.Ref{Kind: kind, Namespace: namespace}))
	}
	return list
}

// ForMinters are the rights to let others mint as a device, beside ForDevice. What they are granted
// few hold themselves, so it takes those to grant it all the same.
// Who may already has to be read: they still may.
func ForMinters(namespace string, m cluster.Minting) (list []Right) {
	if !m.IsByOthers() {
		return nil
	}
	list = []Right{On("get", cluster.Ref{Kind: "RoleBinding", Namespace: namespace})}
	if !m.AsDevice {
		return list
	}
	role := cluster.Ref{Kind: "Role", Namespace: namespace}
	there := cluster.ActingRole()
	binding := cluster.Ref{Kind: "RoleBinding", Namespace: there.Namespace}
	return append(list, On("escalate", role), On("bind", role), On("create", there),
		On("escalate", there), On("bind", there), On("create", binding))
}

// ForObjects are the rights to write what has to be. A patch that creates an object needs both. An
// account that cannot be read may have to be created, and then is read again.
func ForObjects(objects []cluster.Object) (list []Right) {
	for _, object := range objects {
		written, exists := object.IsWritten()
		if object.IsUnseen() && object.Ref().Kind == "ServiceAccount" {
			written = true
			list = append(list, On("get", object.Ref()))
		}
		if !written {
			continue
		}
		list = append(list, On("patch", object.Ref()))
		if !exists {
			list = append(list, On("create", object.Ref()))
		}
	}
	return list
}

// Ungrantable is what a caller cannot give away.
type Ungrantable struct {
	Bind    []Right // of roles that exist: the right to bind one
	NotHeld []Right // of roles to be created: what the caller does not hold
	// Perhaps are those of Bind where the caller cannot read the role, but may hold what it
	// grants: only a try tells.
	Perhaps []Right
}

// CheckGrants finds what the API server would take for an escalation: nobody grants what they do
// not hold, but for those who can bind or escalate roles
// (https://kubernetes.io/docs/reference/access-authn-authz/rbac/#privilege-escalation-prevention-and-bootstrapping).
func CheckGrants(ctx context.Context, client *api.Client,
	planned cluster.Planned) (u Ungrantable, err error) {
	grants := grantsOf(planned)
	left, err := Missing(ctx, client, slices.Collect(maps.Keys(grants)))
	if err != nil {
		return u, err
	}
	slices.SortFunc(left, compare)
	for _, r := range left {
		if !grants[r].known {
			u.Perhaps = append(u.Perhaps, r)
			continue
		}
		lacking, err := notHeld(ctx, client, r.Namespace, grants[r].rules)
		switch {
		case err != nil:
			return u, err
		case len(lacking) == 0:
		case r.Verb == "bind" && !grants[r].created:
			u.Bind = append(u.Bind, r)
		default: // of a role to be created one holds the rules, and then can bind it
			u.NotHeld = append(u.NotHeld, lacking...)
		}
	}
	return u, nil
}

// grant is what an object gives away.
type grant struct {
	rules   []cluster.Rule
	known   bool // false: the caller cannot read the role
	created bool // the role itself is among the objects
}

// grantsOf maps the rights that allow what is to be granted, whoever grants it.
func grantsOf(planned cluster.Planned) map[Right]grant {
	own := map[cluster.Ref][]cluster.Rule{}
	grants := map[Right]grant{}
	for _, object := range planned.Objects {
		rules := object.Rules()
		if len(rules) == 0 {
			continue
		}
		own[object.Ref()] = rules
		if written, _ := object.IsWritten(); written {
			grants[On("escalate", object.Ref())] = grant{rules, true, true}
		}
	}
	for _, object := range planned.Objects {
		role, isBinding := object.RoleRef()
		if written, _ := object.IsWritten(); !isBinding || !written {
			continue
		}
		right := On("bind", role)
		if role.Kind == "ClusterRole" {
			role.Namespace = "" // where it is; the right counts where it is bound
		}
		rules, created := own[role]
		known := created
		if !created {
			rules, known = planned.Roles[role]
		}
		grants[right] = grant{rules, known, created}
	}
	return grants
}

func compare(a, b Right) int {
	for _, pair := range [][2]string{{a.Namespace, b.Namespace}, {a.Resource, b.Resource},
		{a.Name, b.Name}, {a.Verb, b.Verb}} {
		if order := strings.Compare(pair[0], pair[1]); order != 0 {
			return order
		}
	}
	return 0
}

// nowhere is no namespace: what is held there is held in the whole cluster.
const nowhere = "sa-exec-credential.nowhere"

// notHeld are the parts of rules that the caller does not hold in a namespace, or in the whole
// cluster where that is empty.
func notHeld(ctx context.Context, client *api.Client, namespace string,
	rules []cluster.Rule) (lacking []Right, err error) {
	in := namespace
	if in == "" {
		in = nowhere
	}
	held, _, err := cluster.HeldRules(ctx, client, in)
	switch {
	case api.IsAny(err, api.ErrForbidden, api.ErrNotFound):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("asking what you hold: %w", err)
	}
	for _, rule := range rules {
		for _, r := range partsOf(rule, namespace) {
			if !slices.ContainsFunc(held, r.isIn) && !slices.Contains(lacking, r) {
				lacking = append(lacking, r)
			}
		}
	}
	return lacking, nil
}

// partsOf are a rule's single rights, paths aside, which no role of setup's grants.
func partsOf(rule cluster.Rule, namespace string) (parts []Right) {
	names := rule.ResourceNames
	if len(names) == 0 {
		names = []string{""}
	}
	for _, group := range rule.APIGroups {
		for _, resource := range rule.Resources {
			for _, verb := range rule.Verbs {
				for _, name := range names {
					part := Right{verb, group, resource, namespace, name}
					parts = append(parts, part)
				}
			}
		}
	}
	return parts
}

// isIn reports whether a rule holds the right, as RBAC compares them (k8s.io/component-helpers,
// auth/rbac/validation).
func (r Right) isIn(rule cluster.Rule) bool {
	has := func(list []string, one string) bool {
		return slices.Contains(list, "*") || slices.Contains(list, one)
	}
	_, sub, _ := strings.Cut(r.Resource, "/")
	return has(rule.Verbs, r.Verb) && has(rule.APIGroups, r.Group) &&
		(has(rule.Resources, r.Resource) ||
			sub != "" && slices.Contains(rule.Resources, "*/"+sub)) &&
		(len(rule.ResourceNames) == 0 ||
			r.Name != "" && slices.Contains(rule.ResourceNames, r.Name))
}
