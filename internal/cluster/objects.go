package cluster

// The values of the component label.
const (
	componentNamespace = "namespace"
	componentAccount   = "account"
	componentMinter    = "minter"
	componentAccess    = "access"
	componentPolicy    = "policy"
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
			newObject(w.namespaced("ServiceAccount", w.ServiceAccount),
				w.ServiceAccount,
				componentAccount))
	}
	objects = append(objects, w.created(rules)...)
	objects = append(objects, w.existing()...)
	if w.Minting.AsDevice || w.Limits {
		namespace := newObject(Ref{Kind: "Namespace", Name: limitsNamespace}, "",
			componentNamespace)
		if !w.Minting.AsDevice {
			namespace.lenient = LimitsForbidden
		}
		objects = append(objects, namespace)
	}
	if w.Limits {
		objects = append(objects, policyObjects()...)
	}
	return objects, nil
}

func (w Wanted) namespaced(kind, name string) Ref {
	return Ref{Kind: kind, Namespace: w.Namespace, Name: name}
}

// minterRole is what setups before version 2 of the policy created for a pod's account.
func (w Wanted) minterRole() string { return shorten(prefix+w.ServiceAccount+":minter", maxName) }

func mintingRules(accounts ...string) []any {
	return []any{rule([]string{"create"}, "", []string{"serviceaccounts/token"}, accounts)}
}

// grantedIn are the namespaces of the rights.
func (w Wanted) grantedIn() []string {
	if in := split(w.In); len(in) > 0 {
		return in
	}
	return []string{w.Namespace}
}

// accessName is the name of what grants rights in a namespace, or for the whole cluster where
// that is empty. In the account's own namespace the account's name tells it; elsewhere another
// namespace's account can have the same.
func (w Wanted) accessName(in, ending string) string {
	account := w.ServiceAccount
	if in != w.Namespace {
		account = w.Namespace + ":" + account
	}
	return shorten(prefix+account+ending, maxName)
}

// created is the role of --verb and --resource with its bindings. What lives in no namespace
// cannot be granted in one: it gets a ClusterRole of its own, so that the rest stays within the
// namespaces.
func (w Wanted) created(rules grants) []Object {
	inNamespace, everywhere := rules.namespaced, rules.clusterScoped
	if w.ClusterWide {
		inNamespace, everywhere = nil, rules.all
	}
	var objects []Object
	for _, in := range w.grantedIn() {
		if len(inNamespace) > 0 {
			name := w.accessName(in, "")
			objects = append(objects,
				newObject(Ref{Kind: "Role", Namespace: in, Name: name},
					w.ServiceAccount, componentAccess).with("rules",
					inNamespace),
				w.binding(in, name, "Role", name))
		}
	}
	if len(everywhere) > 0 {
		name := w.accessName("", "")
		objects = append(objects,
			newObject(Ref{Kind: "ClusterRole", Name: name}, w.ServiceAccount,
				componentAccess).with("rules", everywhere),
			w.binding("", name, "ClusterRole", name))
	}
	return objects
}

// existing binds the roles that others created.
func (w Wanted) existing() []Object {
	var objects []Object
	in := w.grantedIn()
	for _, role := range split(w.Roles) {
		for _, in := range in {
			objects = append(objects, w.binding(in, w.accessName(in, ":role:"+role),
				"Role", role))
		}
	}
	if w.ClusterWide {
		in = []string{""}
	}
	for _, role := range split(w.ClusterRoles) {
		for _, in := range in {
			objects = append(objects, w.binding(in, w.accessName(in,
				":cluster-role:"+role), "ClusterRole", role))
		}
	}
	return objects
}

// binding binds a role in a namespace, or in the whole cluster where that is empty.
func (w Wanted) binding(in, name, kind, role string) Object {
	ref := Ref{Kind: "RoleBinding", Namespace: in, Name: name}
	if in == "" {
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
	return []any{map[string]any{"kind": "ServiceAccount", "namespace": s.Namespace,
		"name": s.Name}}
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
