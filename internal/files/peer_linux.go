package files

import (
	"errors"
	"net"

	"golang.org/x/sys/unix"
)

// Peer is the user id of the process at the other end of a Unix socket, see SO_PEERCRED in unix(7).
func Peer(socket *net.UnixConn) (uid int, err error) {
	raw, err := socket.SyscallConn()
	if err != nil {
		return 0, err
	}
	var peer *unix.Ucred
	var problem error
	err = raw.Control(func(fd uintptr) {
		peer, problem = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err := errors.Join(err, problem); err != nil {
		return 0, err
	}
	return int(peer.Uid), nil
}
