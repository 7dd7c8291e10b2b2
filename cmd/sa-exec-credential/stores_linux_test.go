package main

import (
	"context"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/advice"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring/secretservicetest"
)

// TestTheHintForAMissingCollectionCreatesOne types what the hint says, with a real gnome-keyring
// into which nobody has ever logged in.
func TestTheHintForAMissingCollectionCreatesOne(t *testing.T) {
	service := secretservicetest.NewBus(t)
	if err := service.StartKeyring(false); err != nil {
		t.Fatal(err)
	}
	probe := func() error {
		store, err := keyring.Open(t.Context(), keyring.Keyring,
			keyring.System{Getenv: service.Getenv})
		if err != nil {
			t.Fatal(err)
		}
		return keyring.Probe(context.Background(), store, time.Now())
	}
	err := probe()
	if !errors.Is(err, keyring.ErrNoCollection) || !errors.Is(err, keyring.ErrUnavailable) {
		t.Fatalf("got %v, want ErrNoCollection", err)
	}
	code, hint := explain(advice.Situation{Operation: "setup"}, err)
	_, line, found := strings.Cut(hint, "in the terminal: ")
	line, _, _ = strings.Cut(line, "; ")
	if code != exitStore || !found {
		t.Fatalf("exit code %d, hint %q", code, hint)
	}
	cmd := exec.Command("bash", "-c", line)
	cmd.Stdin = strings.NewReader("a password\n")
	cmd.Env = append(service.Env(), "PATH=/usr/bin:/bin", "HOME="+filepath.Join(service.Dir(),
		"home"), "XDG_DATA_HOME="+service.DataDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	// the daemon comes to it a moment later
	for range 3000 {
		if err = probe(); err == nil {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Error(err)
}
