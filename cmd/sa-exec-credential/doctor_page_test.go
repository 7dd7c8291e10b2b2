package main

import (
	"slices"
	"strings"
	"testing"
)

func TestPage(t *testing.T) {
	well := finding{Profile: "a", Check: "token", Result: fine, Detail: "accepted"}
	sick := finding{Profile: "b", Check: "mint", Result: failed, Detail: "minting token for \"build/ci\": forbidden", Mend: "sa-exec-credential setup ci"}
	machine := finding{Check: "store", Result: warned, Detail: "slow", Mend: "wait"}
	for _, test := range []struct {
		name  string
		page  page
		items []finding
		names []string
		want  string
	}{
		{"a profile that is well takes one line among others", page{}, []finding{machine, well, sick}, []string{"a", "b"}, `This machine
  warning  store       slow
           mend: wait
Profile a: ok, 1 check
Profile b
  failed   mint        minting token for "build/ci": forbidden
           mend: sa-exec-credential setup ci
1 failed, 1 warning (2 profiles).
`},
		{"alone it is shown in full", page{}, []finding{well}, []string{"a"}, `Profile a
  ok       token       accepted
Nothing is wrong (1 profile).
`},
		{"details are broken and commands are not", page{width: 50}, []finding{sick}, []string{"b"}, `Profile b
  failed   mint        minting token for
                       "build/ci": forbidden
           mend: sa-exec-credential setup ci
1 failed, 0 warnings (1 profile).
`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := string(test.page.render(test.items, test.names)); got != test.want {
				t.Errorf("got\n%swant\n%s", got, test.want)
			}
		})
	}
}

func TestBrokenLosesNothing(t *testing.T) {
	for _, text := range []string{"", "one", "one two  three", strings.Repeat("long", 30) + " and short", " begins and ends with spaces "} {
		for width := range 40 {
			got := strings.Join(broken(text, width), " ")
			if !slices.Equal(strings.Fields(got), strings.Fields(text)) {
				t.Errorf("broken(%q, %d) gives %q", text, width, got)
			}
		}
	}
}
