package keyring

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
	gokeyring "github.com/zalando/go-keyring"
	gosecret "github.com/zalando/go-keyring/secret_service"

	"github.com/sa-exec-credential/sa-exec-credential/internal/keyring/secretservicetest"
)

// lastingKey is of an entry that is kept until it is deleted. Tokens are not.
const lastingKey = "bootstrap:0123456789abcdef"

// patient leaves a real service on a busy machine all the time it may need.
var patient = Limits{Call: 30 * time.Second, Prompt: 30 * time.Second}

// hasty is for what never answers.
var hasty = Limits{Call: 200 * time.Millisecond, Prompt: 400 * time.Millisecond}

func testService(s *secretservicetest.Service) System {
	return System{Getenv: s.Getenv, Limits: patient}.withDefaults()
}

// openService opens the Secret Service alone: the kernel keyring in front is the user's own.
func openService(t *testing.T, sys System) Store {
	t.Helper()
	s, err := Open(t.Context(), Keyring, sys)
	if err != nil {
		t.Fatal(err)
	}
	return Behind(s)
}

// wantAll makes every call of a store and wants the same error of each.
func wantAll(t *testing.T, s Store, want error) {
	t.Helper()
	_, err := s.Get(t.Context(), lastingKey)
	wantError(t, "getting", err, want)
	wantError(t, "setting", s.Set(t.Context(), lastingKey, liveEntry("hunter2")), want)
	wantError(t, "deleting", s.Delete(t.Context(), lastingKey), want)
	_, err = s.Keys(t.Context())
	wantError(t, "listing", err, want)
}

func TestSecretServiceKeepsReplacesAndForgets(t *testing.T) {
	s := openService(t, testService(secretservicetest.New(t)))
	wantKeepsReplacesAndForgets(t, s, strings.Repeat("x", 100_000), `quotes " and čeština`)
}

func TestSecretServiceItemsAreThoseOfOtherPrograms(t *testing.T) {
	bus := secretservicetest.New(t)
	mustSet(t, openService(t, testService(bus)), lastingKey, "the token")
	lookup := exec.Command("secret-tool", "lookup", "service", service, "username", lastingKey)
	lookup.Env = append(os.Environ(), bus.Env()...)
	if out := mustRun(t, lookup); !strings.Contains(out, `"token":"the token"`) {
		t.Errorf("secret-tool finds %q", out)
	}
}

// forGoKeyring leads go-keyring to a bus, in the only way that it can be led.
func forGoKeyring(t *testing.T, bus *secretservicetest.Service) {
	t.Helper()
	t.Setenv("DBUS_SESSION_BUS_ADDRESS", bus.Address())
	t.Cleanup(func() {
		if conn, err := dbus.SessionBus(); err == nil { // go-keyring never closes it
			_ = conn.Close()
		}
	})
}

// wantInGoKeyring wants go-keyring to find this token, or none.
func wantInGoKeyring(t *testing.T, token string) {
	t.Helper()
	value, err := gokeyring.Get(service, lastingKey)
	if token == "" {
		wantError(t, "getting by go-keyring", err, gokeyring.ErrNotFound)
		return
	}
	entry, decodeErr := Decode(lastingKey, []byte(value))
	if errors.Join(err, decodeErr) != nil || entry.Token.Reveal() != token {
		t.Errorf("go-keyring finds %q, %v, want %q", value, err, token)
	}
}

func encoded(t *testing.T, key, token string) []byte {
	t.Helper()
	value, err := Encode(key, liveEntry(token))
	if err != nil {
		t.Fatal(err)
	}
	return value
}

