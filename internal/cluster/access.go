package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
)

// Access is what a service account can do, as far as it is worth showing.
type Access struct {
	Can    []Permission
	Cannot []string // well-known things that the account cannot do, such as "read secrets"
	// an authorizer, such as a webhook, cannot list its rules: there may be more
	Incomplete bool
}

// Permission is some verbs on some resources.
type Permission struct {
	Verbs     []string // in the order of standardVerbs
	Resources []string // qualified by their groups, or URL paths
	Names     []string // only these objects; empty: all
}

// shownResources bounds a line.
const shownResources = 6

// String is a line such as "get, list: pods, services and 12 more".
func (p Permission) String() string {
	resources := strings.Join(p.Resources[:min(len(p.Resources), shownResources)], ", ")
	if more := len(p.Resources) - shownResources; more > 0 {
		resources += fmt.Sprintf(" and %d more", more)
	}
	if len(p.Names) > 0 {
		resources += " named " + strings.Join(p.Names, ", ")
	}
	return strings.Join(p.Verbs, ", ") + ": " + resources
}

// Rule is one of a Role or ClusterRole, and has the fields of a SelfSubjectRulesReview's
// resourceRules and nonResourceRules.
type Rule struct {
	Verbs           []string `json:"verbs"`
	APIGroups       []string `json:"apiGroups"`
	Resources       []string `json:"resources"`
	ResourceNames   []string `json:"resourceNames"`
	NonResourceURLs []string `json:"nonResourceURLs"`
}

// HeldRules asks, with client's own credential, for the rules that it holds in namespace.
// incomplete says that an authorizer, such as a webhook, cannot list its own.
func HeldRules(ctx context.Context, client *api.Client, namespace string) (rules []Rule,
	incomplete bool, err error) {
	var review struct {
		Status struct {
			ResourceRules    []Rule `json:"resourceRules"`
			NonResourceRules []Rule `json:"nonResourceRules"`
			Incomplete       bool   `json:"incomplete"`
		} `json:"status"`
	}
	err = ask(ctx, client, "SelfSubjectRulesReview", map[string]any{"namespace": namespace},
		&review)
	return slices.Concat(review.Status.ResourceRules, review.Status.NonResourceRules),
		review.Status.Incomplete, err
}

// Can asks, with client's own credential, what it can do in namespace. Cannot stays empty.
func Can(ctx context.Context, client *api.Client, namespace string) (Access, error) {
	rules, incomplete, err := HeldRules(ctx, client, namespace)
	if err != nil {
		return Access{}, fmt.Errorf("asking what the account can do: %w", err)
	}
	return Access{Incomplete: incomplete, Can: sumUp(rules)}, nil
}

// Rules is Can, and asks about what people fear as well.
func Rules(ctx context.Context, client *api.Client, namespace string) (Access, error) {
	access, err := Can(ctx, client, namespace)
	if err != nil {
		return Access{}, err
	}
	for _, check := range sensitiveChecks(namespace) {
		allowed, err := Allowed(ctx, client, check.attributes)
		if err != nil {
			return Access{}, fmt.Errorf("asking whether the account can %s: %w",
				check.name, err)
		}
		if !allowed {
			access.Cannot = append(access.Cannot, check.name)
		}
	}
	return access, nil
}

// accessCheck is a question to the authorizer.
type accessCheck struct {
	name       string
	attributes map[string]any
}

// sensitiveChecks ask about what people fear of a credential.
func sensitiveChecks(namespace string) []accessCheck {
	return []accessCheck{
		{"read secrets",
			map[string]any{"verb": "get", "resource": "secrets",
				"namespace": namespace}},
		{"create pods", map[string]any{"verb": "create", "resource": "pods",
			"namespace": namespace}},
		{"read pods of other namespaces", map[string]any{"verb": "list",
			"resource": "pods"}},
		{"mint tokens", map[string]any{"verb": "create", "resource": "serviceaccounts",
			"subresource": "token", "namespace": namespace}},
		{"do everything", map[string]any{"verb": "*", "group": "*", "resource": "*"}},
	}
}

// Allowed asks with a SelfSubjectAccessReview whether the client's own credential has a right, by
// the attributes of resourceAttributes.
func Allowed(ctx context.Context, client *api.Client, attributes map[string]any) (bool, error) {
	var review struct {
		Status struct {
			Allowed bool `json:"allowed"`
		} `json:"status"`
	}
	err := ask(ctx, client, "SelfSubjectAccessReview",
		map[string]any{"resourceAttributes": attributes}, &review)
	return review.Status.Allowed, err
}

