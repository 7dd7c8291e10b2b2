package secret

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestNothingThatPrintsShowsTheText(t *testing.T) {
	s := New("eyJ.payload.sig")
	holder := struct {
		Token   String
		Pointer *String
	}{s, &s}

	shown := map[string]string{}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%t"} {
		shown["value "+verb] = fmt.Sprintf(verb, s)
		shown["pointer "+verb] = fmt.Sprintf(verb, &s)
		shown["holder "+verb] = fmt.Sprintf(verb, holder)
	}
	encoded, err := json.Marshal(holder)
	if err != nil {
		t.Fatal(err)
	}
	shown["json"] = string(encoded)
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("minted", "token", s, "holder", holder)
	shown["slog"] = log.String()

	hexed := fmt.Sprintf("%x", s.Reveal())
	for how, text := range shown {
		if strings.Contains(text, "payload") || strings.Contains(strings.ToLower(text),
			hexed) {
			t.Errorf("%s shows the text: %s", how, text)
		}
	}
}

func TestReveal(t *testing.T) {
	if got := New("text").Reveal(); got != "text" {
		t.Errorf("got %q", got)
	}
	if New("x").Empty() || !New("").Empty() {
		t.Error("Empty does not tell an empty secret from another")
	}
}

func TestIsToken(t *testing.T) {
	tests := []struct {
		name, text string
		want       bool
	}{
		{"a JWT", "eyJ.pay-load.sig_", true},
		{"64 KiB", strings.Repeat("t", 64<<10), true},
		{"more than 64 KiB", strings.Repeat("t", 64<<10+1), false},
		{"nothing", "", false},
		{"two words", "a b", false},
		{"two header lines", "a\r\nX-Evil: 1", false},
		{"what a terminal obeys", "a\x1b[2J", false},
		{"a deleted character", "a\x7f", false},
		{"a letter beyond ASCII", "ä", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := IsToken(tt.text); got != tt.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