func TestSecretServiceAndGoKeyringFindWhatTheOtherWrote(t *testing.T) {
	bus := secretservicetest.New(t)
	forGoKeyring(t, bus)
	sys := testService(bus)
	s := openService(t, sys)
	setByGoKeyring := func(token string) {
		t.Helper()
		if err := gokeyring.Set(service, lastingKey, string(encoded(t, lastingKey, token))); err != nil {
			t.Fatal(err)
		}
	}
	mustSet(t, s, lastingKey, "ours")
	wantInGoKeyring(t, "ours")
	setByGoKeyring("theirs")
	wantToken(t, s, lastingKey, "theirs")
	mustSet(t, s, lastingKey, "ours again")
	if _, err := (secretService{sys: sys, uid: os.Geteuid()}).lookup(t.Context(),
		lastingKey); err != nil {
		t.Errorf("the item is not single any more: %v", err)
	}
	wantError(t, "deleting by go-keyring", gokeyring.Delete(service, lastingKey), nil)
	_, err := s.Get(t.Context(), lastingKey)
	wantError(t, "getting what go-keyring deleted", err, ErrNotFound)
	setByGoKeyring("theirs again")
	wantError(t, "deleting", s.Delete(t.Context(), lastingKey), nil)
	wantInGoKeyring(t, "")
}

func TestSecretServiceReadsAndReplacesTheItemThatGoKeyringWould(t *testing.T) {
	bus := secretservicetest.New(t)
	forGoKeyring(t, bus)
	s := openService(t, testService(bus))
	for _, token := range []string{"first", "second", "third"} {
		createIn(t, bus, loginCollection, lastingKey, encoded(t, lastingKey, token))
	}
	value, err := gokeyring.Get(service, lastingKey)
	if err != nil {
		t.Fatal(err)
	}
	if entry, err := s.Get(t.Context(), lastingKey); err != nil ||
		!strings.Contains(value, `"token":"`+entry.Token.Reveal()+`"`) {
		t.Errorf("got %q, %v; go-keyring finds %s", entry.Token.Reveal(), err, value)
	}
	mustSet(t, s, lastingKey, "replaced")
	wantToken(t, s, lastingKey, "replaced")
	wantInGoKeyring(t, "replaced")
	wantError(t, "deleting", s.Delete(t.Context(), lastingKey), nil)
	wantInGoKeyring(t, "")
}