// ask sends a review, which is a question in the form of an object.
func ask(ctx context.Context, client *api.Client, kind string, spec map[string]any,
	answer any) error {
	question, err := json.Marshal(map[string]any{"apiVersion": "authorization.k8s.io/v1",
		"kind": kind, "spec": spec})
	if err != nil {
		return err
	}
	path := "/apis/authorization.k8s.io/v1/" + strings.ToLower(kind) + "s"
	body, err := client.Memo().Get(path+string(question), func() ([]byte, error) {
		return send(ctx, client, http.MethodPost, path, nil, "application/json", question)
	})
	if err != nil {
		return err
	}
	return decode(body, answer)
}

// sumUp puts resources with the same verbs together: most resources first.
func sumUp(rules []Rule) []Permission {
	verbs := map[target][]string{}
	for _, rule := range rules {
		for _, t := range rule.targets() {
			verbs[t] = append(verbs[t], rule.Verbs...)
		}
	}
	together := map[string]*Permission{}
	for _, t := range slices.SortedFunc(maps.Keys(verbs), compareTargets) {
		sorted := inOrder(verbs[t])
		key := strings.Join(sorted, ",") + " " + t.names
		if together[key] == nil {
			together[key] = &Permission{Verbs: sorted, Names: splitNames(t.names)}
		}
		together[key].Resources = append(together[key].Resources, t.resource)
	}
	var permissions []Permission
	for _, key := range slices.Sorted(maps.Keys(together)) {
		permissions = append(permissions, *together[key])
	}
	slices.SortStableFunc(permissions,
		func(a, b Permission) int { return len(b.Resources) - len(a.Resources) })
	return permissions
}

// target is a resource or a path, and the names a rule is limited to.
type target struct{ resource, names string }

// nameSeparator is in no name.
const nameSeparator = "\n"

func splitNames(names string) []string {
	if names == "" {
		return nil
	}
	return strings.Split(names, nameSeparator)
}

func (r Rule) targets() []target {
	var targets []target
	for _, group := range r.APIGroups {
		for _, resource := range r.Resources {
			if !isEverybodys(group, resource) {
				targets = append(targets,
					target{Qualified(resource, group),
						strings.Join(r.ResourceNames, nameSeparator)})
			}
		}
	}
	for _, path := range r.NonResourceURLs {
		if !isPublicPath(path) {
			targets = append(targets, target{resource: path})
		}
	}
	return targets
}

// isEverybodys holds for what the role system:basic-user gives whoever is authenticated, and
// system:cluster-trust-bundle-discovery every service account since Kubernetes 1.37.
func isEverybodys(group, resource string) bool {
	switch group {
	case "authorization.k8s.io", "authentication.k8s.io":
		return strings.HasPrefix(resource, "selfsubject")
	case "certificates.k8s.io":
		return resource == "clustertrustbundles"
	}
	return false
}

// isPublicPath holds for what the roles system:discovery, system:public-info-viewer and
// system:service-account-issuer-discovery give.
func isPublicPath(path string) bool {
	path = strings.TrimRight(path, "*/")
	for _, public := range []string{"/api", "/apis", "/healthz", "/livez", "/readyz",
		"/openapi",
		"/version"} {
		if path == public || strings.HasPrefix(path, public+"/") {
			return true
		}
	}
	return strings.HasPrefix(path, "/.well-known") || path == "/openid/v1/jwks"
}

// known are the resources that say most about an account.
var known = []string{"*", "*.*", "pods", "deployments.apps", "services", "configmaps", "secrets",
	"jobs.batch", "namespaces", "nodes"}

// compareTargets orders the well-known first, then whole resources before their parts.
func compareTargets(a, b target) int {
	if order := rank(a.resource) - rank(b.resource); order != 0 {
		return order
	}
	if order := strings.Count(a.resource, "/") - strings.Count(b.resource, "/"); order != 0 {
		return order
	}
	return strings.Compare(a.resource+" "+a.names, b.resource+" "+b.names)
}

func rank(resource string) int {
	if i := slices.Index(known, resource); i >= 0 {
		return i
	}
	return len(known)
}

// inOrder sorts verbs as people say them and drops repetitions. One that means all leaves no other.
func inOrder(verbs []string) []string {
	if slices.Contains(verbs, "*") {
		return []string{"*"}
	}
	verbs = slices.Clone(verbs)
	slices.SortFunc(verbs, func(a, b string) int {
		if order := verbRank(a) - verbRank(b); order != 0 {
			return order
		}
		return strings.Compare(a, b)
	})
	return slices.Compact(verbs)
}

func verbRank(verb string) int {
	if i := slices.Index(standardVerbs, verb); i >= 0 {
		return i
	}
	return len(standardVerbs)
}
