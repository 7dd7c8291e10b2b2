package ui

import (
	"bytes"
	"slices"
	"strings"
	"testing"
)

func TestALongWordStaysInOnePiece(t *testing.T) {
	for _, test := range []struct {
		name  string
		width int
		text  string
		want  string
	}{
		{"what fits", 14, "ab abcdef", "ab\n      abcdef"},
		{"what needs room to the left", 14, "ab abcdefghij cd", "ab\n    abcdefghij\n      cd"},
		{"and comes first", 14, "abcdefghij", "\n    abcdefghij"},
		{"what fits nowhere", 14, "ab abcdefghijklmnop", "ab\n  abcdefghijklmnop"},
		{"where lines are not broken", 0, "ab abcdefghijklmnop", "ab abcdefghijklmnop"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := (Look{Width: test.width}).Beside(6, test.text); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestPairsKeepTheirColumnsOnANarrowTerminal(t *testing.T) {
	got := Look{
		Width: 24,
	}.Pairs(
		[][2]string{{"can", "get, list, watch: pods, services"}, {"kept in", "a"}},
	)
	want := []string{"  can      get, list,\n           watch: pods,\n           services",
		"  kept in  a"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestLinesOnATerminalOfTheCommandsOwn is about standard error: without the program's name, and
// with commands in one piece.
func TestLinesOnATerminalOfTheCommandsOwn(t *testing.T) {
	for _, test := range []struct {
		name string
		kind Kind
		text string
		want string
	}{
		{"a step", Step, `Namespace "build": created`, `Namespace "build": created`},
		{"a command's name is none of its words", "setup", "1/2 prod: ready", "1/2 prod: ready"},
		{"a long step hangs", Step, "a step that needs more room than there is",
			"a step that needs more room\n  than there is"},
		{"what has come of it", Done, "refused after 12 seconds", "refused after 12 seconds"},
		{"a warning", Warning, "a token lives a day", "warning: a token lives a day"},
		{"an error hangs, too", failure, "the cluster does not answer any more",
			"error: the cluster does not\n  answer any more"},
		{"a command is in one piece", Hint, "set it up again: sa-exec-credential setup ci -n build",
			"hint: set it up again:\n    sa-exec-credential setup ci -n build"},
		{"text goes on behind it", Hint, "do: kubectl get 'a; b' pods; or: rm x y",
			"hint: do:\n    kubectl get 'a; b' pods\n  or:\n    rm x y"},
		{"a colon alone is no command", Hint, "set: this", "hint: set: this"},
	} {
		t.Run(test.name, func(t *testing.T) {
			var out bytes.Buffer
			(&Log{Out: &out, own: true, look: Look{Width: 30}}).Line(
				test.kind,
				test.text,
			)
			if got := out.String(); got != test.want+"\n" {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestColoursOfLines(t *testing.T) {
	look := Look{Colours: true, Width: 80}
	for kind, want := range map[Kind]string{
		Step:    Faint + "x: y z" + plain,
		Done:    Proof + "x: y z" + plain,
		Warning: Yellow + "warning:" + plain + " x: y z",
		failure: Red + "error:" + plain + " x: y z",
	} {
		if got := look.line(kind, "x: y z"); got != want {
			t.Errorf("%q is %q, want %q", kind, got, want)
		}
	}
	if got, want := look.line(Hint, "x: rm y"), Bold+"hint:"+plain+" x:\n    "+Bold+"rm y"+
		plain; got != want {
		t.Errorf("a hint is %q, want %q", got, want)
	}
}

// TestAGapNeedsSomethingBefore: what is printed first begins at the top.
func TestAGapNeedsSomethingBefore(t *testing.T) {
	var out bytes.Buffer
	l := &Log{Out: &out, own: true}
	l.Gap()
	l.Line(Step, "a")
	l.Gap()
	if out.String() != "a\n\n" {
		t.Errorf("got %q", out.String())
	}
	elsewhere := &Log{Out: &out}
	out.Reset()
	elsewhere.Reporter("setup")(Done, "a")
	elsewhere.Gap()
	if out.String() != "sa-exec-credential: setup: a\n" {
		t.Errorf("got %q", out.String())
	}
}

func TestBrokenLosesNothing(t *testing.T) {
	for _, text := range []string{"", "one", "one two  three", strings.Repeat("long", 30) +
		" and short", " begins and ends with spaces "} {
		for width := range 40 {
			got := strings.Join(Broken(text, width), " ")
			if !slices.Equal(strings.Fields(got), strings.Fields(text)) {
				t.Errorf("Broken(%q, %d) gives %q", text, width, got)
			}
		}
	}
}
