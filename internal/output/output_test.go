package output

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// hostileText holds what ui.Printable takes out.
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
			if got := strings.Count(text, ui.Printable(hostileText)); got != 8 {
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
