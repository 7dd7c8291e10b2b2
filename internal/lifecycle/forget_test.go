package lifecycle

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/device"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/prepare"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
	"github.com/sa-exec-credential/sa-exec-credential/internal/ui"
)

// machineWith is a home with a profile that keeps nothing, and its device.
func machineWith(t *testing.T, name string) (*host.Host, profile.Dir) {
	t.Helper()
	home := t.TempDir()
	h := host.System().With(host.Snapshot([]string{"HOME=" + home, "KUBECONFIG=" + os.DevNull,
		"APPDATA=" + home, "LOCALAPPDATA=" + home, "USERPROFILE=" + home}))
	h.Log = &ui.Log{Out: io.Discard}
	h.OpenStore = func(context.Context, keyring.Kind, keyring.System) (keyring.Store, error) {
		return nil, keyring.ErrUnavailable // there is none
	}
	profiles, err := h.Profiles()
	if err := errors.Join(err, h.CreateConfigDir()); err != nil {
		t.Fatal(err)
	}
	p := profile.Profile{Name: name, Cluster: profile.Cluster{Server: "https://127.0.0.1:1"},
		Namespace:      "build",
		ServiceAccount: "ci", Duration: profile.Duration{Duration: time.Hour},
		Store: keyring.Keyring,
		Bootstrap: profile.Bootstrap{Source: profile.SourceKeyring,
			Duration: &profile.Duration{Duration: time.Hour}}}
	record, err := device.DirIn(filepath.Dir(filepath.Dir(string(profiles)))).Lock(t.Context(),
		p)
	if err != nil {
		t.Fatal(err)
	}
	defer record.Release()
	record.Current = &profile.Device{Name: "ci-device-x", SecretUID: "1", AccountUID: "2"}
	record.Retired = []profile.Device{{Name: "ci-device-old", SecretUID: "3", AccountUID: "4"}}
	p.Device = record.Name
	if err := errors.Join(record.Save(), profiles.Save(p)); err != nil {
		t.Fatal(err)
	}
	return h, profiles
}

// forgotten runs forget and returns what it said.
func forgotten(ctx context.Context, t *testing.T, h *host.Host, name string) (said string,
	err error) {
	t.Helper()
	plan, err := PlanForget(h, name, "", func(_ ui.Kind, text string) { said += text + "\n" })
	if err != nil {
		t.Fatal(err)
	}
	err = plan.Run(ctx)
	return said, err
}

func TestForgetThatIsInterruptedLeavesTheProfile(t *testing.T) {
	h, profiles := machineWith(t, "p")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := forgotten(ctx, t, h, "p"); !errors.Is(err, prepare.ErrInterrupted) {
		t.Errorf("got %v", err)
	}
	if _, err := profiles.Load("p"); err != nil {
		t.Error(err)
	}
}

func TestForgetNamesEveryDeviceOfTheRecord(t *testing.T) {
	h, profiles := machineWith(t, "p")
	plan, err := PlanForget(h, "p", "", func(ui.Kind, string) {})
	if err != nil || strings.Contains(strings.Join(plan.Lines(), "\n"), os.DevNull) {
		t.Fatalf("got %v, %v", plan, err)
	}
	var said string
	plan.report = func(_ ui.Kind, text string) { said += text + "\n" }
	if err := plan.Run(t.Context()); !errors.Is(err, ErrLeft) || !errors.Is(err,
		keyring.ErrUnavailable) {
		t.Errorf("got %v, want that the store is not available", err)
	}
	for _, name := range []string{"ci-device-x", "ci-device-old"} {
		if !strings.Contains(said, "sa-exec-credential revoke --device "+
			""+name+" --serviceaccount ci -n build\n") {
			t.Errorf("it does not say how %s is ended:\n%s", name, said)
		}
	}
	if _, err := profiles.Load("p"); !errors.Is(err, profile.ErrMissing) {
		t.Errorf("the profile: %v", err)
	}
}

// TestForgetNamesRecordsThatNobodyKnows has a profile of which nothing can be read, so that its
// device is unknown.
func TestForgetNamesRecordsThatNobodyKnows(t *testing.T) {
	h, profiles := machineWith(t, "p")
	if err := os.WriteFile(profiles.Path("p"), []byte("\x00"), 0o600); err != nil {
		t.Fatal(err)
	}
	said, err := forgotten(t.Context(), t, h, "p")
	if err != nil {
		t.Error(err)
	}
	for _, want := range []string{"malformed profile", "if it was this one's, remove it: rm ",
		"revoke --device ci-device-x", `profile "p": removed`} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q:\n%s", want, said)
		}
	}
}
