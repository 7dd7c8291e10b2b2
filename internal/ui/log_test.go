package ui

import (
	"testing"
	"unicode"
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
