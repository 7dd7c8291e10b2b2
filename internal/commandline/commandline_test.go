package commandline

import (
	"strings"
	"testing"
	"time"

	"github.com/alecthomas/kong"
)

type run struct {
	Name  string `arg:"" help:"A name."`
	Extra string `arg:"" optional:""`
	Form  string `short:"o" enum:"table,json" default:"table"`
	Needs string `required:""`
	All   bool   `xor:"which" required:""`
	One   string `xor:"which" required:""`
	List  []string
	For   time.Duration
}

type grammar struct {
	Version bool
	Run     run      `cmd:""`
	Other   struct{} `cmd:""`
	Hidden  struct{} `cmd:"" hidden:""`
}

func parser(t *testing.T, cli any) *kong.Kong {
	t.Helper()
	parser, err := kong.New(cli, kong.Name("program"))
	if err != nil {
		t.Fatal(err)
	}
	return parser
}

func TestParse(t *testing.T) {
	tests := []struct {
		name, line, err, asked string
	}{
		{name: "all that is needed", line: "run a --needs x --all"},
		{name: "the other of two that exclude each other", line: "run a --needs x --one y"},
		{name: "an enum's other value", line: "run a b -o json --needs x --all"},
		{name: "no other value", line: "run a -o toml --needs x --all",
			err: `--form must be one of table, json, not "toml"`},
		{name: "a flag without its value", line: "run a --all --needs",
			err: "--needs needs a value"},
		{name: "a flag where a value should be", line: "run a --needs --all",
			err: `--needs needs a value, and "--all" is a flag: --needs="--all" would make it one`},
		{name: "a list without its first value", line: "run a --needs x --all --list",
			err: "--list needs a value"},
		{name: "no duration", line: "run a --needs x --all --for 5x",
			err: `--for must be a duration, such as 90m or 720h, not "5x"`},
		{name: "neither true nor false", line: "run a --needs x --all=maybe",
			err: `--all must be true or false, not "maybe"`},
		{name: "a short flag without its value", line: "run a --needs x --all -o",
			err: "--form needs a value"},
		{name: "a missing argument", line: "run --needs x --all", err: `expected "<name>"`},
		{name: "a missing flag", line: "run a --all", err: "missing flags: --needs=STRING"},
		{name: "a missing choice", line: "run a --needs x",
			err: "missing flags: --all or --one=STRING"},
		{name: "both of two that exclude each other", line: "run a --needs x --all --one y",
			err: "--all and --one can't be used together"},
		{name: "no command", line: "", err: `expected one of "run", "other"`},
		{name: "an unknown flag", line: "run --all --bogus", err: "unknown flag --bogus"},
		{name: "one argument too many", line: "other x", err: "unexpected argument x"},
		{name: "a hidden command", line: "hidden"},
		{name: "help in place of a command", line: "--help", asked: "help"},
		{name: "help in place of what is missing", line: "run --help", asked: "help"},
		{name: "the first of two", line: "--version run -h", asked: "version"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, asked, err := Parse(parser(t, &grammar{}), strings.Fields(tt.line), "help",
				"version")
			text := ""
			if err != nil {
				text = err.Error()
			}
			if text != tt.err || asked != tt.asked {
				t.Errorf("asked for %q, error %q, not %q, %q", asked, text, tt.asked, tt.err)
			}
		})
	}
	t.Run("what was typed and what was not", func(t *testing.T) {
		cli := grammar{}
		parsed, _, err := Parse(parser(t, &cli), []string{"run", "a", "--needs=x", "--all"})
		if err != nil || parsed.Selected().Name != "run" || cli.Run.Name != "a" ||
			cli.Run.Form != "table" || cli.Run.Needs != "x" || !cli.Run.All {
			t.Errorf("%v: %+v", err, cli)
		}
	})
}

func TestCheck(t *testing.T) {
	if problems := Check(parser(t, &grammar{}).Model.Node); len(problems) > 0 {
		t.Error(problems)
	}
	for name, unknown := range map[string]any{
		"and": &struct {
			A, B bool `and:"x"`
		}{},
		"env": &struct {
			A string `env:"X"`
		}{},
		"two": &struct {
			A string `xor:"x,y"`
		}{},
		"numbers": &struct {
			A int `enum:"1,2" default:"1"`
		}{},
		"deeper": &struct {
			Run struct {
				A string `env:"X"`
			} `cmd:""`
		}{},
	} {
		if problems := Check(parser(t, unknown).Model.Node); len(problems) == 0 {
			t.Errorf("%s: nothing is said", name)
		}
	}
}
