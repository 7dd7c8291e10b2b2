package docs_test

import (
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/test/docs"
)

func TestBlocksAndTheirCommands(t *testing.T) {
	const page = "text `inline x`\n```sh pod=a/b\n# a comment\none \\\n  --two   # why\nthree <<E\n" +
		"not a command\nE\n```\n```console\n$ four\nshown\n…\n$ five\n```\n"
	blocks := docs.Blocks(page)
	if len(blocks) != 2 || blocks[0].Line != 3 || blocks[0].Words[0] != "pod=a/b" {
		t.Fatalf("the blocks are %+v", blocks)
	}
	commands := append(blocks[0].Commands(), blocks[1].Commands()...)
	for i, want := range []docs.Command{
		{Line: 4, Text: "one \\\n  --two   # why"}, {Line: 6, Text: "three <<E\nnot a command\nE"},
		{Line: 11, Text: "four", Shown: "shown\n…\n"}, {Line: 14, Text: "five"},
	} {
		if i >= len(commands) || commands[i] != want {
			t.Fatalf("the commands are %+v", commands)
		}
	}
	if spans := docs.Inline(page); len(spans) != 1 || spans[0].Text != "inline x" {
		t.Errorf("within the text is %+v", spans)
	}
}

func TestWhatIsShownIsWhatIsPrinted(t *testing.T) {
	for _, test := range []struct {
		name, shown, output string
		want                bool
	}{
		{"the same", "It works.\n", "It works.\n", true},
		{"another word", "It works.", "It work.", false},
		{"a line more", "It works.", "It works.\nNext", false},
		{"a line that is left out", "a\n…\nb", "a\nx\ny\nb", true},
		{"nothing that is left out", "…\nb", "b", true},
		{"another time", "until 2026-03-01 13:04 (59m)", "until 2027-12-31 00:00 (1h2m)", true},
		{"another machine", "ci-device-laptop-292b386dd1d34e1f", "ci-device-vm-9735fea9771ead76",
			true},
		{"another account's machine", "ci-device-laptop-292b386dd1d34e1f",
			"cd-device-vm-9735fea9771ead76", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := docs.Matches(test.shown, test.output); got != test.want {
				t.Errorf("%v", got)
			}
		})
	}
}
