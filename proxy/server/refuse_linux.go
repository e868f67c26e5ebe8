package server

import (
	"errors"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// refuseNew makes a listening socket refuse attempts to connect, while those
// that have begun come through: it is bound to a network device that its
// clients do not come by. Whoever is refused has sent nothing and may go
// elsewhere; one that is in the queue when the socket closes is reset with its
// request.
func refuseNew(raw syscall.RawConn, byLoopback bool) error {
	device, err := otherDevice(byLoopback)
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.SetsockoptString(int(fd), unix.SOL_SOCKET, unix.SO_BINDTODEVICE, device)
	})
	return errors.Join(err, failed)
}

// otherDevice names a device of the other sort.
func otherDevice(loopback bool) (string, error) {
	all, err := net.Interfaces()
	if err != nil {
		return "", err
	}
	for _, i := range all {
		if (i.Flags&net.FlagLoopback != 0) != loopback {
			return i.Name, nil
		}
	}
	return "", errors.ErrUnsupported
}
