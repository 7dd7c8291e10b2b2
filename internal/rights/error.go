package rights

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
	"github.com/sa-exec-credential/sa-exec-credential/internal/cluster"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// Error lists all that a caller is not allowed to. It is an api.ErrForbidden.
type Error struct {
	Missing []Right
	User    string   // who is asking, empty when unknown
	Absent  []string // namespaces that are not there yet
}

// Error implements error.
func (e *Error) Error() string {
	var parts []string
	for _, b := range bundle(e.Missing, false) {
		parts = append(parts, b.String())
	}
	return "you are not allowed to " + strings.Join(parts, "; ")
}

// Unwrap makes it an api.ErrForbidden.
func (e *Error) Unwrap() error { return api.ErrForbidden }

// Commands are what an administrator types to grant all of it: a role and its binding for each
// bundle of rights, after the namespaces in which they are. A namespace that is missing is created
// in the place of the right to create any.
func (e *Error) Commands() string {
	var lines []string
	for _, namespace := range e.Absent {
		lines = append(lines, ui.CommandLine("kubectl", "create", "namespace", namespace))
	}
	missing := slices.DeleteFunc(slices.Clone(e.Missing), func(r Right) bool {
		return r.Resource == "namespaces" && slices.Contains(e.Absent, r.Name)
	})
	for _, b := range bundle(missing, true) {
		lines = append(lines, b.commands(e.User)...)
	}
	return strings.Join(lines, " && ")
}

// bundled are rights that one role can have: all of its verbs for all of its resources.
type bundled struct {
	namespace string
	verbs     []string
	resources []string // qualified by their groups
	names     []string // of the objects; none: all
}

// isForAll holds for what is granted for all objects of a resource: one that can create and bind
// roles gains nothing by other people's, and their names say nothing to whoever grants it.
func isForAll(verb string) bool { return verb == "patch" || verb == "create" }

// bundle puts rights together that differ in nothing but their resources, or but their verbs.
// forAll drops the names where isForAll.
func bundle(list []Right, forAll bool) (bundles []bundled) {
	type target struct{ namespace, resource, name string }
	verbs := map[target][]string{}
	for _, r := range list {
		t := target{r.Namespace, cluster.Qualified(r.Resource, r.Group), r.Name}
		if forAll && isForAll(r.Verb) {
			t.name = ""
		}
		if !slices.Contains(verbs[t], r.Verb) {
			verbs[t] = append(verbs[t], r.Verb)
		}
	}
	together := map[string]*bundled{}
	compareTargets := func(a, b target) int {
		return strings.Compare(a.namespace+"\n"+a.name+"\n"+a.resource,
			b.namespace+"\n"+b.name+"\n"+b.resource)
	}
	for _, t := range slices.SortedFunc(maps.Keys(verbs), compareTargets) {
		slices.Sort(verbs[t])
		resource := "" // those of one name are together only with their like
		if t.name != "" {
			resource = t.resource
		}
		key := fmt.Sprintf("%q %q %q", t.namespace, resource, verbs[t])
		b := together[key]
		if b == nil {
			b = &bundled{namespace: t.namespace, verbs: verbs[t]}
			together[key] = b
		}
		if t.name != "" {
			b.names = append(b.names, t.name)
		}
		if !slices.Contains(b.resources, t.resource) {
			b.resources = append(b.resources, t.resource)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(together)) {
		bundles = append(bundles, *together[key])
	}
	return bundles
}

// String is such as `create, patch roles, rolebindings in namespace "build"`.
func (b bundled) String() string {
	resources := make([]string, len(b.resources))
	for i, qualified := range b.resources {
		main, sub, found := strings.Cut(qualified, "/")
		resources[i], _, _ = strings.Cut(main, ".")
		if found {
			resources[i] += "/" + sub
		}
	}
	text := strings.Join(b.verbs, ", ") + " " + strings.Join(resources, ", ")
	if len(b.names) > 0 {
		text += " " + ui.QuotedList(b.names)
	}
	if b.namespace != "" {
		text += fmt.Sprintf(" in namespace %q", b.namespace)
	}
	return text
}

// commands create a role for the rights, and bind it. Its name tells it from others.
func (b bundled) commands(user string) []string {
	kubectl, kind := []string{"kubectl"}, "clusterrole"
	if b.namespace != "" {
		kubectl, kind = []string{"kubectl", "-n", b.namespace}, "role"
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q", user, b))
	name := "sa-exec-credential-setup-" + hex.EncodeToString(sum[:4])
	role := append(slices.Clone(kubectl), "create", kind, name,
		"--verb="+strings.Join(b.verbs, ","), "--resource="+strings.Join(b.resources, ","))
	for _, object := range b.names {
		role = append(role, "--resource-name="+object)
	}
	binding := append(slices.Clone(kubectl), "create", kind+"binding", name,
		"--"+kind+"="+name, subject(user))
	return []string{ui.CommandLine(role...), ui.CommandLine(binding...)}
}

// accountPrefix begins the user name of a ServiceAccount.
const accountPrefix = "system:serviceaccount:"

func subject(user string) string {
	if account, found := strings.CutPrefix(user, accountPrefix); found {
		return "--serviceaccount=" + account
	}
	if user == "" {
		user = "USER"
	}
	return "--user=" + user
}
