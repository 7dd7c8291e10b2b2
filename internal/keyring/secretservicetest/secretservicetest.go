// Package secretservicetest starts a real Secret Service for tests: a D-Bus session bus and
// gnome-keyring of their own, with their own home, under one temporary directory. Nothing is shared
// with the desktop of whoever runs the tests.
//
// It knows nothing of this module's packages, so that every test may use it.
package secretservicetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/godbus/dbus/v5"
)

const (
	password = "test keyring\n" // the end of the line is needed, and part of it
	patience = 30 * time.Second // for a daemon to come up or to go

	secretsName = "org.freedesktop.secrets"
	loginPath   = dbus.ObjectPath("/org/freedesktop/secrets/collection/login")
)

// busConfig is a session bus that starts no service by itself: when the keyring is gone, it stays
// gone.
const busConfig = `<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path=%s</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
    <allow own="*"/>
  </policy>
</busconfig>
`

// Service is a session bus, with or without gnome-keyring on it.
type Service struct {
	dir    string
	bus    *daemon
	daemon *daemon
}

// New starts an unlocked Secret Service and stops it when the test ends.
func New(t testing.TB) *Service {
	t.Helper()
	s := NewBus(t)
	if err := s.StartKeyring(true); err != nil {
		t.Fatal(err)
	}
	return s
}

