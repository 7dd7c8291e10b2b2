package sealed

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// standIn is a systemd-creds of the test's: a script that gets the arguments.
func standIn(t *testing.T, kind Kind, script string) systemd {
	t.Helper()
	path := filepath.Join(t.TempDir(), "systemd-creds")
	if err := os.WriteFile(path, []byte("#!/bin/sh\n"+script), 0o755); err != nil {
		t.Fatal(err)
	}
	return systemd{kind, []string{"/nowhere/systemd-creds", path}}
}

// asUser behaves as systemd 256 for users: it wants --user, and gives back what it was given with
// a mark, unless that was not its own.
const asUser = `
case "$*" in
--version) echo "systemd 256 (256.7-1)";;
"encrypt --user --name=sa-exec-credential - -") printf 'sealed:'; cat;;
"decrypt --user --name=sa-exec-credential - -")
	text=$(cat); case "$text" in sealed:*) printf %s "${text#sealed:}";;
	*) echo "Failed to decrypt: not mine" >&2; exit 1;; esac;;
*) echo "unexpected: $*" >&2; exit 2;;
esac
`

func TestSystemdSealsForItsUser(t *testing.T) {
	f := filesBy(t, standIn(t, SystemdUser, asUser))
	mustWrite(t, f, "bootstrap:a")
	wantValue(t, f, "bootstrap:a")
	t.Run("and for no other", func(t *testing.T) {
		changed := parse(t, f, "bootstrap:a")
		changed.Key.Private = []byte("foreign")
		if _, err := f.Sealer.Unseal(limited(t), changed.Key); !errors.Is(err, ErrUnusable) ||
			!strings.Contains(err.Error(), "not mine") {
			t.Error(err)
		}
	})
}

// TestRootsKeyOfTheHost is systemd's own program; the host's key is where systemd keeps it.
func TestRootsKeyOfTheHost(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can read the host's key")
		return
	}
	f := filesBy(t, OpenSystemd())
	mustWrite(t, f, "bootstrap:a")
	wantValue(t, f, "bootstrap:a")
	if kind := parse(t, f, "bootstrap:a").Kind; kind != SystemdHost {
		t.Errorf("sealed by %s", kind)
	}
	changed := parse(t, f, "bootstrap:a")
	changed.Key.Private[30] ^= 1
	if _, err := f.Sealer.Unseal(limited(t), changed.Key); !errors.Is(err, ErrUnusable) {
		t.Error(err)
	}
}

func TestASystemdThatDoesNotSeal(t *testing.T) {
	tests := map[string]struct {
		script string
		words  string
	}{
		"too old for users": {
			`[ "$1" = --version ] && echo "systemd 252 (252.38-1)" && exit
			echo "unrecognized option '--user'" >&2; exit 1`,
			"needs systemd 256, and this is systemd 252: unrecognized option '--user'"},
		"says nothing": {`exit 3`, "exit status 3"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			f := filesBy(t, standIn(t, SystemdUser, test.script))
			err := f.Write(limited(t), "token:a", "", []byte(value))
			if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), test.words) {
				t.Errorf("%v; want %q", err, test.words)
			}
			// nor does it make a file useless that it cannot open now
			_, err = f.Sealer.Unseal(limited(t), sealedKey{Private: []byte("x")})
			if !errors.Is(err, ErrUnavailable) {
				t.Error(err)
			}
		})
	}
	t.Run("is not there", func(t *testing.T) {
		_, err := systemd{SystemdHost, []string{"/nowhere"}}.Seal(limited(t), nil)
		if !errors.Is(err, ErrUnavailable) {
			t.Error(err)
		}
	})
	t.Run("is another's", func(t *testing.T) {
		s := standIn(t, SystemdUser, asUser)
		if err := os.Chmod(s.programs[1], 0o777); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Seal(limited(t), nil); !errors.Is(err, ErrUnavailable) {
			t.Error(err)
		}
	})
}

// TestASystemdThatHangsIsLeft also has it leave a child behind that keeps its pipes.
func TestASystemdThatHangsIsLeft(t *testing.T) {
	s := standIn(t, SystemdUser, "sleep 60 & sleep 60")
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := s.Seal(ctx, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("it was waited for for %v", took)
	}
}

// TestSystemdSeesNoVariables runs it from a process with a hostile environment.
func TestSystemdSeesNoVariables(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("SYSTEMD_CREDENTIAL_SECRET", "/elsewhere")
	t.Setenv("LD_PRELOAD_FOR_TEST", "x")
	s := standIn(t, SystemdUser, "/usr/bin/env | /usr/bin/tr '\\n' ' '")
	sealed, err := s.Seal(limited(t), nil)
	for setting := range strings.FieldsSeq(string(sealed.Private)) {
		name, _, _ := strings.Cut(setting, "=")
		if !strings.Contains(" PATH LC_ALL PWD _ SHLVL OLDPWD ", " "+name+" ") {
			t.Errorf("it sees %s", setting)
		}
	}
	if err != nil || len(sealed.Private) == 0 {
		t.Error(err)
	}
}
