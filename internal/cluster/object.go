package cluster

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"sigs.k8s.io/yaml"
)

// The labels of all that is created here. What carries accountLabel is ours; tools that put their
// own mark on objects, such as Argo CD and Helm, overwrite labels of app.kubernetes.io.
const (
	nameLabel      = "app.kubernetes.io/name"
	componentLabel = "app.kubernetes.io/component"
	partOfLabel    = "app.kubernetes.io/part-of"
	managedByLabel = "app.kubernetes.io/managed-by"
	accountLabel   = "sa-exec-credential/account"
)

// Object is one object of the cluster as it is wanted.
type Object struct {
	content map[string]any
	// lenient objects are done without when the caller cannot read or write them, or the
	// server has no such kind.
	lenient WarningKind
	// what Plan has found out: what has to be done, or why it cannot be told or done
	decision Result
	problem  error
	inAbsent bool // its namespace has to be created first
}

// collections maps the kinds created here to where their objects are found.
var collections = map[string]struct{ apiVersion, resource string }{
	"Namespace":          {"v1", "namespaces"},
	"ServiceAccount":     {"v1", "serviceaccounts"},
	"Secret":             {"v1", "secrets"},
	"ConfigMap":          {"v1", "configmaps"},
	"Role":               {"rbac.authorization.k8s.io/v1", "roles"},
	"RoleBinding":        {"rbac.authorization.k8s.io/v1", "rolebindings"},
	"ClusterRole":        {"rbac.authorization.k8s.io/v1", "clusterroles"},
	"ClusterRoleBinding": {"rbac.authorization.k8s.io/v1", "clusterrolebindings"},
	"ValidatingAdmissionPolicy": {"admissionregistration.k8s.io/v1",
		"validatingadmissionpolicies"},
	"ValidatingAdmissionPolicyBinding": {"admissionregistration.k8s.io/v1",
		"validatingadmissionpolicybindings"},
}

// newObject returns an object that has labels for the account and no more.
func newObject(ref Ref, account, component string) Object {
	metadata := map[string]any{"name": ref.Name, "labels": labels(account, component)}
	if ref.Namespace != "" {
		metadata["namespace"] = ref.Namespace
	}
	return Object{content: map[string]any{
		"apiVersion": collections[ref.Kind].apiVersion, "kind": ref.Kind,
		"metadata": metadata}}
}

func labels(account, component string) map[string]any {
	labels := map[string]any{
		nameLabel:      fieldManager,
		componentLabel: component,
		partOfLabel:    fieldManager,
		managedByLabel: fieldManager,
	}
	if account != "" {
		labels[accountLabel] = labelValue(account)
	}
	return labels
}

// labelValue is the account's name as a label's value, which is shorter than a name may be.
func labelValue(account string) string { return shorten(account, maxLabel) }

func (o Object) with(field string, value any) Object {
	o.content[field] = value
	return o
}

func (o Object) annotate(name, value string) Object {
	metadata := o.content["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	if annotations == nil {
		annotations = map[string]any{}
		metadata["annotations"] = annotations
	}
	annotations[name] = value
	return o
}

// IsWritten reports whether Plan has found that the object has to be written, and not done without
// where that is forbidden; exists, whether it is there and differs.
func (o Object) IsWritten() (written, exists bool) {
	return o.decision.Wrote() && o.lenient == "", o.decision == changed
}

// IsUnseen reports whether Plan could not find out if the namespace or account is there.
func (o Object) IsUnseen() bool { return o.decision == unseen }

// Rules are those of a role.
func (o Object) Rules() []Rule {
	rules, _ := o.content["rules"].([]any)
	return asRules(rules)
}

// RoleRef is what a binding binds, in the namespace where it does.
func (o Object) RoleRef() (role Ref, isBinding bool) {
	role = Ref{Kind: text(o.content, "roleRef", "kind"), Namespace: o.Ref().Namespace,
		Name: text(o.content, "roleRef", "name")}
	return role, role.Name != ""
}

// Ref names the object.
func (o Object) Ref() Ref {
	kind, _ := o.content["kind"].(string)
	return Ref{Kind: kind, Namespace: text(o.content, "metadata", "namespace"),
		Name: text(o.content, "metadata", "name")}
}

// IsPolicy reports whether it is a part of an admission policy.
func (r Ref) IsPolicy() bool { return strings.HasPrefix(r.Kind, "ValidatingAdmissionPolicy") }

// Resource is what kubectl calls objects of the kind, such as "rolebindings".
func (r Ref) Resource() string { return collections[r.Kind].resource }

// path is where the API server keeps the object.
func (r Ref) path() string { return r.collection() + "/" + r.Name }

func (r Ref) collection() string {
	c := collections[r.Kind]
	root := "/apis/" + c.apiVersion
	if c.apiVersion == "v1" {
		root = "/api/v1"
	}
	if r.Namespace != "" {
		root += "/namespaces/" + r.Namespace
	}
	return root + "/" + c.resource
}

func (o Object) encode() []byte {
	encoded, err := json.Marshal(o.content)
	if err != nil {
		// strings, booleans, lists and maps of them always encode
		panic(fmt.Sprintf("encoding %v: %v", o.Ref(), err))
	}
	return encoded
}

// Manifests renders the objects as one YAML stream for kubectl apply.
func Manifests(objects []Object) []byte {
	var stream bytes.Buffer
	for _, object := range objects {
		document, err := yaml.JSONToYAML(object.encode())
		if err != nil {
			panic(err) // it was JSON a moment ago
		}
		stream.WriteString("---\n")
		stream.Write(document)
	}
	return stream.Bytes()
}

// text follows the keys into nested maps; it is empty where they lead nowhere.
func text(content map[string]any, keys ...string) string {
	s, _ := value(content, keys...).(string)
	return s
}

func value(content map[string]any, keys ...string) any {
	var current any = content
	for _, key := range keys {
		m, _ := current.(map[string]any)
		current = m[key]
	}
	return current
}

// holds reports whether live has everything that wanted has. What the server added by itself does
// not matter, except in lists, which belong to one owner as a whole.
func holds(live, wanted any) bool {
	switch wanted := wanted.(type) {
	case map[string]any:
		return holdsMap(live, wanted)
	case []any:
		list, ok := live.([]any)
		if !ok || len(list) != len(wanted) {
			return false
		}
		for i := range wanted {
			if !holds(list[i], wanted[i]) {
				return false
			}
		}
		return true
	}
	return live == wanted
}

func holdsMap(live any, wanted map[string]any) bool {
	m, ok := live.(map[string]any)
	if !ok {
		return false
	}
	for key, value := range wanted {
		if !holds(m[key], value) {
			return false
		}
	}
	return true
}
