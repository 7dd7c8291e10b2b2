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
		if strings.Contains(text, "payload") || strings.Contains(strings.ToLower(text), hexed) {
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
