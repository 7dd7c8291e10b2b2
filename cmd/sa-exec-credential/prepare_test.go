//go:build linux

package main

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// deviceNames asks for the machine's name many times at once.
func deviceNames(t *testing.T, home string) []string {
	env := &environment{
		lookupEnv: func(name string) (string, bool) {
			return home, name == "XDG_CONFIG_HOME" || name == "APPDATA" || name == "HOME"
		},
		hostname: func() (string, error) { return "laptop", nil },
	}
	names := make([]string, 50)
	var wait sync.WaitGroup
	for i := range names {
		wait.Go(func() {
			name, err := env.deviceName()
			if err != nil {
				t.Error(err)
			}
			names[i] = name
		})
	}
	wait.Wait()
	slices.Sort(names)
	return slices.Compact(names)
}

func TestDeviceNameIsChosenOnce(t *testing.T) {
	home := t.TempDir()
	first := deviceNames(t, home)
	if len(first) != 1 || first[0] == "" {
		t.Fatalf("the names are %q", first)
	}
	if again := deviceNames(t, home); !slices.Equal(first, again) {
		t.Errorf("the names are %q, then %q", first, again)
	}
}

func TestDeviceNameReplacesAnEmptyFile(t *testing.T) {
	home := t.TempDir()
	deviceNames(t, home)
	path := filepath.Join(home, "sa-exec-credential", "device")
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	if names := deviceNames(t, home); slices.Contains(names, "") {
		t.Errorf("the names are %q", names)
	}
}

func TestSetupKeepsAProfileOfAnotherAccountOrServer(t *testing.T) {
	home := t.TempDir()
	env := &environment{lookupEnv: func(name string) (string, bool) { return home, name == "XDG_CONFIG_HOME" }}
	folder, err := env.profiles()
	if err != nil {
		t.Fatal(err)
	}
	kept := profile.Profile{Name: "p", Cluster: profile.Cluster{Server: "https://a:6443"}, Namespace: "build", ServiceAccount: "ci",
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
		{name: "the same may be set up again", change: func(*profile.Profile) {}},
		{name: "the same with another lifetime may", change: func(p *profile.Profile) { p.Duration.Duration = 2 * time.Hour }},
		{name: "a free name may be taken", change: func(p *profile.Profile) { p.Name, p.ServiceAccount = "q", "cd" }},
		{name: "another account may not take the name", change: func(p *profile.Profile) { p.ServiceAccount = "cd" }, taken: true},
		{name: "another server may not take the name", change: func(p *profile.Profile) { p.Cluster.Server = "https://b:6443" }, taken: true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			wanted := kept
			tt.change(&wanted)
			p := &preparation{env: env, profile: wanted}
			if err := p.checkTaken(); errors.Is(err, errProfileTaken) != tt.taken || !tt.taken && err != nil {
				t.Errorf("error %v", err)
			}
		})
	}
}
