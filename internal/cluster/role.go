package cluster

import (
	"maps"
	"slices"
	"strings"
)

// standardVerbs are those that kubectl create role takes without a word, and those of certificates.
var standardVerbs = []string{"*", "get", "list", "watch", "create", "update", "patch", "delete",
	"deletecollection",
	"proxy", "use", "bind", "escalate", "impersonate", "approve", "sign", "attest"}

// virtual resources exist for the authorizer only; no discovery document lists them.
var virtual = Resources{
	{Name: "users"}, {Name: "groups"},
	{Group: "authentication.k8s.io", Name: "userextras"}, {Group: "authentication.k8s.io",
		Name: "uids"},
	{Group: "certificates.k8s.io", Name: "signers"},
}

// grants are the rules of a role to create, apart by where they can count.
type grants struct{ all, namespaced, clusterScoped []any }

// rules turns what was spelled as for kubectl create role into rules, one for each API group.
// Errors are UnknownErrors.
func (rs Resources) rules(verbs, resources, names []string) (grants, error) {
	verbs, err := checkVerbs(verbs)
	if err != nil {
		return grants{}, err
	}
	known := slices.Concat(rs, virtual)
	var found Resources
	for _, spelled := range resources {
		resource, err := known.find(spelled)
		if err != nil {
			return grants{}, err
		}
		found = found.add(resource)
	}
	return grants{
		all:           rulesFor(verbs, found, names),
		namespaced:    rulesFor(verbs, found.where(true), names),
		clusterScoped: rulesFor(verbs, found.where(false), names),
	}, nil
}

func checkVerbs(verbs []string) ([]string, error) {
	if slices.Contains(verbs, "*") {
		return []string{"*"}, nil
	}
	for _, verb := range verbs {
		if !slices.Contains(standardVerbs, verb) {
			return nil, &UnknownError{What: "verb", Given: verb,
				Nearest: nearest(verb, standardVerbs)}
		}
	}
	return verbs, nil
}

func (rs Resources) where(namespaced bool) Resources {
	return slices.DeleteFunc(slices.Clone(rs),
		func(r Resource) bool { return r.Namespaced != namespaced })
}

// rulesFor returns a rule for each API group, in order, as kubectl does.
func rulesFor(verbs []string, resources Resources, names []string) []any {
	byGroup := map[string][]string{}
	for _, r := range resources {
		byGroup[r.Group] = append(byGroup[r.Group], r.Name)
	}
	var rules []any
	for _, group := range slices.Sorted(maps.Keys(byGroup)) {
		rules = append(rules, rule(verbs, group, byGroup[group], names))
	}
	return rules
}

// find resolves "pods", "pod", "po", "deployments.apps", "pods/log" and "*". What stands for
// several resources is taken to live in namespaces.
func (rs Resources) find(spelled string) (Resource, error) {
	main, sub, _ := strings.Cut(strings.ToLower(spelled), "/")
	name, group, grouped := strings.Cut(main, ".")
	if name == "*" {
		return Resource{Group: group, Name: join(name, sub), Namespaced: true}, nil
	}
	i := slices.IndexFunc(rs,
		func(r Resource) bool { return r.called(name) && (!grouped || r.Group == group) })
	if i < 0 {
		return Resource{}, &UnknownError{What: "resource", Given: spelled,
			Nearest: rs.similar(name, main)}
	}
	found := rs[i]
	found.Name = join(found.Name, sub)
	if sub == "" || sub == "*" || slices.ContainsFunc(rs, func(r Resource) bool {
		return r.Group == found.Group && r.Name == found.Name
	}) {
		return found, nil
	}
	return Resource{}, &UnknownError{What: "resource", Given: spelled,
		Nearest: rs.subresources(rs[i], sub)}
}

func join(name, sub string) string {
	if sub == "" {
		return name
	}
	return name + "/" + sub
}

func (r Resource) called(name string) bool {
	return !strings.Contains(r.Name, "/") &&
		(r.Name == name || r.Singular == name || slices.Contains(r.ShortNames, name))
}

// similar lists resources that name, without its group, or spelled, with it, comes near to.
func (rs Resources) similar(name, spelled string) []string {
	var candidates []candidate
	for _, r := range rs {
		if strings.Contains(r.Name, "/") {
			continue
		}
		distance := min(editDistance(name, r.Name), editDistance(spelled, r.String()))
		if r.Singular != "" {
			distance = min(distance, editDistance(name, r.Singular))
		}
		candidates = append(candidates, candidate{r.String(), distance})
	}
	return best(candidates, name)
}

func (rs Resources) subresources(of Resource, sub string) []string {
	var candidates []candidate
	for _, r := range rs {
		main, name, found := strings.Cut(r.Name, "/")
		if found && main == of.Name && r.Group == of.Group {
			candidates = append(candidates, candidate{r.String(), editDistance(sub,
				name)})
		}
	}
	return best(candidates, sub)
}

// nearest lists the names that given may have been meant to be.
func nearest(given string, names []string) []string {
	candidates := make([]candidate, len(names))
	for i, name := range names {
		candidates[i] = candidate{name, editDistance(given, name)}
	}
	return best(candidates, given)
}

type candidate struct {
	name     string
	distance int
}

// best keeps up to three candidates that differ from given in at most a third of its letters, or in
// two.
func best(candidates []candidate, given string) []string {
	limit := max(2, len(given)/3)
	candidates = slices.DeleteFunc(candidates,
		func(c candidate) bool { return c.distance > limit })
	slices.SortStableFunc(candidates, func(a,
		b candidate) int {
		return a.distance - b.distance
	})
	var names []string
	for _, c := range candidates {
		if len(names) < 3 && !slices.Contains(names, c.name) {
			names = append(names, c.name)
		}
	}
	return names
}

// editDistance counts the letters to insert, delete, replace or swap with their neighbour to turn a
// into b (optimal string alignment).
func editDistance(a, b string) int {
	before, previous := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range previous {
		previous[j] = j
	}
	for i := 1; i <= len(a); i++ {
		current := make([]int, len(b)+1)
		current[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			current[j] = min(previous[j]+1, current[j-1]+1, previous[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				current[j] = min(current[j], before[j-2]+1)
			}
		}
		before, previous = previous, current
	}
	return previous[len(b)]
}
