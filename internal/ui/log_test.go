package ui

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"
	"unicode"

	"sigs.k8s.io/yaml"
)

func TestPrintable(t *testing.T) {
	for _, test := range []struct{ name, text, want string }{
		{"plain text stays", "no such profile: \"p\"", "no such profile: \"p\""},
		{"letters of all scripts stay", "Zürich 東京 עברית", "Zürich 東京 עברית"},
		{"lines become one", "a\nb\tc", "a b c"},
		{"an escape sequence is broken", "\x1b[2J\x07\r\x00", "?[2J???"},
		{"so is one of a single character", "\u009b2J\u0085\x7f", "?2J??"},
		{"nothing is shown in another order", "\u202aa\u202bb\u202cc\u202dd\u202ee\u2066f\u2067g\u2068h\u2069\u200e\u200f\u061c", "?a?b?c?d?e?f?g?h????"},
		{"other ends of lines go", "a\u2028b\u2029c", "a?b?c"},
		{"so does what is no UTF-8", "a\xffb", "a?b"},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := Printable(test.text); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestPrintableLeavesNothingThatATerminalObeys(t *testing.T) {
	for r := rune(0); r <= unicode.MaxRune; r++ {
		for _, got := range Printable(string(r)) {
			if unicode.In(got, unicode.Cc, unicode.Bidi_Control, unicode.Zl,
				unicode.Zp) {
				t.Errorf("%U is left", r)
			}
		}
	}
}

// hostileText holds what Printable takes out.
const hostileText = "a\x1b[2J\u202eb\u009bc\u2028d"

type hostileItem struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels"`
	Next   *hostileItem      `json:"next,omitempty"`
	Any    any               `json:"any,omitempty"`
	Since  time.Time         `json:"since"`
	Kinds  [1]kindOfText     `json:"kinds"`
	Err    error             `json:"-"`
	hidden string
}

type kindOfText string

func TestWhatIsEncodedHoldsNothingThatATerminalObeys(t *testing.T) {
	item := hostileItem{Name: hostileText, Labels: map[string]string{hostileText: hostileText},
		Any:   []any{hostileText, map[string]any{hostileText: hostileText}, 1, nil},
		Since: time.Unix(0, 0).UTC(), Kinds: [1]kindOfText{hostileText},
		Err: errors.New(hostileText), hidden: hostileText}
	item.Next = &hostileItem{Name: hostileText}
	for _, format := range []string{"json", "yaml"} {
		t.Run(format, func(t *testing.T) {
			encoded, err := Encode(format, []hostileItem{item})
			if err != nil {
				t.Fatal(err)
			}
			var decoded any
			if err := yaml.Unmarshal(encoded, &decoded); err != nil { // JSON is YAML
				t.Fatal(err)
			}
			text := fmt.Sprint(decoded)
			if strings.ContainsAny(text, "\x1b\u202e\u009b\u2028") {
				t.Errorf("what it holds is %q", text)
			}
			if got := strings.Count(text, Printable(hostileText)); got != 8 {
				t.Errorf("%d of 8 texts are in %q", got, text)
			}
			if !strings.Contains(text, "1970-01-01T00:00:00Z") {
				t.Errorf("no time in %q", text)
			}
		})
	}
	if item.Name != hostileText || item.Next.Name != hostileText {
		t.Error("the value itself was changed")
	}
}