// NewBus starts a session bus without a Secret Service and stops it when the test ends.
func NewBus(t testing.TB) *Service {
	t.Helper()
	s, err := StartBus()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

// Start starts an unlocked Secret Service. The caller calls Stop.
func Start() (*Service, error) {
	s, err := StartBus()
	if err != nil {
		return nil, err
	}
	if err := s.StartKeyring(true); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

// StartBus starts a session bus without a Secret Service. The caller calls Stop.
func StartBus() (*Service, error) {
	// short: a socket's path has at most 107 bytes
	dir, err := os.MkdirTemp("", "secretservice")
	if err != nil {
		return nil, err
	}
	s := &Service{dir: dir}
	if err := s.startBus(); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

func (s *Service) startBus() error {
	for _, dir := range []string{"home", "run", "data", "config", "cache"} {
		if err := os.Mkdir(filepath.Join(s.dir, dir), 0o700); err != nil {
			return err
		}
	}
	config := filepath.Join(s.dir, "bus.conf")
	if err := os.WriteFile(config, fmt.Appendf(nil, busConfig, s.Socket()), 0o600); err != nil {
		return err
	}
	var err error
	s.bus, err = s.start("dbus", "", "dbus-daemon", "--nofork", "--nopidfile", "--nosyslog",
		"--config-file="+config)
	if err != nil {
		return err
	}
	return wait("the session bus", func() error {
		conn, err := s.Connect()
		if err != nil {
			return err
		}
		return conn.Close()
	})
}

// StartKeyring starts gnome-keyring, which makes the login collection when it is unlocked for the
// first time. Without unlock, that collection stays locked when there is one, and else there is
// none.
func (s *Service) StartKeyring(unlock bool) error {
	command := []string{"gnome-keyring-daemon", "--foreground", "--components=secrets"}
	input := ""
	if unlock {
		command = append(command, "--unlock")
		input = password
	}
	var err error
	if s.daemon, err = s.start("gnome-keyring", input, command...); err != nil {
		return err
	}
	return wait("gnome-keyring", func() error { return s.ready(unlock) })
}

// StartPlain starts gnome-keyring with a default collection that has no password, called "login" or
// otherwise. It is unlocked for everybody, and its file is plain text.
func (s *Service) StartPlain(collection string) error {
	dir := filepath.Join(s.DataDir(), "keyrings")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for name, text := range map[string]string{collection +
		".keyring": "[keyring]\ndisplay-name=" + collection + "\n",
		"default": collection} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	return s.StartKeyring(false)
}

// DataDir is the user data directory of the keyring.
func (s *Service) DataDir() string { return filepath.Join(s.dir, "data") }

func (s *Service) ready(unlocked bool) error {
	conn, err := s.Connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	if !unlocked {
		return conn.Object(secretsName,
			"/org/freedesktop/secrets").Call("org.freedesktop.DBus.Peer.Ping", 0).Err
	}
	locked, err := conn.Object(secretsName,
		loginPath).GetProperty("org.freedesktop.Secret.Collection.Locked")
	if err == nil && locked.Value() != false {
		err = errors.New("the login collection is locked")
	}
	return err
}

// Socket is the path of the bus's socket.
func (s *Service) Socket() string { return filepath.Join(s.dir, "run", "bus") }

// Dir is the directory that holds everything the daemons write; Stop removes it.
func (s *Service) Dir() string { return s.dir }

// Address is the bus's address.
func (s *Service) Address() string { return "unix:path=" + s.Socket() }

// Env lists the variables that lead a program to this service, as os/exec wants them.
func (s *Service) Env() []string {
	return []string{"DBUS_SESSION_BUS_ADDRESS=" + s.Address(),
		"XDG_RUNTIME_DIR=" + filepath.Join(s.dir, "run")}
}

// Getenv looks up a variable of Env.
func (s *Service) Getenv(name string) string {
	for _, variable := range s.Env() {
		if value, ok := strings.CutPrefix(variable, name+"="); ok {
			return value
		}
	}
	return ""
}

// Connect returns a connection of its own to the bus.
func (s *Service) Connect() (*dbus.Conn, error) { return dbus.Connect(s.Address()) }

// Lock locks the login collection.
func (s *Service) Lock() error {
	conn, err := s.Connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	return conn.Object(secretsName, "/org/freedesktop/secrets").
		Call("org.freedesktop.Secret.Service.Lock", 0, []dbus.ObjectPath{loginPath}).Err
}

// StopKeyring stops gnome-keyring and leaves its files and the bus.
func (s *Service) StopKeyring() { s.daemon = s.daemon.stop() }

// StopBus stops the bus, and with it all that is connected.
func (s *Service) StopBus() { s.bus = s.bus.stop() }

// Stop stops both and removes their files. It may be called again.
func (s *Service) Stop() {
	s.StopKeyring()
	s.StopBus()
	_ = os.RemoveAll(s.dir)
}

// daemon is a process that ends with this one, also when this one is killed or panics.
type daemon struct {
	cmd      *exec.Cmd
	lifeline *os.File // the daemon is killed when this is closed
}

// keeper runs a daemon, with descriptor 0 as its input, until descriptor 3 comes to its end.
const keeper = `exec 4<&0; "$@" <&4 3<&- & pid=$!; read -r _ <&3; kill -9 $pid; wait`

// start starts a daemon that sees nothing of the environment of the tests but the way to the
// programs.
func (s *Service) start(debianPackage, input string, command ...string) (*daemon, error) {
	if _, err := exec.LookPath(command[0]); err != nil {
		return nil, fmt.Errorf("this test needs %s: install the package %s", command[0],
			debianPackage)
	}
	end, lifeline, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer end.Close()
	cmd := exec.Command("sh", append([]string{"-c", keeper, "sh"}, command...)...)
	cmd.Stdin = strings.NewReader(input)
	cmd.ExtraFiles = []*os.File{end}
	cmd.Env = append(s.Env(),
		"PATH="+os.Getenv("PATH"),
		"HOME="+filepath.Join(s.dir, "home"),
		"XDG_DATA_HOME="+filepath.Join(s.dir, "data"),
		"XDG_CONFIG_HOME="+filepath.Join(s.dir, "config"),
		"XDG_CACHE_HOME="+filepath.Join(s.dir, "cache"),
	)
	if err := cmd.Start(); err != nil {
		_ = lifeline.Close()
		return nil, err
	}
	return &daemon{cmd: cmd, lifeline: lifeline}, nil
}

// stop kills the daemon, waits for its end and returns nil, its successor.
func (d *daemon) stop() *daemon {
	if d != nil {
		_ = d.lifeline.Close()
		_ = d.cmd.Wait()
	}
	return nil
}

// wait calls ready until it has no error.
func wait(what string, ready func() error) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %s: %w", what, err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}