func TestSecretServiceHitIsOneShortExchange(t *testing.T) {
	sys := testService(secretservicetest.New(t))
	mustSet(t, openService(t, sys), lastingKey, "t")
	items := secretService{sys: sys, uid: os.Geteuid()}
	if _, err := items.lookup(t.Context(), lastingKey); err != nil {
		t.Errorf("a hit takes more than the short exchange: %v", err)
	}
	bus, err := findBus(sys.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := connectEagerly(t.Context(), bus, os.Geteuid())
	if err != nil {
		t.Fatalf("the bus refuses the authentication in one round trip: %v", err)
	}
	_ = conn.Close()
}

func TestSecretServiceIsReadWhereTheBusCountsUsersDifferently(t *testing.T) {
	sys := testService(secretservicetest.New(t))
	mustSet(t, openService(t, sys), lastingKey, "t")
	bus, err := findBus(sys.Getenv)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := connectPatiently(t.Context(), bus, os.Geteuid())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	s := &caller{busConn: conn}
	wantError(t, "asking after the slow authentication", s.state(t.Context()), nil)
}

func TestSecretServiceTakesABadValueForAMiss(t *testing.T) {
	sys := testService(secretservicetest.New(t))
	items := secretService{sys: sys, uid: os.Geteuid()}
	for _, bad := range badValues {
		if err := items.write(t.Context(), lastingKey, []byte(bad.value),
			time.Time{}); err != nil {
			t.Fatal(err)
		}
		_, err := openService(t, sys).Get(t.Context(), lastingKey)
		wantError(t, bad.name, err, ErrNotFound)
		if strings.Contains(fmt.Sprint(err), "hunter2") {
			t.Errorf("%s: the value shows in %v", bad.name, err)
		}
	}
	mustSet(t, openService(t, sys), lastingKey, "good")
	wantToken(t, openService(t, sys), lastingKey, "good")
}

func TestSecretServiceReadsTheLoginCollectionWhereTwoHaveTheItem(t *testing.T) {
	service := secretservicetest.New(t)
	sys := testService(service)
	s := openService(t, sys)
	mustSet(t, s, lastingKey, "in login")
	createIn(t, service, sessionCollection, lastingKey, encoded(t, lastingKey, "elsewhere"))
	wantToken(t, s, lastingKey, "in login")
	_, err := secretService{sys: sys, uid: os.Geteuid()}.lookup(t.Context(), lastingKey)
	wantError(t, "looking up two items", err, errUnusual)
	if keys, err := s.Keys(t.Context()); err != nil || !slices.Equal(keys, []string{lastingKey}) {
		t.Errorf("the keys are %q, %v", keys, err)
	}

	if err := service.Lock(); err != nil {
		t.Fatal(err)
	}
	wantAll(t, s, ErrLocked)
}

func TestBusErrorsHaveTypes(t *testing.T) {
	const standard = "org.freedesktop.DBus.Error."
	tests := []struct {
		err, want error
	}{
		{dbus.Error{Name: standard + "ServiceUnknown"}, ErrUnavailable},
		{dbus.Error{Name: standard + "NameHasNoOwner"}, ErrUnavailable},
		// the service went away during the call
		{dbus.Error{Name: standard + "NoReply"}, ErrUnavailable},
		{dbus.Error{Name: standard + "Disconnected"}, ErrUnavailable},
		{dbus.Error{Name: standard + "Spawn.ExecFailed"}, ErrUnavailable},
		{dbus.Error{Name: "org.freedesktop.Secret.Error.IsLocked"}, ErrLocked},
		{dbus.Error{Name: standard + "UnknownMethod"}, errUnusual},
		{dbus.ErrClosed, ErrUnavailable},
		{os.ErrDeadlineExceeded, ErrTimeout},
		{nil, nil},
	}
	for _, test := range tests {
		wantError(t, fmt.Sprintf("%#v", test.err), busError(test.err), test.want)
	}
}

// createIn puts an item under a key into a collection.
func createIn(t *testing.T, service *secretservicetest.Service, collection dbus.ObjectPath,
	key string, value []byte) {
	t.Helper()
	conn, err := service.Connect()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // its items may go with it
	var output dbus.Variant
	var path, item, prompt dbus.ObjectPath
	err = conn.Object(secretsName, secretsPath).
		Call(secretsService+"OpenSession", 0, "plain", dbus.MakeVariant("")).Store(&output,
		&path)
	if err != nil {
		t.Fatal(err)
	}
	err = conn.Object(secretsName, collection).Call(secretsCollection+".CreateItem", 0,
		map[string]dbus.Variant{
			secretsItem + ".Label":      dbus.MakeVariant("a copy"),
			secretsItem + ".Attributes": dbus.MakeVariant(attributes(key)),
		}, gosecret.NewSecret(path, string(value)), false).Store(&item, &prompt)
	if err != nil {
		t.Fatal(err)
	}
}

func TestSecretServiceLockedIsSaidAtOnce(t *testing.T) {
	service := secretservicetest.New(t)
	sys := testService(service)
	s := openService(t, sys)
	mustSet(t, s, lastingKey, "t")
	if err := service.Lock(); err != nil {
		t.Fatal(err)
	}
	wantAll(t, s, ErrLocked)
	_, err := s.Get(t.Context(), "bootstrap:absent")
	wantError(t, "getting an absent item of a locked collection", err, ErrLocked)
	_, err = s.Get(t.Context(), "token:absent")
	wantError(t, "getting a token that can be minted", err, ErrNotFound)

	service.StopKeyring()
	if err := service.StartKeyring(false); err != nil {
		t.Fatal(err)
	}
	wantAll(t, s, ErrLocked)

	service.StopKeyring()
	if err := service.StartKeyring(true); err != nil {
		t.Fatal(err)
	}
	wantToken(t, s, lastingKey, "t")
}

func TestSecretServiceWithoutACollectionIsUnavailable(t *testing.T) {
	service := secretservicetest.NewBus(t)
	if err := service.StartKeyring(false); err != nil {
		t.Fatal(err)
	}
	sys := testService(service)
	s := openService(t, sys)
	wantError(t, "setting", s.Set(t.Context(), lastingKey, liveEntry("t")), ErrUnavailable)
	_, err := s.Get(t.Context(), lastingKey)
	wantError(t, "getting", err, ErrNotFound)
	wantError(t, "deleting", s.Delete(t.Context(), lastingKey), nil)
	sys.Interactive = true
	wantError(t, "setting", openService(t, sys).Set(t.Context(), lastingKey, liveEntry("t")),
		ErrUnavailable)
}

func TestSecretServiceKilledBetweenSearchAndRead(t *testing.T) {
	service := secretservicetest.New(t)
	sys := testService(service)
	s := openService(t, sys)
	mustSet(t, s, lastingKey, "t")

	conn, err := secretService{sys: sys, uid: os.Geteuid()}.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	unlocked, locked, err := conn.search(t.Context(), attributes(lastingKey))
	if err != nil || len(unlocked) != 1 {
		t.Fatal(unlocked, locked, err)
	}
	service.StopKeyring()
	_, err = conn.secret(t.Context(), unlocked[0])
	wantError(t, "reading the item found", err, ErrUnavailable)
	wantAll(t, s, ErrUnavailable)

	if err := service.StartKeyring(true); err != nil {
		t.Fatal(err)
	}
	wantToken(t, s, lastingKey, "t")
}

func TestSecretServiceIsWrittenToAfterItWasStartedAgain(t *testing.T) {
	service := secretservicetest.New(t)
	s := openService(t, testService(service))
	mustSet(t, s, lastingKey, "t") // the connection is kept, with a session that ends now
	service.StopKeyring()
	if err := service.StartKeyring(true); err != nil {
		t.Fatal(err)
	}
	mustSet(t, s, lastingKey, "new")
	wantToken(t, s, lastingKey, "new")
}

func TestSecretServiceThatIsDeletedFromBetweenSearchAndReadIsAMiss(t *testing.T) {
	sys := testService(secretservicetest.New(t))
	items := secretService{sys: sys, uid: os.Geteuid()}
	conn, err := items.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.introduce(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err = conn.secret(t.Context(), loginCollection+"/4711")
	wantError(t, "reading an item that is gone", err, errUnusual)
}

func TestSecretServiceAbsentIsUnavailable(t *testing.T) {
	empty := t.TempDir()
	stale := filepath.Join(empty, "stale")
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: stale})
	if err != nil {
		t.Fatal(err)
	}
	listener.SetUnlinkOnClose(false)
	_ = listener.Close()
	tests := []struct {
		name        string
		environment map[string]string
	}{
		{"neither variable is set", nil},
		{"the runtime directory has no bus", map[string]string{"XDG_RUNTIME_DIR": empty}},
		{"the runtime directory is not absolute",
			map[string]string{"XDG_RUNTIME_DIR": "."}},
		{"the bus's socket does not exist",
			map[string]string{"DBUS_SESSION_BUS_ADDRESS": "unix:path=" + empty +
				"/none"}},
		{"nobody listens on the bus's socket",
			map[string]string{"DBUS_SESSION_BUS_ADDRESS": "unix:path=" + stale}},
		{"the bus has no Secret Service", map[string]string{
			"DBUS_SESSION_BUS_ADDRESS": secretservicetest.NewBus(t).Address()}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, interactive := range []bool{false, true} {
				sys := System{Limits: patient, Interactive: interactive}
				sys.Getenv = func(name string) string { return test.environment[name] }
				wantAll(t, openService(t, sys), ErrUnavailable)
			}
		})
	}
}

