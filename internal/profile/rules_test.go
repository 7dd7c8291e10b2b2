package profile

import (
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/validation"
)

func TestCheckLifetime(t *testing.T) {
	tests := []struct {
		name string
		d    time.Duration
		want string // empty: it is one
	}{
		{"the shortest", 10 * time.Minute, ""},
		{"the longest", (1 << 32) * time.Second, ""},
		{"too short", 10*time.Minute - time.Second,
			`invalid --duration "9m59s": must be between 10m and 1193046h28m16s, in whole seconds`},
		{"too long", 2000000 * time.Hour,
			`invalid --duration "2000000h": must be between 10m and 1193046h28m16s, in whole seconds`},
		{"a fraction of a second", time.Hour + time.Millisecond,
			`invalid --duration "1h0m0.001s": must be between 10m and 1193046h28m16s, in whole seconds`},
		{"nothing", 0, `invalid --duration "0s": must be between 10m and 1193046h28m16s, in whole seconds`},
		{"less than nothing", -time.Hour,
			`invalid --duration "-1h": must be between 10m and 1193046h28m16s, in whole seconds`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			err := CheckLifetime("--duration", tt.d)
			if (err == nil) != (tt.want == "") || err != nil && err.Error() != tt.want {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestShortDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", time.Second: "1s", 10 * time.Second: "10s", time.Minute: "1m",
		10 * time.Minute: "10m", time.Hour: "1h",
		90 * time.Minute: "1h30m", time.Hour +
			5*time.Second: "1h0m5s", 720 * time.Hour: "720h",
		100 * time.Minute: "1h40m",
	} {
		got := ShortDuration(d)
		if again, err := time.ParseDuration(got); got != want || err != nil || again != d {
			t.Errorf("%v is %q, want %q, which is read as %v, %v", d, got, want, again,
				err)
		}
	}
}

func TestNamesOfObjects(t *testing.T) {
	tests := []struct {
		name               string
		namespace, account bool // it is one
	}{
		{"build", true, true},
		{"a-1", true, true},
		{"a.b", false, true},
		{strings.Repeat("n", 63), true, true},
		{strings.Repeat("n", 64), false, true},
		{strings.Repeat("n", 253), false, true},
		{strings.Repeat("n", 254), false, false},
		{"", false, false},
		{"Build", false, false},
		{"-a", false, false},
		{"a-", false, false},
		{"a..b", false, false},
		{"../x", false, false},
		{"a/b", false, false},
		{"a?b", false, false},
		{"a\x1b[2J", false, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := CheckNamespace(tt.name); (err == nil) != tt.namespace ||
				err != nil &&
					strings.Contains(err.Error(), "\x1b") {
				t.Errorf("namespace: %v", err)
			}
			if err := CheckServiceAccount(tt.name); (err == nil) != tt.account ||
				err != nil &&
					strings.Contains(err.Error(), "\x1b") {
				t.Errorf("service account: %v", err)
			}
		})
	}
}

// FuzzNamesAreThoseOfTheAPIServer compares the rules for names with apimachinery's.
func FuzzNamesAreThoseOfTheAPIServer(f *testing.F) {
	for _, name := range []string{"build", "a.b", "a..b", ".a", "a.", "-a", "a-", "a.-b", "a-.b",
		"", "Build", "a/b", "ä", strings.Repeat("n", 63), strings.Repeat("n", 64),
		strings.Repeat("n", 253), strings.Repeat("n", 254), "a\x00", "a\n"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if problems := validation.IsDNS1123Label(name); (CheckNamespace(name) == nil) !=
			(len(problems) == 0) {
			t.Errorf("namespace %q: %v, %q", name, CheckNamespace(name), problems)
		}
		if problems := validation.IsDNS1123Subdomain(name); (CheckServiceAccount(name) == nil) !=
			(len(problems) == 0) {
			t.Errorf("service account %q: %v, %q", name, CheckServiceAccount(name), problems)
		}
	})
}
