package call

import (
	"testing"

	"github.com/sa-exec-credential/sa-exec-credential/internal/host"
	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring"
	"github.com/sa-exec-credential/sa-exec-credential/internal/profile"
)

// TestAForgedProfileHasAWayOfItsOwn: it leads to the same token, and must not stop an honest one.
func TestAForgedProfileHasAWayOfItsOwn(t *testing.T) {
	home := t.TempDir()
	with := func(proxy string, variables ...string) *Call {
		h := host.System().With(host.Snapshot(append([]string{"HOME=" + home,
			"XDG_RUNTIME_DIR=" + home}, variables...)))
		return &Call{Host: h, Profile: profile.Profile{Store: keyring.Keyring,
			Cluster: profile.Cluster{ProxyURL: proxy}}}
	}
	honest := with("").Way()
	if again := with("").Way(); again != honest {
		t.Errorf("the same way has two names, %q and %q", honest, again)
	}
	client := with("")
	client.ClientProxy = "http://proxy.example.com"
	for name, forged := range map[string]*Call{
		"the client's proxy":        client,
		"another proxy":             with("http://proxy.example.com"),
		"another proxy, by name":    with("", "HTTPS_PROXY=http://proxy.example.com"),
		"another profile directory": with("", "XDG_CONFIG_HOME=/forged"),
		"another bus":               with("", "DBUS_SESSION_BUS_ADDRESS=unix:path=/forged"),
	} {
		if forged.Way() == honest {
			t.Errorf("%s: the same way", name)
		}
	}
	withBus, without := with("", "DBUS_SESSION_BUS_ADDRESS=unix:path=/bus"), with("")
	withBus.Profile.Store, without.Profile.Store = keyring.Kernel, keyring.Kernel
	if withBus.Way() != without.Way() {
		t.Error("a bus that the store does not use makes another way")
	}
}
