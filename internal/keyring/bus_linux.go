package keyring

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/godbus/dbus/v5"

	"github.com/sa-exec-credential/sa-exec-credential/internal/files"
)

// busAddress is one address of a session bus that this program is willing to use: a Unix socket.
// The environment may come from a kubeconfig that somebody else wrote, and other transports run
// commands (unixexec:, autolaunch:) or lead to other machines (tcp:, nonce-tcp:).
type busAddress struct {
	path     string // absolute; or empty when abstract is set
	abstract string
}

// findBus returns the address of the session bus that the environment names, without looking for
// one anywhere else and without starting one. It is ErrUnavailable when there is none, or none of
// an acceptable form.
func findBus(getenv func(string) string) (busAddress, error) {
	list := getenv("DBUS_SESSION_BUS_ADDRESS")
	if list == "" {
		return findUserBus(getenv("XDG_RUNTIME_DIR"))
	}
	for address := range strings.SplitSeq(list, ";") {
		if bus, ok := parseBusAddress(address); ok {
			return bus, nil
		}
	}
	return busAddress{}, fmt.Errorf("%w: DBUS_SESSION_BUS_ADDRESS names no Unix socket",
		ErrUnavailable)
}

// findUserBus returns the bus that systemd starts for a user: a socket of his own, or root's.
func findUserBus(runtimeDir string) (busAddress, error) {
	path := filepath.Join(runtimeDir, "bus")
	if !filepath.IsAbs(path) {
		return busAddress{}, fmt.Errorf("%w: DBUS_SESSION_BUS_ADDRESS and XDG_RUNTIME_DIR "+
			"are not set", ErrNoBus)
	}
	info, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return busAddress{}, fmt.Errorf("%w: DBUS_SESSION_BUS_ADDRESS is not set, and %q "+
			"is not there", ErrNoBus, path)
	case err != nil:
		return busAddress{}, fmt.Errorf("%w: %w", ErrNoBus, err)
	case info.Mode().Type() != fs.ModeSocket:
		return busAddress{}, fmt.Errorf("%w: %q is not a socket", ErrNoBus, path)
	}
	if err := files.CheckOwner(path, info); err != nil {
		return busAddress{}, fmt.Errorf("%w: %w", ErrNoBus, err)
	}
	return busAddress{path: path}, nil
}

// parseBusAddress reads one address, see "Server Addresses" in the D-Bus specification. Keys that
// it does not know make an address unacceptable.
func parseBusAddress(address string) (busAddress, bool) {
	pairs, ok := strings.CutPrefix(address, "unix:")
	if !ok {
		return busAddress{}, false
	}
	var bus busAddress
	for pair := range strings.SplitSeq(pairs, ",") {
		key, escaped, _ := strings.Cut(pair, "=")
		value, err := dbus.UnescapeBusAddressValue(escaped)
		if err != nil || value == "" || strings.ContainsRune(value, 0) {
			return busAddress{}, false
		}
		switch key {
		case "path":
			bus.path = value
		case "abstract":
			bus.abstract = value
		case "guid":
		default:
			return busAddress{}, false
		}
	}
	if bus.path != "" {
		return bus, bus.abstract == "" && filepath.IsAbs(bus.path)
	}
	return bus, bus.abstract != ""
}

// socketName is the address as package net spells it.
func (b busAddress) socketName() string {
	if b.abstract != "" {
		return "@" + b.abstract
	}
	return b.path
}

// String is the address as D-Bus spells it.
func (b busAddress) String() string {
	if b.abstract != "" {
		return "unix:abstract=" + dbus.EscapeBusAddressValue(b.abstract)
	}
	return "unix:path=" + dbus.EscapeBusAddressValue(b.path)
}

// dial connects to the bus and makes sure, before anything is sent, that it is run by this user or
// by root.
func (b busAddress) dial(ctx context.Context, uid int) (*net.UnixConn, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", b.socketName())
	if err != nil {
		return nil, fmt.Errorf("%w: connecting to the session bus: %w", ErrUnavailable, err)
	}
	socket := conn.(*net.UnixConn)
	if err := checkPeer(socket, uid); err != nil {
		_ = socket.Close()
		return nil, err
	}
	if deadline, ok := ctx.Deadline(); ok {
		_ = socket.SetDeadline(deadline)
	}
	return socket, nil
}

// checkPeer refuses a socket that somebody else than uid or root listens on.
func checkPeer(socket *net.UnixConn, uid int) error {
	peer, err := files.Peer(socket)
	switch {
	case err != nil:
		return unavailable(err)
	case peer != 0 && peer != uid:
		return fmt.Errorf("%w: the session bus belongs to user %d", ErrUnavailable, peer)
	}
	return nil
}

