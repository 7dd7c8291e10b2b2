//go:build linux

package main

import (
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
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
