package cluster

import (
	"slices"
	"testing"
)

func TestRisksOf(t *testing.T) {
	for _, tt := range []struct {
		name           string
		verb, resource string
		want           []string
	}{
		{"to read is none", "get", "pods", nil},
		{"to create something else is none", "create", "configmaps", nil},
		{"a pod runs as any account", "create", "pods",
			[]string{"run pods as any account"}},
		{"so does what creates pods", "create", "cronjobs",
			[]string{"run pods as any account"}},
		{"a command runs as the pod", "create", "pods/exec",
			[]string{"run commands in pods"}},
		{"who impersonates is another", "impersonate", "serviceaccounts",
			[]string{"impersonate accounts"}},
		{"who has a token is another", "create", "serviceaccounts/token",
			[]string{"create tokens of accounts"}},
		{"to create an account is none", "create", "serviceaccounts", nil},
		{"who binds can have more", "bind", "clusterroles", []string{"grant itself more"}},
		{"who escalates, too", "escalate", "roles", []string{"grant itself more"}},
		{"every verb is this one, too", "*", "serviceaccounts",
			[]string{"impersonate accounts"}},
		{"every resource is this one, too", "create", "*",
			[]string{"run pods as any account",
				"run commands in pods", "create tokens of accounts"}},
		{"each is said once", "*", "*", []string{"run pods as any account",
			"run commands in pods",
			"impersonate accounts", "create tokens of accounts", "grant itself more"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := risksOf(asRules([]any{rule([]string{"list", tt.verb}, "",
				[]string{"events", tt.resource}, nil)}))
			if !slices.Equal(got, tt.want) {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}
