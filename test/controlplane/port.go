package controlplane

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// reservedPort is a TCP port on 127.0.0.1 that nobody else can get while it is
// held: a socket bound to it with SO_REUSEPORT that never listens. An API server
// with --permit-port-sharing, of the same user, listens on it all the same. A
// port that is merely looked for and let go may be somebody else's a moment
// later, above all while the API server is restarted.
type reservedPort struct {
	number int
	fd     int
}

func reservePort() (*reservedPort, error) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return nil, os.NewSyscallError("socket", err)
	}
	unix.CloseOnExec(fd)
	number, err := bindShared(fd)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &reservedPort{number: number, fd: fd}, nil
}

// bindShared binds fd to a port of the kernel's choice, which is never one that
// another socket shares, and returns it.
func bindShared(fd int) (int, error) {
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return 0, os.NewSyscallError("setsockopt", err)
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, os.NewSyscallError("bind", err)
	}
	address, err := unix.Getsockname(fd)
	if err != nil {
		return 0, os.NewSyscallError("getsockname", err)
	}
	inet, ok := address.(*unix.SockaddrInet4)
	if !ok {
		return 0, fmt.Errorf("socket is bound to a %T", address)
	}
	return inet.Port, nil
}

// release gives the port up. It may be called again, and on nil.
func (p *reservedPort) release() {
	if p == nil || p.fd < 0 {
		return
	}
	unix.Close(p.fd)
	p.fd = -1
}
