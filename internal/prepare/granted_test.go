package prepare

import (
	"strings"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

func TestGranted(t *testing.T) {
	month := &profile.Duration{Duration: 720 * time.Hour}
	tests := []struct {
		name     string
		asked    *profile.Duration
		lifetime time.Duration
		want     time.Duration // 0: as asked
	}{
		{"as asked", month, 720 * time.Hour, 0},
		{"some seconds less", month, 720*time.Hour - 59*time.Second, 0},
		{"a minute less", month, 720*time.Hour - time.Minute, 720*time.Hour - time.Minute},
		{"a day, less the way", month, 24*time.Hour - 2*time.Second, 24 * time.Hour},
		{"more than asked", month, 800 * time.Hour, 0},
		{"nothing was asked", nil, time.Hour, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := Granted(tt.asked, tt.lifetime)
			if (got == nil) != (tt.want == 0) || got != nil && got.Duration != tt.want {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestShortLife(t *testing.T) {
	p := profile.Profile{Bootstrap: profile.Bootstrap{Source: profile.SourceKeyring,
		Duration: &profile.Duration{Duration: 720 * time.Hour}}}
	if text := ShortLife(p); text != "" {
		t.Errorf("of a credential that lives as long as asked: %q", text)
	}
	p.Bootstrap.Granted = &profile.Duration{Duration: 24 * time.Hour}
	for _, part := range []string{"of 24h, not the 720h asked for", "must run within 24h",
		"weekend", "--recover", "context=NAME"} {
		if text := ShortLife(p); !strings.Contains(text, part) {
			t.Errorf("%q is not in %q", part, text)
		}
	}
	p.Recovery = &profile.Recovery{Credential: profile.Bootstrap{Context: "admin@prod"}}
	if text := ShortLife(p); !strings.Contains(text, `context "admin@prod"`) ||
		strings.Contains(text, "needed again") {
		t.Errorf("with a recovery: %q", text)
	}
	p.Bootstrap.Source = profile.SourceContext
	if text := ShortLife(p); text != "" {
		t.Errorf("of another source: %q", text)
	}
}

func TestMayBeOff(t *testing.T) {
	lives := func(asked, granted time.Duration) profile.Bootstrap {
		b := profile.Bootstrap{Source: profile.SourceKeyring,
			Duration: &profile.Duration{Duration: asked}}
		b.Granted = Granted(b.Duration, granted)
		return b
	}
	const ofItself = ", and renews itself from the half of that on"
	recovery := &profile.Recovery{Credential: profile.Bootstrap{Context: "admin@prod"}}
	for _, test := range []struct {
		name    string
		profile profile.Profile
		kept    string
		want    string
	}{
		{"half of what was asked for", profile.Profile{Store: keyring.Keyring,
			Bootstrap: lives(720*time.Hour, 720*time.Hour)},
			"", "for about 15d: its bootstrap credential lives 720h" + ofItself},
		{"half of what was granted", profile.Profile{Store: keyring.Keyring,
			Bootstrap: lives(720*time.Hour, 24*time.Hour)},
			"", "for about 12h: its bootstrap credential lives 24h" + ofItself},
		{"and a recovery", profile.Profile{Store: keyring.Keyring, Recovery: recovery,
			Bootstrap: lives(24*time.Hour, 24*time.Hour)},
			"", "for about 12h: its bootstrap credential lives 24h" + ofItself +
				`; after that context "admin@prod" gives it a new one`},
		{"a store that does not outlive a restart", profile.Profile{Store: keyring.Kernel,
			Bootstrap: lives(720*time.Hour, 720*time.Hour)},
			"until this machine restarts",
			"not at all: its store keeps what it has until this machine restarts"},
		{"another source", profile.Profile{Store: keyring.None,
			Bootstrap: profile.Bootstrap{Source: profile.SourceEnv}}, "", ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			if got := MayBeOff(test.profile, test.kept); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}
