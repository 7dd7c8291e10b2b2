package session

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
)

// TestForgettingAll is about what is left in a store that a second directory of profiles uses, too.
func TestForgettingAll(t *testing.T) {
	const token, bootstrap = "token:p", "bootstrap:p" // stand for those of the profile
	const oldToken, oldBootstrap, foreign = "token:old", "bootstrap:old", "token:foreign"
	for _, test := range []struct {
		name      string
		bootstrap bool
		isBroken  bool // there is a profile that cannot be read
		left      []string
	}{
		{"tokens, and what no profile leads to", false, false, []string{bootstrap, foreign}},
		{"bootstrap credentials, too", true, false, []string{foreign}},
		{"a profile that cannot be read may lead to what no other does", false, true,
			[]string{oldBootstrap, bootstrap, foreign}},
	} {
		t.Run(test.name, func(t *testing.T) {
			h, store, s := machine(t)
			names := map[string]string{token: s.TokenKey(), bootstrap: s.BootstrapKey()}
			for _, key := range []string{token, bootstrap, oldToken, oldBootstrap, foreign} {
				entry := keyring.Entry{Origin: h.Origin()}
				if key == foreign {
					entry.Origin = "another"
				}
				if names[key] == "" {
					names[key] = key
				}
				store.entries[names[key]] = entry
			}
			if test.isBroken {
				dir, err := h.Profiles()
				if err != nil {
					t.Fatal(err)
				}
				path := filepath.Join(string(dir), "broken.yaml")
				if err := os.WriteFile(path, []byte("no"), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			err := ForgetAll(t.Context(), h, test.bootstrap)
			if (err != nil) != test.isBroken {
				t.Errorf("got %v", err)
			}
			var want []string
			for _, key := range test.left {
				want = append(want, names[key])
			}
			slices.Sort(want)
			if got := slices.Sorted(maps.Keys(store.entries)); !slices.Equal(got, want) {
				t.Errorf("%q are left, want %q", got, want)
			}
		})
	}
}