// busConn is a connection whose greeting and first calls travel together.
type busConn struct {
	*dbus.Conn
	socket *net.UnixConn
	eager  *eagerSocket // nil when every call is sent at once
}

// bound makes the connection's next exchange end with ctx.
func (c *busConn) bound(ctx context.Context) error {
	deadline, _ := ctx.Deadline() // zero: none
	return c.socket.SetDeadline(deadline)
}

// connect opens a connection on which calls may be made at once; they are sent by flush.
func connect(ctx context.Context, bus busAddress, uid int) (*busConn, error) {
	conn, err := connectEagerly(ctx, bus, uid)
	if errors.Is(err, errAuthentication) {
		return connectPatiently(ctx, bus, uid)
	}
	return conn, err
}

func connectEagerly(ctx context.Context, bus busAddress, uid int) (*busConn, error) {
	socket, err := bus.dial(ctx, uid)
	if err != nil {
		return nil, err
	}
	eager := &eagerSocket{UnixConn: socket, in: bufio.NewReader(socket)}
	if err := eager.authenticate(uid); err != nil {
		_ = socket.Close()
		return nil, err
	}
	conn, err := dbus.NewConn(eager)
	if err == nil {
		err = conn.Auth([]dbus.Auth{dbus.AuthExternal("")})
	}
	if err != nil {
		_ = socket.Close()
		return nil, unavailable(err)
	}
	conn.BusObject().Go("org.freedesktop.DBus.Hello", 0, nil)
	return &busConn{Conn: conn, socket: socket, eager: eager}, nil
}

// connectPatiently leaves everything to godbus. It lets the bus find out who we are, which helps
// where both count users differently, as with the bus of a host in a container.
func connectPatiently(ctx context.Context, bus busAddress, uid int) (*busConn, error) {
	socket, err := bus.dial(ctx, uid)
	if err != nil {
		return nil, err
	}
	conn, err := dbus.ConnectUnix(socket)
	if err != nil {
		_ = socket.Close()
		return nil, busError(err)
	}
	return &busConn{Conn: conn, socket: socket}, nil
}

// flush sends the calls made so far; later ones are sent at once, and flush has nothing more to do.
func (c *busConn) flush() error {
	if c.eager == nil {
		return nil
	}
	return c.eager.flush()
}

// eagerSocket saves four of the six round trips before a first answer that godbus takes: it
// authenticates in one, as libdbus does, plays the server's part to godbus, and holds back what
// godbus writes until flush, so that BEGIN, Hello and the first calls are one write. The bus sees
// nothing that the specification does not allow.
type eagerSocket struct {
	*net.UnixConn
	in      *bufio.Reader
	out     bytes.Buffer // what waits for flush
	canned  bytes.Buffer // what godbus is told during its authentication
	begun   bool         // godbus has finished its authentication
	flushed bool
}

var errAuthentication error = &reason{&ErrUnavailable, "the session bus refused the authentication"}

// authenticate proves to the bus who we are, see "Authentication Protocol" in the D-Bus
// specification.
func (s *eagerSocket) authenticate(uid int) error {
	if _, err := fmt.Fprintf(s.UnixConn, "\x00AUTH EXTERNAL %x\r\n",
		strconv.Itoa(uid)); err != nil {
		return busError(err)
	}
	line, err := s.in.ReadSlice('\n')
	if err != nil {
		return busError(err)
	}
	if !bytes.HasPrefix(line, []byte("OK ")) {
		return errAuthentication
	}
	return nil
}

// Write implements io.Writer. godbus writes one at a time.
func (s *eagerSocket) Write(p []byte) (int, error) {
	if s.flushed {
		return s.UnixConn.Write(p)
	}
	if s.begun {
		return s.out.Write(p)
	}
	switch string(p) {
	case "AUTH\r\n": // asks for the mechanisms
		s.canned.WriteString("REJECTED EXTERNAL\r\n")
	case "AUTH EXTERNAL\r\n":
		s.canned.WriteString("OK 0\r\n")
	case "BEGIN\r\n":
		s.begun = true
		return s.out.Write(p)
	}
	return len(p), nil
}

// Read implements io.Reader.
func (s *eagerSocket) Read(p []byte) (int, error) {
	if !s.begun {
		return s.canned.Read(p)
	}
	return s.in.Read(p)
}

func (s *eagerSocket) flush() error {
	if s.flushed {
		return nil
	}
	s.flushed = true
	_, err := s.UnixConn.Write(s.out.Bytes())
	return err
}
