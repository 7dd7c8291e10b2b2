package sealed

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

// open is a sealer that seals nothing.
type open struct{}

func (open) Kind() Kind          { return TPM }
func (open) Description() string { return "open" }
func (open) Seal(_ context.Context, key []byte) (sealedKey, error) {
	return sealedKey{Private: key}, nil
}
func (open) Unseal(_ context.Context, sealed sealedKey) ([]byte, error) {
	return sealed.Private, nil
}

// FuzzRead has any file but the one that was written be of no use.
func FuzzRead(f *testing.F) {
	files := Files{Dir: filepath.Join(f.TempDir(), "program", "sealed"), Sealer: open{}}
	if err := files.Write(f.Context(), "token:a", "label", []byte("value")); err != nil {
		f.Fatal(err)
	}
	path := filepath.Join(files.Dir, "token:a")
	good, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(good)
	f.Add(good[:len(good)/2])
	f.Add([]byte(`{"version":1,"kind":"tpm2","key":{},"nonce":"AAAA"}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		value, err := files.Read(t.Context(), "token:a")
		if err == nil && string(value) != "value" || err != nil && !errors.Is(err, ErrUnusable) {
			t.Errorf("%q, %v", value, err)
		}
		if _, err := files.Label("token:a"); err != nil && !errors.Is(err, ErrUnusable) {
			t.Error(err)
		}
	})
}
