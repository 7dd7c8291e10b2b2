package secret

import (
	"strings"
	"testing"
)

func TestURLsAreShownWithoutWhatTheyHide(t *testing.T) {
	tests := []struct{ url, shown, plain string }{
		{"https://host:6443/path", "https://host:6443/path", "https://host:6443/path"},
		{"https://jane:hunter2@host", "https://REDACTED@host", "https://host"},
		{"https://hunter2@host/p", "https://REDACTED@host/p", "https://host/p"},
		{"https://jane:hunter2@host?token=hunter2", "https://REDACTED@host?REDACTED",
			"https://host"},
		{"https://host/a@b", "https://host/a@b", "https://host/a@b"},
		{"https://host?", "https://host", "https://host"},
		{"https://host#hunter2", "https://host#REDACTED", "https://host#REDACTED"},
		{"http://jane:hunter2%zz@host", "http://REDACTED@host", "http://host"},
		{"http://jane:hunter2/x@host:1", "http://REDACTED@host:1", "http://host:1"},
		{"http://jane:hunter2#x@host", "http://REDACTED@host", "http://host"},
		{"http://jane:hunter2?x@host", "http://REDACTED@host", "http://host"},
		{"http://jane:hunter2@x@host", "http://REDACTED@host", "http://host"},
		{"jane:hunter2@host:6443", "REDACTED@host:6443", "host:6443"},
		{"//jane:hunter2@host", "//REDACTED@host", "//host"},
		{"jane:hunter2//x@host", "REDACTED@host", "host"},
		{"socks5://jane:hunter2@[::1]:1080", "socks5://REDACTED@[::1]:1080",
			"socks5://[::1]:1080"},
		{"", "", ""},
	}
	for _, tt := range tests {
		if got := URL(tt.url); got != tt.shown {
			t.Errorf("%q is shown as %q, want %q", tt.url, got, tt.shown)
		}
		if got := PlainURL(tt.url); got != tt.plain {
			t.Errorf("%q is typed as %q, want %q", tt.url, got, tt.plain)
		}
		if got := HasUser(tt.url); got != strings.Contains(tt.shown, "REDACTED@") {
			t.Errorf("%q has a user: %v", tt.url, got)
		}
	}
}

func FuzzURL(f *testing.F) {
	for _, seed := range []string{"hunter", "a/b", "a?b", "a#b", "%zz", "a@b", "//", ":"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, password string) {
		const mark = "hunter2"
		url := "http://jane:" + mark + password + "@host:3128"
		if shown := URL(url); strings.Contains(shown, mark) {
			t.Errorf("%q is shown as %q", url, shown)
		}
	})
}
