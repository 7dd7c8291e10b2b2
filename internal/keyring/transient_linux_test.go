package keyring

import (
	"os"
	"testing"

	"github.com/godbus/dbus/v5"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring/secretservicetest"
)

// itemsOf are the paths of the items that a service has under a key.
func itemsOf(t *testing.T, sys System, key string) []dbus.ObjectPath {
	t.Helper()
	conn, err := secretService{sys: sys, uid: os.Geteuid()}.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	unlocked, locked, err := conn.search(t.Context(), attributes(key))
	if err != nil {
		t.Fatal(err)
	}
	return append(unlocked, locked...)
}

func TestSecretServiceHasTokensInMemory(t *testing.T) {
	service := secretservicetest.New(t)
	sys := testService(service)
	s := openService(t, sys)
	mustSet(t, s, testKey, "t")
	if paths := itemsOf(t, sys, testKey); len(paths) != 1 || !isTransient(paths[0]) {
		t.Errorf("the token is at %q", paths)
	}
	if err := service.Lock(); err != nil {
		t.Fatal(err)
	}
	wantToken(t, s, testKey, "t") // nobody has to unlock anything
	mustSet(t, s, testKey, "new")
	wantToken(t, s, testKey, "new")
	wantError(t, "deleting", s.Delete(t.Context(), testKey), nil)
	if paths := itemsOf(t, sys, testKey); len(paths) != 0 {
		t.Errorf("the token is still at %q", paths)
	}
	mustSet(t, s, testKey, "t")
	service.StopKeyring()
	if err := service.StartKeyring(true); err != nil {
		t.Fatal(err)
	}
	_, err := s.Get(t.Context(), testKey)
	wantError(t, "getting after a restart", err, ErrNotFound)
}

func TestSecretServiceFindsATokenOfAnEarlierVersionAndReplacesIt(t *testing.T) {
	service := secretservicetest.New(t)
	sys := testService(service)
	s := openService(t, sys)
	createIn(t, service, loginCollection, testKey, encoded(t, testKey, "old"))
	wantToken(t, s, testKey, "old")
	mustSet(t, s, testKey, "new")
	wantToken(t, s, testKey, "new")
	if paths := itemsOf(t, sys, testKey); len(paths) != 1 {
		t.Errorf("the token is at %q", paths)
	}
	createIn(t, service, loginCollection, testKey, encoded(t, testKey, "older"))
	wantToken(t, s, testKey, "new")
	wantError(t, "deleting", s.Delete(t.Context(), testKey), nil)
	if paths := itemsOf(t, sys, testKey); len(paths) != 0 {
		t.Errorf("the token is still at %q", paths)
	}
}

func TestSecretServiceKeepsATokenWithTheRestWhereItHasNoMemory(t *testing.T) {
	d, sys := startDemanding(t, secretservicetest.Password)
	mustSet(t, openService(t, sys), testKey, "new")
	d.mutex.Lock()
	defer d.mutex.Unlock()
	if entry, err := Decode(testKey, d.value); err != nil || entry.Token.Reveal() != "new" {
		t.Errorf("the service has %q, %v", entry.Token.Reveal(), err)
	}
}

// A probe that went to memory would not tell whether the bootstrap credential will be kept.
func TestAProbeIsOfWhatLasts(t *testing.T) {
	service := secretservicetest.New(t)
	s := openService(t, testService(service))
	if err := service.Lock(); err != nil {
		t.Fatal(err)
	}
	wantError(t, "probing", Probe(t.Context(), s, s.(*store).sys.Now()), ErrLocked)
}
