package network

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Host is a machine of the network: a namespace with a loopback device and one
// TUN device whose other end is the forwarder.
type Host struct {
	name  string
	addr  netip.Addr
	space *os.File // the namespace
	tun   *os.File
	ended chan struct{} // closed when the reader has ended
}

func newHost(name string, addr netip.Addr) (*Host, error) {
	h := &Host{name: name, addr: addr, ended: make(chan struct{})}
	if err := elsewhere(h.make); err != nil {
		return nil, err
	}
	for _, args := range [][]string{
		{"link", "set", "lo", "up"},
		{"addr", "add", addr.String() + "/16", "dev", "wire"},
		// The queue holds a burst until the forwarder gets the processor.
		{"link", "set", "wire", "up", "mtu", "1500", "txqueuelen", "10000"},
	} {
		if err := h.configure(args); err != nil {
			return nil, fmt.Errorf("ip %s: %w", strings.Join(args, " "), err)
		}
	}
	return h, nil
}

// elsewhere runs f, which may leave for another network namespace, on a thread of
// its own and brings the thread back. It must come back: a thread that ended would
// take along the processes that it has started, if they are to die with it.
func elsewhere(f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		home, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
		if err != nil {
			done <- fmt.Errorf("hold the own namespace: %w", err)
			return
		}
		defer home.Close()
		err = f()
		if back := unix.Setns(int(home.Fd()), unix.CLONE_NEWNET); back != nil {
			done <- errors.Join(err, fmt.Errorf("go back to the own namespace: %w", back))
			return // still locked: nobody else may find himself here
		}
		runtime.UnlockOSThread()
		done <- err
	}()
	return <-done
}

// make leaves for a new namespace, which it holds, and makes the device there.
func (h *Host) make() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return fmt.Errorf("make a network namespace: %w", err)
	}
	space, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
	if err != nil {
		return fmt.Errorf("hold the namespace: %w", err)
	}
	h.space = space
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open the TUN device: %w", err)
	}
	req, err := unix.NewIfreq("wire")
	if err != nil {
		return fmt.Errorf("name the device: %w", err)
	}
	req.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
	if err := unix.IoctlIfreq(fd, unix.TUNSETIFF, req); err != nil {
		return fmt.Errorf("make the device: %w", err)
	}
	h.tun = os.NewFile(uintptr(fd), "wire of "+h.name)
	return nil
}

func (h *Host) configure(args []string) error {
	prefix := h.Prefix()
	out, err := exec.Command(prefix[0], append(append(prefix[1:], "ip"), args...)...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// String is the host's name.
func (h *Host) String() string { return h.name }

// Addr is the host's address in the network.
func (h *Host) Addr() string { return h.addr.String() }

// Prefix is a command that runs another on this host, with the same files.
func (h *Host) Prefix() []string {
	return []string{"nsenter", fmt.Sprintf("--net=/proc/%d/fd/%d", os.Getpid(), h.space.Fd())}
}

// Command makes a command run on this host.
func (h *Host) Command(cmd *exec.Cmd) error {
	prefix := h.Prefix()
	path, err := exec.LookPath(prefix[0])
	if err != nil {
		return fmt.Errorf("run a command on %s: %w", h, err)
	}
	cmd.Args = append(append(prefix, cmd.Path), cmd.Args[1:]...)
	cmd.Path = path
	return nil
}

// inside runs f in the host's namespace. Sockets that f makes stay on the host.
func (h *Host) inside(f func() error) error {
	return elsewhere(func() error {
		if err := unix.Setns(int(h.space.Fd()), unix.CLONE_NEWNET); err != nil {
			return fmt.Errorf("enter the host %s: %w", h, err)
		}
		return f()
	})
}

// DialContext connects from this host. The address must be a number: names would
// be looked up elsewhere.
func (h *Host) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	if _, err := netip.ParseAddrPort(address); err != nil {
		return nil, fmt.Errorf("dial from %s: %w", h, err)
	}
	var conn net.Conn
	err := h.inside(func() (err error) {
		var d net.Dialer
		conn, err = d.DialContext(ctx, network, address)
		return err
	})
	return conn, err
}

// Listen listens on this host, at an address such as 10.77.0.1:0.
func (h *Host) Listen(network, address string) (net.Listener, error) {
	var ln net.Listener
	err := h.inside(func() (err error) {
		ln, err = net.Listen(network, address)
		return err
	})
	return ln, err
}

// ListenPacket is Listen for UDP.
func (h *Host) ListenPacket(network, address string) (net.PacketConn, error) {
	var conn net.PacketConn
	err := h.inside(func() (err error) {
		conn, err = net.ListenPacket(network, address)
		return err
	})
	return conn, err
}

// Client is an HTTP client on this host. It keeps connections.
func (h *Host) Client(timeout time.Duration) *http.Client {
	return &http.Client{Timeout: timeout, Transport: h.Transport()}
}

// Transport is what Client is made of.
func (h *Host) Transport() *http.Transport {
	return &http.Transport{DialContext: h.DialContext, MaxIdleConnsPerHost: 256, IdleConnTimeout: 5 * time.Second}
}

// read hands on what the host sends until its device is closed.
func (h *Host) read(forward func(from netip.Addr, packet []byte)) {
	defer close(h.ended)
	buf := make([]byte, 1<<16)
	for {
		n, err := h.tun.Read(buf)
		if err != nil {
			return
		}
		forward(h.addr, append([]byte(nil), buf[:n]...))
	}
}

// write gives the host a packet. One that it does not take, because its device is
// being closed or its queue is full, is lost as on any wire.
func (h *Host) write(packet []byte) {
	_, _ = h.tun.Write(packet)
}

func (h *Host) close() error {
	err := h.tun.Close()
	<-h.ended
	if e := h.space.Close(); err == nil {
		err = e
	}
	return err
}
