package main

import (
	"slices"
	"strings"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/doctor"
)

func TestPage(t *testing.T) {
	well := doctor.Finding{Profile: "a", Check: "token", Result: doctor.OK, Detail: "accepted"}
	sick := doctor.Finding{Profile: "b", Check: "mint", Result: doctor.Failed,
		Detail: "minting token for \"build/ci\": forbidden",
		Fix:    "sa-exec-credential setup ci"}
	machine := doctor.Finding{Check: "store", Result: doctor.Warning, Detail: "slow",
		Fix: "wait"}
	for _, test := range []struct {
		name  string
		page  page
		items []doctor.Finding
		names []string
		want  string
	}{
		{"a profile that is well takes one line among others", page{}, []doctor.Finding{machine, well, sick}, []string{"a", "b"}, `This machine
  warning  store       slow
           fix: wait
Profile a: ok, 1 check
Profile b
  failed   mint        minting token for "build/ci": forbidden
           fix: sa-exec-credential setup ci
1 failed, 1 warning (2 profiles).
`},
		{"alone it is shown in full", page{}, []doctor.Finding{well}, []string{"a"}, `Profile a
  ok       token       accepted
Nothing is wrong (1 profile).
`},
		{"details are broken and commands are not", page{width: 50}, []doctor.Finding{sick}, []string{"b"}, `Profile b
  failed   mint        minting token for
                       "build/ci": forbidden
           fix: sa-exec-credential setup ci
1 failed, 0 warnings (1 profile).
`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := string(test.page.render(test.items,
				test.names)); got != test.want {
				t.Errorf("got\n%swant\n%s", got, test.want)
			}
		})
	}
}

func TestBrokenLosesNothing(t *testing.T) {
	for _, text := range []string{"", "one", "one two  three", strings.Repeat("long", 30) +
		" and short", " begins and ends with spaces "} {
		for width := range 40 {
			got := strings.Join(broken(text, width), " ")
			if !slices.Equal(strings.Fields(got), strings.Fields(text)) {
				t.Errorf("broken(%q, %d) gives %q", text, width, got)
			}
		}
	}
}
