package ui

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

func TestCommandLine(t *testing.T) {
	for _, test := range []struct {
		name  string
		words []string
		want  string
	}{
		{"plain words stay", []string{"kubectl", "-n", "build", "ci.build@test"},
			"kubectl -n build ci.build@test"},
		{"a space is quoted", []string{"rm", "token file"}, "rm 'token file'"},
		{"so is a quote", []string{"it's"}, `it\'s`},
		{"what a shell would run is quoted", []string{"$(id)", "a;b", "~", "*"},
			`\$\(id\) a\;b \~ \*`},
		{"an empty word is there", []string{"a", ""}, "a ''"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := CommandLine(test.words...); got != test.want {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}

func TestJoinedErrorsGetALineEach(t *testing.T) {
	one, two, three := errors.New("one"), errors.New("two"), errors.New("three")
	for _, test := range []struct {
		name string
		err  error
		want []string
	}{
		{"a single one", one, []string{"one"}},
		{"two that were joined", errors.Join(one, two), []string{"one", "two"}},
		{"joined twice", errors.Join(errors.Join(one, two), three), []string{"one", "two",
			"three"}},
		{"one that wraps two", fmt.Errorf("%w: %w", one, two), []string{"one: two"}},
		{"one that wraps joined ones", fmt.Errorf("saving: %w", errors.Join(one, two)),
			[]string{"saving: one two"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			(&Log{Out: &out}).Failure(test.err, "")
			want := ""
			for _, line := range test.want {
				want += "sa-exec-credential: error: " + line + "\n"
			}
			if out.String() != want {
				t.Errorf("got %q, want %q", out.String(), want)
			}
		})
	}
}

func TestTableAlignsAndPaints(t *testing.T) {
	table := Table{Header: []string{"NAME", "STATE"}}
	table.Row("", "a", "ready")
	table.Row(Red, "longer\n", "error")
	if got, want := string(table.Text(false)),
		"NAME     STATE\na        ready\nlonger   error\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	want := Bold + "NAME     STATE" + plain + "\na        ready\n" + Red + "longer   error" +
		plain + "\n"
	if got := string(table.Text(true)); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPairsLeaveOutWhatIsNotKnown(t *testing.T) {
	got := Pairs([][2]string{{"who", "ci"}, {"recovers", ""}, {"kept in", "kernel keyring"}})
	if want := []string{"  who      ci", "  kept in  kernel keyring"}; !slices.Equal(got,
		want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestAgeIsAsKubectlShowsIt(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 59 * time.Second: "59s", 90 * time.Minute: "90m",
		30 * 24 * time.Hour: "30d",
	} {
		if got := Age(d); got != want {
			t.Errorf("Age(%v) is %s, want %s", d, got, want)
		}
	}
}

func TestATableIsCutWhereTheTerminalEnds(t *testing.T) {
	for _, test := range []struct {
		name  string
		width int
		want  string
	}{
		{"where there is none it is whole", 0, "A     B\nname  a very long text\n"},
		{"a line that fits stays", 17, "A     B\nname  a very lon…\n"},
		{"runes count and not bytes", 9, "A     B\nname  a …\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			table := &Table{Header: []string{"A", "B"}, Width: test.width}
			table.Row("", "name", "a very long text")
			if got := string(table.Text(false)); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
