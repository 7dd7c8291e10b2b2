//go:build linux

package prepare

import (
	"errors"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

func TestSetupKeepsAProfileOfAnotherAccountOrServer(t *testing.T) {
	home := t.TempDir()
	h := host.System().With(func(name string) (string, bool) {
		return home,
			name == "XDG_CONFIG_HOME"
	})
	folder, err := h.Profiles()
	if err != nil {
		t.Fatal(err)
	}
	kept := profile.Profile{Name: "p", Cluster: profile.Cluster{Server: "https://a:6443"},
		Namespace: "build", ServiceAccount: "ci",
		Duration: profile.Duration{Duration: time.Hour}, Store: keyring.None,
		Bootstrap: profile.Bootstrap{Source: profile.SourceEnv, Variable: "V"}}
	if err := folder.Save(kept); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		change func(*profile.Profile)
		taken  bool
	}{
		{name: "the same can be set up again", change: func(*profile.Profile) {}},
		{name: "the same with another lifetime may",
			change: func(p *profile.Profile) { p.Duration.Duration = 2 * time.Hour }},
		{name: "a free name may be taken", change: func(p *profile.Profile) {
			p.Name,
				p.ServiceAccount = "q", "cd"
		}},
		{name: "another account may not take the name",
			change: func(p *profile.Profile) { p.ServiceAccount = "cd" }, taken: true},
		{name: "another server may not take the name",
			change: func(p *profile.Profile) { p.Cluster.Server = "https://b:6443" },
			taken:  true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wanted := kept
			tt.change(&wanted)
			p := &Preparation{host: h, profile: wanted}
			if err := p.checkTaken(t.Context()); errors.Is(err,
				ErrProfileTaken) != tt.taken ||
				!tt.taken && err != nil {
				t.Errorf("error %v", err)
			}
		})
	}
}