// TestABusThatIsNotNamedIsLookedAt is about what stands where systemd puts the user's bus.
func TestABusThatIsNotNamedIsLookedAt(t *testing.T) {
	socket := func(t *testing.T, path string) {
		t.Helper()
		listener, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = listener.Close() })
	}
	for _, test := range []struct {
		name   string
		create func(t *testing.T, path string)
		want   string // of the error; empty: it is used
	}{
		{"a socket", socket, ""},
		{"nothing", func(*testing.T, string) {}, "is not there"},
		{"a file", func(t *testing.T, path string) {
			if err := os.WriteFile(path, nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}, "is not a socket"},
		{"a link that leads nowhere", func(t *testing.T, path string) {
			if err := os.Symlink("/nonexistent", path); err != nil {
				t.Fatal(err)
			}
		}, "is not there"},
		{"a socket of another user", func(t *testing.T, path string) {
			socket(t, path)
			if err := os.Chown(path, otherUser, otherUser); err != nil && isRoot() {
				t.Fatal(err)
			} else if err != nil { // nobody else can give a file away
				t.Logf("it stays our own: %v", err)
				_ = os.Remove(path)
			}
		}, map[bool]string{true: "belongs to user", false: "is not there"}[isRoot()]},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			path := filepath.Join(dir, "bus")
			test.create(t, path)
			bus, err := findBus(func(name string) string {
				if name == "XDG_RUNTIME_DIR" {
					return dir
				}
				return ""
			})
			if test.want == "" {
				if err != nil || bus.path != path {
					t.Errorf("got %v, %v", bus, err)
				}
				return
			}
			if !errors.Is(err, ErrNoBus) || !errors.Is(err, ErrUnavailable) ||
				!strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestSecretServiceIsFoundInTheRuntimeDir(t *testing.T) {
	service := secretservicetest.New(t)
	sys := testService(service)
	sys.Getenv = func(name string) string {
		if name == "XDG_RUNTIME_DIR" {
			return filepath.Dir(service.Socket())
		}
		return ""
	}
	mustSet(t, openService(t, sys), lastingKey, "t")
	wantToken(t, openService(t, sys), lastingKey, "t")
	wantError(t, "deleting", openService(t, sys).Delete(t.Context(), lastingKey), nil)
}

func TestForgedBusAddressesAreNotUsed(t *testing.T) {
	touched := filepath.Join(t.TempDir(), "touched")
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	called := make(chan struct{}, 100)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			called <- struct{}{}
			_ = conn.Close()
		}
	}()
	port := listener.Addr().(*net.TCPAddr).Port
	addresses := []string{
		fmt.Sprintf("tcp:host=127.0.0.1,port=%d", port),
		fmt.Sprintf("nonce-tcp:host=127.0.0.1,port=%d,noncefile=/dev/null", port),
		fmt.Sprintf("tcp:host=127.0.0.1,port=%d;tcp:host=127.0.0.1,port=%d,family=ipv4",
			port,
			port),
		"unixexec:path=/usr/bin/touch,argv1=" + touched,
		"autolaunch:", "autolaunch:scope=*user",
		"launchd:env=DBUS_LAUNCHD_SESSION_BUS_SOCKET", "systemd:", "disabled:",
		"unix:", "unix:path=", "unix:path=relative", "unix:abstract=",
		"unix:path=/a,abstract=b", "unix:tmpdir=/tmp",
		"unix:path=/run/bus,cookie=1", "unix:path=%zz", "unix:path=/a%00b", "unix", ";",
		"/run/bus", "UNIX:path=/run/bus",
	}
	for _, address := range addresses {
		t.Run(address, func(t *testing.T) {
			if bus, err := findBus(func(string) string { return address }); err == nil {
				t.Errorf("it is taken for %v", bus)
			}
			for _, interactive := range []bool{false, true} {
				sys := System{Limits: patient, Interactive: interactive}
				sys.Getenv = func(string) string { return address }
				wantAll(t, openService(t, sys), ErrUnavailable)
			}
		})
	}
	if _, err := os.Stat(touched); !errors.Is(err, os.ErrNotExist) {
		t.Error("a command was run")
	}
	if len(called) != 0 {
		t.Error("there was a connection over TCP")
	}
}

