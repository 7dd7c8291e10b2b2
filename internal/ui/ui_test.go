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
	if got, want := string(table.Text(Look{})),
		"NAME     STATE\na        ready\nlonger   error\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	want := Bold + "NAME     STATE" + plain + "\na        ready\n" + Red + "longer   error" +
		plain + "\n"
	if got := string(table.Text(Look{Colours: true})); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPairsLeaveOutWhatIsNotKnown(t *testing.T) {
	got := Look{}.Pairs([][2]string{{"who", "ci"}, {"recovers", ""}, {"kept in", "kernel keyring"}})
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

func TestATableGetsAlongWithANarrowTerminal(t *testing.T) {
	const note = "why it is so, in more words than fit"
	for _, test := range []struct {
		name  string
		width int
		want  string
	}{
		{"where there is no terminal it is whole, with notes at the end of lines", 0,
			"A     ID  B\nname  7   a very long text; " + note + "\n"},
		{"where it fits nothing is left out", 26,
			"A     ID  B\nname  7   a very long text\n  why it is so, in more\n  words than fit\n"},
		{"a column that can be spared goes first", 22,
			"A     B\nname  a very long text\n  why it is so, in\n  more words than fit\n"},
		{"then lines are cut, by characters and not by bytes", 12,
			"A     B\nname  a ver…\n  why it is\n  so, in\n  more words\n  than fit\n"},
	} {
		t.Run(test.name, func(t *testing.T) {
			table := &Table{Header: []string{"A", "ID", "B"}, Spare: []string{"ID"}}
			table.Row("", "name", "7", "a very long text")
			table.Note(note)
			if got := string(table.Text(Look{Width: test.width})); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

// TestAColumnStaysThatHasGivenWayToNoAvail although it would be the first to go.
func TestAColumnStaysThatHasGivenWayToNoAvail(t *testing.T) {
	table := &Table{Header: []string{"A", "ID", "B", "WIDE"}, Spare: []string{"B", "ID", "WIDE"}}
	table.Row("", "name", "7", "text", "more than there is room for")
	for width, want := range map[int]string{
		40: "A     ID  WIDE\nname  7   more than there is room for\n",
		32: "A     ID  B\nname  7   text\n",
		12: "A     ID\nname  7\n",
		8:  "A     ID\nname  7\n",
		7:  "A\nname\n",
	} {
		if got := string(table.Text(Look{Width: width})); got != want {
			t.Errorf("in %d columns it is %q, not %q", width, got, want)
		}
	}
}

func TestCommandsAreSpelledAsTheProgramIsCalled(t *testing.T) {
	t.Cleanup(func() { typed = []string{Program} })
	const text = Program + " setup ci; to see: " + Program + " status; " + Program + " is no command"
	for _, test := range []struct{ called, line, text string }{
		{"/usr/bin/" + Program, Program + " status", text},
		{Program + ".exe", Program + " status", text},
		{"kubectl-", Program + " status", text},
		{"/home/me/.krew/bin/kubectl-sa_exec_credential", "kubectl " + Program + " status",
			"kubectl " + Program + " setup ci; to see: kubectl " + Program + " status; " +
				Program + " is no command"},
		{"kubectl-sa_exec_credential.exe", "kubectl " + Program + " status",
			"kubectl " + Program + " setup ci; to see: kubectl " + Program + " status; " +
				Program + " is no command"},
		{"kubectl-creds-sa_exec", "kubectl creds sa-exec status",
			"kubectl creds sa-exec setup ci; to see: kubectl creds sa-exec status; " +
				Program + " is no command"},
	} {
		t.Run(test.called, func(t *testing.T) {
			typed = []string{Program}
			CalledAs(test.called)
			if got := CommandLine(Program, "status"); got != test.line {
				t.Errorf("the command is %q", got)
			}
			if got := AsTyped(text); got != test.text {
				t.Errorf("the text is %q", got)
			}
			if got := Elsewhere(Program, "a b"); got != Program+" 'a b'" {
				t.Errorf("on another machine it is %q", got)
			}
			if got := CommandLine(); got != "" {
				t.Errorf("nothing is %q", got)
			}
		})
	}
}
