package cluster

import (
	"encoding/json"
	"slices"
)

// asRules reads rules that were built here.
func asRules(built []any) []Rule {
	var rules []Rule
	encoded, err := json.Marshal(built)
	if err != nil || json.Unmarshal(encoded, &rules) != nil {
		return nil // strings and lists of them always encode
	}
	return rules
}

// risky are rights by which an account becomes another one of its namespace: what runs as any
// account there, speaks in its name, or gives out its tokens. No admission policy of ours could
// tell a good use from a bad one.
var risky = []struct {
	name, verb string
	resources  []string
}{
	{"run pods as any account", "create", []string{"pods", "deployments", "daemonsets",
		"statefulsets", "replicasets",
		"replicationcontrollers", "jobs", "cronjobs"}},
	{"run commands in pods", "create", []string{"pods/exec", "pods/attach"}},
	{"impersonate accounts", "impersonate", []string{"serviceaccounts"}},
	{"create tokens of accounts", "create", []string{"serviceaccounts/token"}},
	{"grant itself more", "bind", []string{"roles", "clusterroles"}},
	{"grant itself more", "escalate", []string{"roles", "clusterroles"}},
}

// risksOf names the risky rights among rules, each once.
func risksOf(rules []Rule) []string {
	var found []string
	for _, r := range risky {
		grants := slices.ContainsFunc(rules, func(rule Rule) bool {
			return hasAny(rule.Verbs, r.verb) && hasAny(rule.Resources, r.resources...)
		})
		if grants && !slices.Contains(found, r.name) {
			found = append(found, r.name)
		}
	}
	return found
}

func hasAny(list []string, wanted ...string) bool {
	return slices.ContainsFunc(list, func(item string) bool {
		return item == "*" ||
			slices.Contains(wanted, item)
	})
}
