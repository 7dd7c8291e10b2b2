package mint

import (
	"bytes"
	"context"
	"errors"
	"net"
	"runtime"
	"slices"
	"strconv"
	"testing"
	"time"

	sys "golang.org/x/sys/unix"
	"k8s.io/client-go/rest"

	"github.com/sa-exec-credential/sa-exec-credential/internal/api"
)

// blackHole is an address at which packets are dropped, as by a firewall or a VPN that is down: a
// socket that listens, and whose queue is full. The kernel answers no further SYN then, neither
// with an ACK nor with a reset.
type blackHole struct{ socket int }

// newBlackHole opens one at an address and a port, 0 for any.
func newBlackHole(t *testing.T, address string, port int) (hole blackHole, at string) {
	t.Helper()
	socket, err := listenWithoutQueue(net.ParseIP(address), port)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sys.Close(socket) })
	bound, err := sys.Getsockname(socket)
	if err != nil {
		t.Fatal(err)
	}
	hole, at = blackHole{socket}, net.JoinHostPort(address, strconv.Itoa(portOf(bound)))
	for range 2 { // one is what listen was asked to keep, and Linux keeps one more
		conn, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = conn.Close() })
	}
	for hole.waiting(t) < 2 {
		runtime.Gosched() // the last packet is still on its way
	}
	return hole, at
}

func listenWithoutQueue(address net.IP, port int) (socket int, err error) {
	domain, bound := sys.AF_INET6, sys.Sockaddr(&sys.SockaddrInet6{Port: port,
		Addr: [16]byte(address.To16())})
	if four := address.To4(); four != nil {
		domain, bound = sys.AF_INET, &sys.SockaddrInet4{Port: port, Addr: [4]byte(four)}
	}
	if socket, err = sys.Socket(domain, sys.SOCK_STREAM|sys.SOCK_CLOEXEC, 0); err != nil {
		return 0, err
	}
	if err = errors.Join(sys.Bind(socket, bound), sys.Listen(socket, 1)); err != nil {
		_ = sys.Close(socket)
	}
	return socket, err
}

func portOf(address sys.Sockaddr) int {
	if six, ok := address.(*sys.SockaddrInet6); ok {
		return six.Port
	}
	return address.(*sys.SockaddrInet4).Port
}

// waiting is how many connections nobody has accepted. For a socket that listens, Linux has the
// number in this field.
func (b blackHole) waiting(t *testing.T) int {
	t.Helper()
	info, err := sys.GetsockoptTCPInfo(b.socket, sys.IPPROTO_TCP, sys.TCP_INFO)
	if err != nil {
		t.Fatal(err)
	}
	return int(info.Unacked)
}

func TestABlackHoleIsGivenUpInTime(t *testing.T) {
	hole, at := newBlackHole(t, "127.0.0.1", 0)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	_, err := minterFor(t, &rest.Config{Host: "https://" + at, BearerToken: credential},
		time.Now).Mint(ctx, request)
	if !errors.Is(err, api.ErrTimeout) || api.Kind(err) != api.ErrTimeout {
		t.Errorf("error %v of kind %v", err, api.Kind(err))
	}
	noCredential(t, err)
	if waiting := hole.waiting(t); waiting != 2 {
		t.Errorf("the connection was made, so this was no black hole: %d wait", waiting)
	}
}

// TestABlackHoleAtOneOfTwoAddressesIsPassedOver has a name lead to one at ::1, which is tried
// first, and to a server at 127.0.0.1.
func TestABlackHoleAtOneOfTwoAddressesIsPassedOver(t *testing.T) {
	server, config := serve(t,
		respond(201, "application/json", answerWith("t", time.Now().Add(time.Hour))))
	port := server.Listener.Addr().(*net.TCPAddr).Port
	if hasIPv6(t) { // else nothing at all is at the first address
		newBlackHole(t, "::1", port)
	}
	config.Host, config.ServerName = "https://two.test:"+strconv.Itoa(port), "example.com"
	if _, err := minterFor(t, config, time.Now).Mint(t.Context(), request); err != nil {
		t.Error(err)
	}
}

func hasIPv6(t *testing.T) bool {
	t.Helper()
	listener, err := net.Listen("tcp6", "[::1]:0")
	if err == nil {
		_ = listener.Close()
	}
	return err == nil
}

// init has this process ask a server of its own for names: what "localhost" leads to is up to the
// machine, and there has to be one name with two addresses. It is done before all tests, because of
// those that leave a dial behind.
func init() {
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	net.DefaultResolver = &net.Resolver{PreferGo: true,
		Dial: func(context.Context, string, string) (net.Conn, error) {
			return net.Dial("udp", conn.LocalAddr().String())
		}}
	go func() {
		for query := make([]byte, 512); ; {
			size, from, err := conn.ReadFrom(query)
			if err != nil {
				return
			}
			_, _ = conn.WriteTo(addressOf(query[:size]), from)
		}
	}()
}

// addressOf answers a question of the DNS (RFC 1035, 4.1), which is a header of 12 bytes, a name, a
// type and a class: two.test is at ::1 and 127.0.0.1, and nothing else is anywhere.
func addressOf(query []byte) []byte {
	const header, typeA, name = 12, 1, "\x03two\x04test\x00"
	question := query[header:]
	question = question[:bytes.IndexByte(question, 0)+5]
	if !bytes.HasPrefix(question, []byte(name)) {
		return slices.Concat(query[:2], []byte{0x81, 0x83, 0, 1, 0, 0, 0, 0, 0, 0},
			question)
	}
	kind, address := question[len(name):len(name)+2], []byte(net.IPv6loopback)
	if kind[1] == typeA {
		address = []byte{127, 0, 0, 1}
	}
	return slices.Concat(query[:2], []byte{0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0}, question,
		[]byte{0xc0, header}, kind, []byte{0, 1, 0, 0, 0, 60, 0, byte(len(address))},
		address)
}
