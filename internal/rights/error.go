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
	NotHeld []Right  // what would be granted, and the caller does not hold
	User    string   // who is asking, empty when unknown
	Absent  []string // namespaces that are not there yet
	Unseen  []string // namespaces that the caller cannot read
}

// Error implements error.
func (e *Error) Error() string {
	var clauses []string
	if len(e.Missing) > 0 {
		clauses = append(clauses, list(e.Missing))
	}
	if len(e.NotHeld) > 0 {
		clauses = append(clauses, "grant what you do not hold yourself: "+list(e.NotHeld))
	}
	return "you are not allowed to " + strings.Join(clauses, ", nor to ")
}

func list(rights []Right) string {
	var parts []string
	for _, b := range bundle(rights, false) {
		parts = append(parts, b.String())
	}
	return strings.Join(parts, "; ")
}

// IsEmpty reports whether nothing is missing.
func (e *Error) IsEmpty() bool { return len(e.Missing)+len(e.NotHeld) == 0 }

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
	for _, namespace := range e.Unseen { // && and || bind alike: from the left
		lines = append(lines, ui.CommandLine("kubectl", "get", "namespace", namespace)+
			" || "+ui.CommandLine("kubectl", "create", "namespace", namespace))
	}
	missing := slices.DeleteFunc(slices.Concat(e.Missing, e.NotHeld), func(r Right) bool {
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

// bundle puts rights together that differ in nothing but their verbs, then their resources, then
// their names. forAll drops the names where isForAll.
func bundle(list []Right, forAll bool) (bundles []bundled) {
	for _, r := range list {
		b := bundled{namespace: r.Namespace, verbs: []string{r.Verb},
			resources: []string{cluster.Qualified(r.Resource, r.Group)}}
		if r.Name != "" && !(forAll && isForAll(r.Verb)) {
			b.names = []string{r.Name}
		}
		bundles = append(bundles, b)
	}
	for _, part := range []func(*bundled) *[]string{
		func(b *bundled) *[]string { return &b.verbs },
		func(b *bundled) *[]string { return &b.resources },
		func(b *bundled) *[]string { return &b.names },
	} {
		bundles = together(bundles, part)
	}
	return bundles
}

// together merges those that are the same but for one part. Where that is the names, none means
// all, and stays apart.
func together(bundles []bundled, part func(*bundled) *[]string) []bundled {
	merged := map[string]*bundled{}
	for _, b := range bundles {
		rest := b
		*part(&rest) = nil
		key := fmt.Sprintf("%q %v", rest, len(b.names) == 0)
		if merged[key] == nil {
			merged[key] = &rest
		}
		all := append(*part(merged[key]), *part(&b)...)
		slices.Sort(all)
		*part(merged[key]) = slices.Compact(all)
	}
	var list []bundled
	for _, key := range slices.Sorted(maps.Keys(merged)) {
		list = append(list, *merged[key])
	}
	return list
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
