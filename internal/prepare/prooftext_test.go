package prepare

import (
	"slices"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/cluster"
)

func TestRights(t *testing.T) {
	const (
		partial = "maybe more: the list of rights is partial (webhook authorizer)"
		nothing = "nothing beyond what every account can; grant it something with --role " +
			"or --cluster-role"
	)
	can := []cluster.Permission{{Verbs: []string{"get"}, Resources: []string{"pods"}}}
	tests := []struct {
		name   string
		access cluster.Access
		want   []string
	}{
		{"some", cluster.Access{Can: can}, []string{"get: pods"}},
		{"some, and maybe more", cluster.Access{Can: can, Incomplete: true},
			[]string{"get: pods", partial}},
		{"none", cluster.Access{}, []string{nothing}},
		{"none that are known", cluster.Access{Incomplete: true}, []string{partial}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := rightsText(tt.access); !slices.Equal(got, tt.want) {
				t.Errorf("got %q", got)
			}
		})
	}
}