func TestFirstAcceptableBusAddressIsUsed(t *testing.T) {
	tests := []struct {
		list string
		want busAddress
	}{
		{"unix:path=/run/user/1000/bus", busAddress{path: "/run/user/1000/bus"}},
		{"unix:path=/run/user/1000/bus,guid=ab", busAddress{path: "/run/user/1000/bus"}},
		{"unix:guid=ab,path=/tmp/a%20b%2c", busAddress{path: "/tmp/a b,"}},
		{"unix:abstract=/tmp/dbus-X,guid=ab", busAddress{abstract: "/tmp/dbus-X"}},
		{"tcp:host=h;unixexec:path=/x;unix:path=/one;unix:path=/two",
			busAddress{path: "/one"}},
	}
	for _, test := range tests {
		t.Run(test.list, func(t *testing.T) {
			got, err := findBus(func(string) string { return test.list })
			if err != nil || got != test.want {
				t.Errorf("got %+v, %v, want %+v", got, err, test.want)
			}
			if again, ok := parseBusAddress(got.String()); !ok || again != got {
				t.Errorf("%q is read as %+v", got.String(), again)
			}
		})
	}
}

func TestBusOfAnotherUserHearsNothing(t *testing.T) {
	path := filepath.Join(publicDir(t), "bus")
	var sys System
	sys.Getenv = func(string) string { return "unix:path=" + path }
	sys.Limits = patient
	// nobody but root starts a process of another user: be another user ourselves
	if !isRoot() {
		go func() { _ = helpListen([]string{path}) }()
		eventually(t, func() error { _, err := os.Stat(path); return err })
		items := secretService{sys: sys.withDefaults(), uid: os.Geteuid() + 1}
		_, err := items.read(t.Context(), lastingKey)
		wantError(t, "reading", err, ErrUnavailable)
		wantError(t, "checking", items.check(t.Context()), ErrUnavailable)
		return
	}
	cmd := helper(t, "listen", nil, path)
	asOther(t, cmd)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = cmd.Process.Kill(); _ = cmd.Wait() }()
	if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
		t.Fatal(err)
	}
	sys.Interactive = true
	_, err = openService(t, sys).Get(t.Context(), lastingKey)
	wantError(t, "getting", err, ErrUnavailable)
	eventually(t, func() error { _, err := os.Stat(path + ".heard"); return err })
	if heard, err := os.ReadFile(path + ".heard"); err != nil || len(heard) != 0 {
		t.Errorf("the other user heard %q, %v", heard, err)
	}
}

