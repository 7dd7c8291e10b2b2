package doctor

import (
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

func TestPage(t *testing.T) {
	well := Finding{Profile: "a", Check: "token", Result: OK, Detail: "accepted"}
	sick := Finding{Profile: "b", Check: "mint", Result: Failed,
		Detail: "minting token for \"build/ci\": forbidden",
		Fix:    "sa-exec-credential setup ci"}
	machine := Finding{Check: "store", Result: Warning, Detail: "slow", Fix: "wait"}
	for _, test := range []struct {
		name  string
		page  Page
		items []Finding
		names []string
		want  string
	}{
		{"a profile that is well takes one line among others", Page{}, []Finding{machine, well, sick}, []string{"a", "b"}, `This machine
  warning  store       slow
           fix: wait
Profile a: ok, 1 check
Profile b
  failed   mint        minting token for "build/ci": forbidden
           fix: sa-exec-credential setup ci
1 failed, 1 warning (2 profiles).
`},
		{"alone it is shown in full", Page{}, []Finding{well}, []string{"a"}, `Profile a
  ok       token       accepted
Nothing is wrong (1 profile).
`},
		{"details are broken and commands are not", Page{Look: ui.Look{Width: 50}}, []Finding{sick}, []string{"b"}, `Profile b
  failed   mint        minting token for
                       "build/ci": forbidden
           fix: sa-exec-credential setup ci
1 failed, 0 warnings (1 profile).
`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := string(test.page.Render(test.items,
				test.names)); got != test.want {
				t.Errorf("got\n%swant\n%s", got, test.want)
			}
		})
	}
}
