package sealed

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/sa-exec-credential/sa-exec-credential/internal/files"
)

const (
	// maxAnswer is above the longest answer of a TPM (4,096 bytes in the kernel).
	maxAnswer = 4096
	// busyPause is the time between two tries to reach a TPM that others use.
	busyPause = 10 * time.Millisecond
	// startLimit is how long one that is not there may take to come: a simulator's service
	// that is being started again.
	startLimit = time.Second
)

// connection is a transport.TPM that ends with a context.
type connection interface {
	Send(command []byte) ([]byte, error)
	Close() error
}

// connect opens a TPM. One that is in use by others is waited for until ctx ends: a simulator
// serves one connection at a time, and /dev/tpm0 one process.
func connect(ctx context.Context, place string) (connection, error) {
	open := openDevice
	path, isSocket := strings.CutPrefix(place, socketPrefix)
	if isSocket {
		open = openSocket
	}
	for began := time.Now(); ; {
		conn, err := open(ctx, path)
		missing := errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED)
		busy := errors.Is(err, unix.EBUSY) || errors.Is(err, unix.EAGAIN) ||
			isSocket && missing && time.Since(began) < startLimit
		switch {
		case err == nil:
			return conn, nil
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(err, ErrUnavailable):
			return nil, err
		case errors.Is(err, fs.ErrPermission) && !isSocket:
			return nil, fmt.Errorf("%w %s", ErrPermission, path)
		case missing && !busy:
			return nil, unavailable("there is no TPM at %s", place)
		case !busy:
			return nil, unavailable("opening the TPM: %w", err)
		}
		pause := busyPause + rand.N(busyPause)
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(pause):
		}
	}
}

// device is a TPM that the kernel has. It is asked without blocking, so that the deadline holds.
type device struct {
	ctx context.Context
	fd  int
}

func openDevice(ctx context.Context, path string) (connection, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Mode()&fs.ModeCharDevice == 0 {
		return nil, unavailable("%s is not a device", path)
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return device{ctx, fd}, nil
}

// Send implements transport.TPM.
func (d device) Send(command []byte) ([]byte, error) {
	if _, err := unix.Write(d.fd, command); err != nil {
		return nil, err
	}
	for {
		wait := -1
		if deadline, ok := d.ctx.Deadline(); ok {
			wait = max(0, int(time.Until(deadline).Milliseconds()))
		}
		ready, err := unix.Poll([]unix.PollFd{{Fd: int32(d.fd), Events: unix.POLLIN}}, wait)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, err
		}
		if ready == 0 {
			return nil, context.DeadlineExceeded
		}
		answer := make([]byte, maxAnswer)
		n, err := unix.Read(d.fd, answer)
		return answer[:max(n, 0)], err
	}
}

// Close implements transport.TPM. The kernel's resource manager forgets what was loaded.
func (d device) Close() error { return unix.Close(d.fd) }

// socket is a simulator's. One connection is kept for a whole exchange: that is what keeps others
// out of it.
type socket struct{ *net.UnixConn }

func openSocket(ctx context.Context, path string) (connection, error) {
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	s := socket{conn.(*net.UnixConn)}
	deadline, _ := ctx.Deadline() // zero: none
	err = errors.Join(s.SetDeadline(deadline), s.checkPeer())
	if err != nil {
		_ = s.Close()
		return nil, err
	}
	return s, nil
}

// checkPeer refuses a simulator of another user than this one or root: it would be told the key.
func (s socket) checkPeer() error {
	peer, err := files.Peer(s.UnixConn)
	switch {
	case err != nil:
		return err
	case peer != 0 && peer != os.Geteuid():
		return unavailable("the TPM simulator belongs to user %d", peer)
	}
	return nil
}

// Send implements transport.TPM.
func (s socket) Send(command []byte) ([]byte, error) {
	if _, err := s.Write(command); err != nil {
		return nil, err
	}
	// tag, size and response code, see "Response Header" in the TPM 2.0 Library, part 1
	header := make([]byte, 10)
	if _, err := io.ReadFull(s, header); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(header[2:6])
	if size < uint32(len(header)) || size > maxAnswer {
		return nil, fmt.Errorf("an answer of %d bytes", size)
	}
	answer := append(header, make([]byte, int(size)-len(header))...)
	_, err := io.ReadFull(s, answer[len(header):])
	return answer, err
}
