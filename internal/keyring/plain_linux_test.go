package keyring

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring/secretservicetest"
	"github.com/sa-exec-credential/sa-exec-credential/internal/secret"
)

// TestPlainFileIsToldFromAnEncryptedOne has gnome-keyring write both.
func TestPlainFileIsToldFromAnEncryptedOne(t *testing.T) {
	for name, start := range map[string]func(*secretservicetest.Service) error{
		"login":   func(s *secretservicetest.Service) error { return s.StartPlain("login") },
		"default": func(s *secretservicetest.Service) error { return s.StartPlain("other") },
		"":        func(s *secretservicetest.Service) error { return s.StartKeyring(true) },
	} {
		t.Run(name, func(t *testing.T) {
			service := secretservicetest.NewBus(t)
			if err := start(service); err != nil {
				t.Fatal(err)
			}
			store, err := Open(context.Background(), Keyring,
				System{Getenv: service.Getenv})
			if err != nil {
				t.Fatal(err)
			}
			entry := Entry{Token: secret.New("readable"), IssuedAt: time.Now(),
				ExpiresAt: time.Now().Add(time.Hour)}
			if err := Behind(store).Set(t.Context(), lastingKey, entry); err != nil {
				t.Fatal(err)
			}
			path, isPlain := PlainFile(service.DataDir())
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			readable := strings.Contains(string(text), entry.Token.Reveal())
			if isPlain != (name != "") || isPlain != readable {
				t.Errorf("%s: plain %v, and the token can be read in it: %v",
					filepath.Base(path), isPlain, readable)
			}
		})
	}
}

func TestPlainFileWithoutKeyrings(t *testing.T) {
	if path, isPlain := PlainFile(t.TempDir()); isPlain {
		t.Errorf("plain: %q", path)
	}
}
