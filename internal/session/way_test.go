package session

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/cache"
	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// TestAForgedProfileHasAWayOfItsOwn: it leads to the same token, and must not stop an honest one.
func TestAForgedProfileHasAWayOfItsOwn(t *testing.T) {
	home := t.TempDir()
	with := func(proxy string, variables ...string) *Session {
		h := host.System().With(host.Snapshot(append([]string{"HOME=" + home,
			"XDG_RUNTIME_DIR=" + home}, variables...)))
		return &Session{host: h, Profile: profile.Profile{Store: keyring.Keyring,
			Cluster: profile.Cluster{ProxyURL: proxy}}}
	}
	honest := with("").way()
	if again := with("").way(); again != honest {
		t.Errorf("the same way has two names, %q and %q", honest, again)
	}
	client := with("")
	client.clientProxy = "http://proxy.example.com"
	for name, forged := range map[string]*Session{
		"the client's proxy":        client,
		"another proxy":             with("http://proxy.example.com"),
		"another proxy, by name":    with("", "HTTPS_PROXY=http://proxy.example.com"),
		"another profile directory": with("", "XDG_CONFIG_HOME=/forged"),
		"another bus":               with("", "DBUS_SESSION_BUS_ADDRESS=unix:path=/forged"),
	} {
		if forged.way() == honest {
			t.Errorf("%s: the same way", name)
		}
	}
	withBus, without := with("", "DBUS_SESSION_BUS_ADDRESS=unix:path=/bus"), with("")
	withBus.Profile.Store, without.Profile.Store = keyring.Kernel, keyring.Kernel
	if withBus.way() != without.way() {
		t.Error("a bus that the store does not use makes another way")
	}
}

func TestForgetRemovesTheFilesOfAllWays(t *testing.T) {
	run := t.TempDir()
	h := host.System().With(host.Snapshot([]string{"HOME=" + run, "XDG_RUNTIME_DIR=" + run}))
	p := profile.Profile{Store: keyring.None,
		Cluster: profile.Cluster{Server: "https://127.0.0.1:1"}}
	s, err := With(t.Context(), h, p, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, way := range []string{s.way(), "a forged one"} {
		cache.Hold(h.RuntimeDir(), s.TokenKey(), way)()
	}
	if left := cache.Files(h.RuntimeDir(), s.TokenKey()); len(left) != 2 {
		t.Fatalf("before: %q", left)
	}
	if err := s.Forget(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(filepath.Join(run, "sa-exec-credential")); err != nil ||
		len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}
