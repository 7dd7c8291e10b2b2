package cluster

import "strings"

// The values of the component label.
const (
	componentNamespace = "namespace"
	componentAccount   = "account"
	componentBootstrap = "bootstrap"
	componentAccess    = "access"
	componentCap       = "cap"
	componentDevice    = "device"
)

// prefix begins the names of roles and bindings for the account. A colon cannot be in the name of a
// service account or namespace, so no two accounts share a name.
const prefix = "sa-exec-credential:"

// Objects returns what w asks for, in the order to apply it. known is what the cluster has, and is
// looked at only for the resources of a role to create. Errors are those of Wanted.Check, or an
// UnknownError.
func Objects(w Wanted, known Resources) ([]Object, error) {
	if err := w.Check(); err != nil {
		return nil, err
	}
	rules, err := known.rules(split(w.Verbs), split(w.Resources), w.ResourceNames)
	if err != nil {
		return nil, err
	}
	var objects []Object
	if !w.NoRBAC {
		objects = append(objects,
			newObject(Ref{Kind: "Namespace", Name: w.Namespace}, w.ServiceAccount,
				componentNamespace),
			newObject(w.namespaced("ServiceAccount", w.ServiceAccount), w.ServiceAccount,
				componentAccount))
	}
	objects = append(objects, w.bootstrap()...)
	objects = append(objects, w.minter()...)
	objects = append(objects, w.newRole(rules)...)
	objects = append(objects, w.existing()...)
	return append(objects, w.caps()...), nil
}

func (w Wanted) namespaced(kind, name string) Ref {
	return Ref{Kind: kind, Namespace: w.Namespace, Name: name}
}

// bootstrap is the dedicated minter: an account with one right, which no pod gets a token of
// unasked.
func (w Wanted) bootstrap() []Object {
	if !w.Bootstrap {
		return nil
	}
	name := w.bootstrapAccount()
	account := newObject(w.namespaced("ServiceAccount", name), w.ServiceAccount,
		componentBootstrap).
		with("automountServiceAccountToken", false)
	role := newObject(w.namespaced("Role", name), w.ServiceAccount, componentBootstrap).
		with("rules", mintingRules(w.ServiceAccount, name))
	binding := newObject(w.namespaced("RoleBinding", name), w.ServiceAccount, componentBootstrap).
		with("roleRef", roleRef("Role", name)).
		with("subjects", subjects(Subject{Namespace: w.Namespace, Name: name}))
	return w.lenient(account, role, binding)
}

// minter lets an account or user of others mint for this account only.
func (w Wanted) minter() []Object {
	if w.Minter == nil {
		return nil
	}
	role := shorten(prefix+w.ServiceAccount+":minter", maxName)
	binding := shorten(role+":"+strings.NewReplacer("/", ":", "%",
		":").Replace(w.Minter.Username()), maxName)
	return w.lenient(
		newObject(w.namespaced("Role", role), w.ServiceAccount, componentBootstrap).
			with("rules", mintingRules(w.ServiceAccount)),
		newObject(w.namespaced("RoleBinding", binding), w.ServiceAccount, componentBootstrap).
			with("roleRef", roleRef("Role", role)).
			with("subjects", subjects(*w.Minter)))
}

// lenient marks what an administrator prepared already for those who cannot read it.
func (w Wanted) lenient(objects ...Object) []Object {
	if w.NoRBAC {
		for i := range objects {
			objects[i].lenient = MinterUnknown
		}
	}
	return objects
}

func mintingRules(accounts ...string) []any {
	return []any{rule([]string{"create"}, "", []string{"serviceaccounts/token"}, accounts)}
}

// newRole is the role of --verb and --resource with its binding. What lives in no namespace cannot
// be granted in one: it gets a ClusterRole of its own, so that the rest stays within the namespace.
func (w Wanted) newRole(rules grants) []Object {
	inNamespace, everywhere := rules.namespaced, rules.clusterScoped
	if w.ClusterWide {
		inNamespace, everywhere = nil, rules.all
	}
	var objects []Object
	if len(inNamespace) > 0 {
		name := shorten(prefix+w.ServiceAccount, maxName)
		objects = append(objects,
			newObject(w.namespaced("Role", name), w.ServiceAccount, componentAccess).with("rules",
				inNamespace),
			w.binding(name, "Role", name, false))
	}
	if len(everywhere) > 0 {
		name := shorten(prefix+w.Namespace+":"+w.ServiceAccount, maxName)
		objects = append(objects,
			newObject(Ref{Kind: "ClusterRole", Name: name}, w.ServiceAccount,
				componentAccess).with("rules", everywhere),
			w.binding(name, "ClusterRole", name, true))
	}
	return objects
}

// existing binds the roles that others created.
func (w Wanted) existing() []Object {
	var objects []Object
	for _, role := range split(w.Roles) {
		name := shorten(prefix+w.ServiceAccount+":role:"+role, maxName)
		objects = append(objects, w.binding(name, "Role", role, false))
	}
	for _, role := range split(w.ClusterRoles) {
		account := w.ServiceAccount
		if w.ClusterWide {
			account = w.Namespace + ":" + account
		}
		name := shorten(prefix+account+":cluster-role:"+role, maxName)
		objects = append(objects, w.binding(name, "ClusterRole", role, w.ClusterWide))
	}
	return objects
}

func (w Wanted) binding(name, kind, role string, clusterWide bool) Object {
	ref := w.namespaced("RoleBinding", name)
	if clusterWide {
		ref = Ref{Kind: "ClusterRoleBinding", Name: name}
	}
	return newObject(ref, w.ServiceAccount, componentAccess).
		with("roleRef", roleRef(kind, role)).
		with("subjects", subjects(Subject{Namespace: w.Namespace, Name: w.ServiceAccount}))
}

const rbacGroup = "rbac.authorization.k8s.io"

func roleRef(kind, name string) map[string]any {
	return map[string]any{"apiGroup": rbacGroup, "kind": kind, "name": name}
}

func subjects(s Subject) []any {
	if s.Namespace == "" {
		return []any{map[string]any{"kind": "User", "apiGroup": rbacGroup, "name": s.Name}}
	}
	return []any{map[string]any{"kind": "ServiceAccount", "namespace": s.Namespace, "name": s.Name}}
}

func rule(verbs []string, group string, resources, names []string) map[string]any {
	r := map[string]any{"verbs": list(verbs), "apiGroups": []any{group},
		"resources": list(resources)}
	if len(names) > 0 {
		r["resourceNames"] = list(names)
	}
	return r
}

func list(values []string) []any {
	converted := make([]any, len(values))
	for i, value := range values {
		converted[i] = value
	}
	return converted
}