// fakeBus answers every connection with respond.
func fakeBus(t *testing.T, respond func(net.Conn)) System {
	t.Helper()
	path := filepath.Join(t.TempDir(), "bus")
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			// One that nothing refers to any more is closed by the garbage collector,
			// which would be an answer.
			t.Cleanup(func() { _ = conn.Close() })
			go respond(conn)
		}
	}()
	return System{Limits: hasty, Getenv: func(string) string { return "unix:path=" + path }}
}

func TestBusThatNeverAnswersTimesOut(t *testing.T) {
	for name, greeting := range map[string]string{"not even the authentication": "",
		"nothing after it": "OK 0\r\n"} {
		t.Run(name, func(t *testing.T) {
			sys := fakeBus(t, func(conn net.Conn) {
				_,
					_ = conn.Write([]byte(greeting))
			})
			wantAll(t, openService(t, sys), ErrTimeout)
			sys.Interactive = true
			wantAll(t, openService(t, sys), ErrTimeout)
		})
	}
}

func TestBusThatTalksNonsenseDoesNoHarm(t *testing.T) {
	answers := map[string]string{
		"it hangs up":             "",
		"it refuses":              "REJECTED\r\n",
		"it answers with no line": strings.Repeat("x", 1<<16),
		"it answers with HTTP":    "HTTP/1.1 400 Bad Request\r\n\r\n",
		"it is no bus after that": "OK 0\r\n" +
			strings.Repeat("l\x02\x00\x01\xff\xff\xff\xff", 64),
		"it sends an empty header": "OK 0\r\nl\x02\x00\x01\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00",
	}
	for name, answer := range answers {
		t.Run(name, func(t *testing.T) {
			sys := fakeBus(t, func(conn net.Conn) {
				buffer := make([]byte, 4096)
				_, _ = conn.Read(buffer)
				_, _ = conn.Write([]byte(answer))
				if strings.HasPrefix(answer, "OK") {
					_, _ = conn.Read(buffer)
				}
				_ = conn.Close()
			})
			_, err := openService(t, sys).Get(t.Context(), lastingKey)
			if !errors.Is(err, ErrUnavailable) && !errors.Is(err, ErrTimeout) {
				t.Errorf("got %v, want ErrUnavailable or ErrTimeout", err)
			}
		})
	}
}

