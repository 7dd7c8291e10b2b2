package keyring

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/godbus/dbus/v5"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring/secretservicetest"
	"github.com/sa-exec-credential/sa-exec-credential/internal/sealed/swtpmtest"
)

func startTPM(t *testing.T) *swtpmtest.TPM {
	t.Helper()
	dir, err := os.MkdirTemp("", "tpm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	tpm, err := swtpmtest.Start(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tpm.Stop)
	return tpm
}

func mustOpen(t *testing.T, kind Kind, sys System) Store {
	t.Helper()
	store, err := Open(t.Context(), kind, sys)
	if err != nil {
		t.Fatal(err)
	}
	return store
}

// TestAutoChoosesWhatLasts goes down the list of stores, each of which is there and then not.
func TestAutoChoosesWhatLasts(t *testing.T) {
	service := secretservicetest.New(t)
	tpm := startTPM(t)
	sys := System{Getenv: service.Getenv, TPM: tpm.Place(), StateDir: t.TempDir()}
	expect := func(want Kind, describes string, passed ...string) {
		t.Helper()
		store := mustOpen(t, Auto, sys)
		if store.Kind() != want || !strings.Contains(Describe(t.Context(), store), describes) {
			t.Errorf("%s: %s", store.Kind(), Describe(t.Context(), store))
		}
		reasons := Passed(store)
		if len(reasons) != len(passed) {
			t.Fatalf("passed over: %v", reasons)
		}
		for i, words := range passed {
			if !strings.Contains(reasons[i].Error(), words) {
				t.Errorf("%v; want %q", reasons[i], words)
			}
		}
	}
	expect(Keyring, "Secret Service, also after a restart")
	service.StopKeyring()
	if err := os.RemoveAll(filepath.Join(service.DataDir(), "keyrings")); err != nil {
		t.Fatal(err)
	}
	if err := service.StartKeyring(false); err != nil {
		t.Fatal(err)
	}
	makeSessionDefault(t, service)
	memory := mustOpen(t, Keyring, sys)
	if got := Describe(t.Context(), memory); got != "Secret Service, until this session ends" {
		t.Errorf("a collection in memory: %s", got)
	}
	expect(Sealed, "files sealed by TPM "+tpm.Place()+", also after a restart",
		"Secret Service keeps things only until this session ends")
	service.StopKeyring()
	expect(Sealed, "TPM", "asking the Secret Service")
	tpm.Stop()
	expect(Kernel, "kernel keyring, until this machine restarts", "asking the Secret Service",
		"there is no TPM at "+tpm.Place())
	if entries, err := os.ReadDir(sys.StateDir); err != nil || len(entries) > 0 {
		t.Errorf("looking has left %v, %v", entries, err)
	}
}

// makeSessionDefault has programs that ask for the default collection keep things in memory.
func makeSessionDefault(t *testing.T, service *secretservicetest.Service) {
	t.Helper()
	conn, err := service.Connect()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.Object(secretsName, secretsPath).Call(secretsService+"SetAlias", 0, "default",
		dbus.ObjectPath(sessionCollection)).Err; err != nil {
		t.Fatal(err)
	}
}
