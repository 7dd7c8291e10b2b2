package prepare

import (
	"fmt"
	"slices"
	"testing"
)

func TestTheVariablesThatMakeTheDifferenceAreFound(t *testing.T) {
	var names []string
	for i := range 60 {
		names = append(names, fmt.Sprintf("V%02d", i))
	}
	for _, needed := range [][]string{{"V00"}, {"V59"}, {"V03", "V41"}, {"V10", "V11"},
		{"V00", "V20", "V59"}} {
		tries := 0
		found, complete := fewest(names, func(some []string) (works, more bool) {
			tries++
			return !slices.ContainsFunc(needed, func(name string) bool {
				return !slices.Contains(some, name)
			}), true
		})
		if !complete || !slices.Equal(found, needed) || tries > searchTries {
			t.Errorf("found %q of %q, complete %v, in %d tries", found, needed, complete,
				tries)
		}
	}
}

func TestASearchThatEndsEarlyLeavesOutNothingThatIsNeeded(t *testing.T) {
	names := []string{"A", "B", "C", "D", "E", "F", "G", "H"}
	for limit := range 12 {
		tries := 0
		found, complete := fewest(names, func(some []string) (works, more bool) {
			tries++
			return tries <= limit && slices.Contains(some, "B") &&
				slices.Contains(some, "G"), tries <= limit
		})
		if !slices.Contains(found, "B") || !slices.Contains(found, "G") {
			t.Errorf("after %d tries %q are left, complete %v", limit, found, complete)
		}
		if complete && len(found) != 2 {
			t.Errorf("complete with %q", found)
		}
	}
}