func TestCallerWhoGivesUpIsObeyed(t *testing.T) {
	sys := fakeBus(t, func(net.Conn) {})
	sys.Limits.Call = time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	_, err := openService(t, sys).Get(ctx, lastingKey)
	wantError(t, "getting", err, context.Canceled)
}

func TestSecretServiceServesManyAtOnce(t *testing.T) {
	s := openService(t, testService(secretservicetest.New(t)))
	mustSet(t, s, lastingKey, "t")
	done := make(chan error)
	const workers = 8
	for i := range workers {
		go func() {
			var err error
			for j := range 10 {
				key := fmt.Sprintf("token:%d.%d", i, j)
				_, getErr := s.Get(t.Context(), lastingKey)
				err = errors.Join(err, getErr, s.Set(t.Context(), key,
					liveEntry("t")),
					s.Delete(t.Context(), key))
			}
			done <- err
		}()
	}
	for range workers {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if keys, err := s.Keys(t.Context()); err != nil || !slices.Equal(keys, []string{lastingKey}) {
		t.Errorf("the keys are %q, %v", keys, err)
	}
}

func TestAutoTakesTheFirstStoreThatWorks(t *testing.T) {
	locked, _ := lockedService(t)
	empty := secretservicetest.NewBus(t)
	if err := empty.StartKeyring(false); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		getenv func(string) string
		want   Kind
	}{
		{"an unlocked Secret Service", secretservicetest.New(t).Getenv, Keyring},
		{"a locked Secret Service", locked.Getenv, Kernel},
		{"a Secret Service without a collection", empty.Getenv, Kernel},
		{"a bus without a Secret Service", secretservicetest.NewBus(t).Getenv, Kernel},
		{"no bus", func(string) string { return "" }, Kernel},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			for _, interactive := range []bool{false, true} {
				s, err := Open(t.Context(), Auto,
					System{Getenv: test.getenv, Limits: patient,
						Interactive: interactive})
				if err != nil || s.Kind() != test.want || s.Description() == "" {
					t.Fatalf("got %v, %v, want %s", s, err, test.want)
				}
			}
		})
	}
}

func TestConcreteStoresAreOpenedWithoutAnyCall(t *testing.T) {
	for _, kind := range []Kind{Keyring, Sealed, Kernel, None} {
		s, err := Open(t.Context(), kind, System{StateDir: "/nowhere", Getenv: func(name string) string {
			t.Errorf("opening %s looks up %s", kind, name)
			return ""
		}})
		if err != nil || s.Kind() != kind {
			t.Errorf("got %v, %v", s, err)
		}
	}
	if _, err := Open(t.Context(), "nonsense", System{}); err == nil {
		t.Error("a store of an unknown kind was opened")
	}
}

func TestNoneKeepsNothing(t *testing.T) {
	s, err := Open(t.Context(), None, System{})
	if err != nil {
		t.Fatal(err)
	}
	mustSet(t, s, lastingKey, "t")
	_, err = s.Get(t.Context(), lastingKey)
	wantError(t, "getting", err, ErrNotFound)
	wantError(t, "deleting", s.Delete(t.Context(), lastingKey), nil)
	if keys, err := s.Keys(t.Context()); err != nil || len(keys) != 0 {
		t.Errorf("the keys are %q, %v", keys, err)
	}
}

// gnome-keyring ends with everybody's secrets when a caller is gone before its question comes to be
// looked at (GNOME/gnome-keyring#144).
func TestGnomeKeyringSurvivesManyShortQuestions(t *testing.T) {
	service := secretservicetest.New(t)
	store, err := openKeyring(System{Getenv: service.Getenv}.withDefaults())
	if err != nil {
		t.Fatal(err)
	}
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 150 {
				if err := store.probe(t.Context()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wait.Wait()
}

func TestSecretServiceListsMoreThanTheBusAnswersAtOnce(t *testing.T) {
	s := openService(t, testService(secretservicetest.New(t)))
	const many = 200
	for i := range many {
		mustSet(t, s, fmt.Sprintf("token:%d", i), "t")
	}
	if keys, err := s.Keys(t.Context()); err != nil || len(keys) != many {
		t.Errorf("%d keys, %v, want %d", len(keys), err, many)
	}
}
