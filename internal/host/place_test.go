//go:build linux

package host

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

func hostWith(settings ...string) *Host {
	h := System().With(Snapshot(settings))
	h.Log = &ui.Log{Out: io.Discard}
	h.SystemRuntime = "" // that of this machine has no part in a test
	return h
}

func TestAMissingProfileNamesWhereItWasLookedFor(t *testing.T) {
	missing := fmt.Errorf("%w: %q", profile.ErrMissing, "p")
	tests := []struct {
		name     string
		settings []string
		want     string
	}{
		{"the variable", []string{"HOME=/h", "XDG_CONFIG_HOME=/c"},
			`in "/c/sa-exec-credential/profiles" (XDG_CONFIG_HOME chose it)`},
		{"a relative one does not count", []string{"HOME=/h", "XDG_CONFIG_HOME=c"},
			`in "/h/.config/sa-exec-credential/profiles" (HOME chose it)`},
		{"nothing is set", nil, `(the user database chose it)`},
		{"control characters stay quoted", []string{"XDG_CONFIG_HOME=/\x1b[2J"}, `"/\x1b[2J/`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h := hostWith(tt.settings...)
			h.UserHome = func() (string, error) { return "/root", nil }
			err := h.Located(missing)
			if !errors.Is(err, profile.ErrMissing) || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want %s", err, tt.want)
			}
		})
	}
	other := errors.New("another error")
	if err := hostWith().Located(other); err != other {
		t.Errorf("got %v", err)
	}
}

func TestProgramsWithoutVariablesAreWarnedOf(t *testing.T) {
	home, runtime := t.TempDir(), t.TempDir()
	if err := os.Chmod(runtime, 0o700); err != nil {
		t.Fatal(err)
	}
	usual := []string{"HOME=" + home, "XDG_CONFIG_HOME=" + filepath.Join(home, ".config"),
		"XDG_CACHE_HOME=" + filepath.Join(home, ".cache")}
	tests := []struct {
		name     string
		settings []string
		want     []string // variables
	}{
		{name: "the usual places", settings: usual},
		{name: "profiles elsewhere", settings: append(usual, "XDG_CONFIG_HOME=/c"),
			want: []string{"XDG_CONFIG_HOME"}},
		{name: "locks elsewhere", settings: append(usual, "XDG_CACHE_HOME=/c"),
			want: []string{"XDG_CACHE_HOME"}},
		{name: "a runtime directory elsewhere", settings: append(usual,
			"XDG_RUNTIME_DIR="+runtime), want: []string{"XDG_RUNTIME_DIR"}},
		{name: "one that is not trusted is not used", settings: append(usual,
			"XDG_RUNTIME_DIR=/tmp")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := hostWith(tt.settings...).Stray()
			if len(got) != len(tt.want) {
				t.Fatalf("got %q", got)
			}
			for i, variable := range tt.want {
				if !strings.Contains(got[i], "because of "+variable+":") &&
					!strings.Contains(got[i], "because of "+variable+";") &&
					!strings.Contains(got[i], "because of "+variable+" ") {
					t.Errorf("got %q, want one of %s", got[i], variable)
				}
			}
		})
	}
}

func TestAPipeIsReadOnceAndFoundAgain(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	if _, err := write.WriteString("kind: Config\n"); err != nil {
		t.Fatal(err)
	}
	_ = write.Close()
	h := hostWith("HOME=" + t.TempDir())
	for range 2 {
		paths, err := h.SourcePaths(fmt.Sprintf("/dev/fd/%d", read.Fd()))
		if err != nil || len(paths) != 1 {
			t.Fatal(paths, err)
		}
		for range 2 {
			data, err := os.ReadFile(paths[0])
			if err != nil || string(data) != "kind: Config\n" {
				t.Errorf("%s holds %q: %v", paths[0], data, err)
			}
		}
		if !IsTemporary(paths[0]) {
			t.Errorf("%q will not be there later", paths[0])
		}
	}
}

func TestFilesThatWillNotBeThereLaterAreKnown(t *testing.T) {
	dir := t.TempDir()
	for path, want := range map[string]bool{
		"/dev/fd/63":                        true,
		"/proc/self/fd/9":                   true,
		"/proc/123/fd/9":                    true,
		"/dev/stdin":                        true,
		"/dev/null":                         true,
		"/tmp/tmp.Zk3VbYqLr4":               true,
		"/tmp/tmp.Zk3VbYqLr4.yaml":          true,
		"/tmp/tmpab12_9xy":                  true,
		"/var/tmp/tmp.Zk3VbYqLr4":           true,
		"/tmp/admin.kubeconfig":             false,
		"/tmp/tmp.Zk3VbYqLr4/config":        false,
		"/home/jane/.kube/config":           false,
		"/home/jane/tmp.Zk3VbYqLr4":         false,
		filepath.Join(dir, "missing"):       false,
		filepath.Join(dir, "tmp.Zk3VbYqLr"): false,
	} {
		if got := IsTemporary(path); got != want {
			t.Errorf("%q: got %v", path, got)
		}
	}
}
