package network_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"tollgate/node/e2e/network"
)

// pairOf is a network of two hosts with echoes of TCP and UDP on the second.
func pairOf(t *testing.T) (n *network.Network, a, b *network.Host, tcp, udp string) {
	t.Helper()
	n = network.New(t, 7)
	if n == nil {
		return nil, nil, nil, "", ""
	}
	a, b = n.Host("a"), n.Host("b")
	ln, err := b.Listen("tcp", b.Addr()+":0")
	require.NoError(t, err)
	t.Cleanup(func() { ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.Copy(c, c) // it ends when the caller has enough
			}()
		}
	}()
	packets, err := b.ListenPacket("udp", b.Addr()+":0")
	require.NoError(t, err)
	t.Cleanup(func() { packets.Close() })
	go func() {
		buf := make([]byte, 2048)
		for {
			k, from, err := packets.ReadFrom(buf)
			if err != nil {
				return
			}
			_, _ = packets.WriteTo(buf[:k], from) // lost is lost
		}
	}()
	return n, a, b, ln.Addr().String(), packets.LocalAddr().String()
}

func dial(t *testing.T, h *network.Host, network, addr string) net.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	c, err := h.DialContext(ctx, network, addr)
	require.NoError(t, err)
	t.Cleanup(func() { c.Close() })
	return c
}

// echo sends a word and waits for it to come back.
func echo(c net.Conn, within time.Duration) (time.Duration, error) {
	at := time.Now()
	if err := c.SetDeadline(at.Add(within)); err != nil {
		return 0, err
	}
	if _, err := io.WriteString(c, "hello"); err != nil {
		return 0, err
	}
	buf := make([]byte, 5)
	_, err := io.ReadFull(c, buf)
	return time.Since(at), err
}

// timedOut requires that nothing came back, and that nobody said why.
func timedOut(t *testing.T, c net.Conn) {
	t.Helper()
	_, err := echo(c, 150*time.Millisecond)
	var ne net.Error
	require.True(t, errors.As(err, &ne) && ne.Timeout(), "%v", err)
}

func TestARoundTripTakesTwiceTheDelay(t *testing.T) {
	n, a, b, tcp, udp := pairOf(t)
	if n == nil {
		return
	}
	for _, c := range []net.Conn{dial(t, a, "tcp", tcp), dial(t, a, "udp", udp)} {
		fast, err := echo(c, 5*time.Second)
		require.NoError(t, err)
		n.Delay(a, b, 40*time.Millisecond)
		slow, err := echo(c, 5*time.Second)
		require.NoError(t, err)
		require.GreaterOrEqual(t, slow, 80*time.Millisecond)
		require.Less(t, slow-fast, 400*time.Millisecond, "a busy machine may add, but not that much")
		n.Delay(a, b, 0)
	}
}

func TestACutIsSilentAndEndsWithHeal(t *testing.T) {
	n, a, b, tcp, udp := pairOf(t)
	if n == nil {
		return
	}
	for _, c := range []net.Conn{dial(t, a, "tcp", tcp), dial(t, a, "udp", udp)} {
		_, err := echo(c, 5*time.Second)
		require.NoError(t, err)
		n.Cut(a, b)
		timedOut(t, c)
		n.Heal()
	}
	_, err := echo(dial(t, a, "tcp", tcp), 5*time.Second)
	require.NoError(t, err)
	_, err = echo(dial(t, a, "udp", udp), 5*time.Second)
	require.NoError(t, err)
}

func TestACutTCPConnectionGoesOnAfterHeal(t *testing.T) {
	n, a, b, tcp, _ := pairOf(t)
	if n == nil {
		return
	}
	c := dial(t, a, "tcp", tcp)
	n.Cut(a, b)
	timedOut(t, c)
	n.Heal()
	require.NoError(t, c.SetDeadline(time.Now().Add(10*time.Second)))
	buf := make([]byte, 5)
	_, err := io.ReadFull(c, buf)
	require.NoError(t, err, "the kernel sends again what the cut has swallowed")
	require.Equal(t, "hello", string(buf))
}

func TestAOneWayCutLetsTheOtherWayPass(t *testing.T) {
	n, a, b, _, _ := pairOf(t)
	if n == nil {
		return
	}
	from, err := a.ListenPacket("udp", a.Addr()+":0")
	require.NoError(t, err)
	defer from.Close()
	to, err := b.ListenPacket("udp", b.Addr()+":0")
	require.NoError(t, err)
	defer to.Close()
	arrives := func(from, to net.PacketConn) bool {
		_, err := from.WriteTo([]byte("x"), to.LocalAddr())
		require.NoError(t, err)
		require.NoError(t, to.SetReadDeadline(time.Now().Add(150*time.Millisecond)))
		_, _, err = to.ReadFrom(make([]byte, 8))
		return err == nil
	}
	n.CutOneWay(a, b)
	require.False(t, arrives(from, to))
	require.True(t, arrives(to, from))
	require.Equal(t, 1, n.Lost(a, b))
	n.Heal()
	require.True(t, arrives(from, to))
}

func TestABlockTakesOnlyItsKindOfPackets(t *testing.T) {
	n, a, b, tcp, udp := pairOf(t)
	if n == nil {
		return
	}
	stream, packets := dial(t, a, "tcp", tcp), dial(t, a, "udp", udp)
	n.Block(a, b, network.Match{Protocol: network.UDP})
	timedOut(t, packets)
	_, err := echo(stream, 5*time.Second)
	require.NoError(t, err)
	n.Heal()
	port := uint16(stream.RemoteAddr().(*net.TCPAddr).Port)
	n.Block(a, b, network.Match{Protocol: network.TCP, Port: port})
	timedOut(t, stream)
	_, err = echo(packets, 5*time.Second)
	require.NoError(t, err)
}

func TestALossyLinkLosesItsShareAndTCPGetsThrough(t *testing.T) {
	n, a, b, tcp, _ := pairOf(t)
	if n == nil {
		return
	}
	n.Loss(a, b, 0.3)
	from, err := a.ListenPacket("udp", a.Addr()+":0")
	require.NoError(t, err)
	defer from.Close()
	for range 1000 {
		_, err := from.WriteTo([]byte("x"), &net.UDPAddr{IP: net.ParseIP(b.Addr()), Port: 9})
		require.NoError(t, err)
	}
	require.Eventually(t, func() bool { return n.Lost(a, b) > 200 }, 5*time.Second, time.Millisecond)
	require.Less(t, n.Lost(a, b), 400)
	_, err = echo(dial(t, a, "tcp", tcp), 10*time.Second)
	require.NoError(t, err)
}

func TestARateHoldsBackWhatIsMore(t *testing.T) {
	n, a, b, tcp, _ := pairOf(t)
	if n == nil {
		return
	}
	c := dial(t, a, "tcp", tcp)
	n.Rate(a, b, 1_000_000)
	at := time.Now()
	require.NoError(t, c.SetDeadline(at.Add(20*time.Second)))
	go func() { _, _ = c.Write(make([]byte, 300_000)) }() // the read below misses what it does not send
	_, err := io.ReadFull(c, make([]byte, 300_000))
	require.NoError(t, err)
	require.Greater(t, time.Since(at), 250*time.Millisecond)
}

func TestCommandsAndServersLiveOnTheirHost(t *testing.T) {
	n, a, b, _, _ := pairOf(t)
	if n == nil {
		return
	}
	cmd := exec.Command("ip", "-o", "-4", "addr", "show", "wire")
	require.NoError(t, b.Command(cmd))
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	require.True(t, strings.Contains(string(out), b.Addr()+"/16"), string(out))

	ln, err := b.Listen("tcp", b.Addr()+":0")
	require.NoError(t, err)
	srv := &http.Server{ReadHeaderTimeout: time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, r.RemoteAddr) // the client notices
	})}
	go srv.Serve(ln)
	defer srv.Close()
	client := a.Client(5 * time.Second)
	defer client.CloseIdleConnections()
	resp, err := client.Get("http://" + ln.Addr().String())
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.True(t, strings.HasPrefix(string(body), a.Addr()+":"), string(body))
	if _, err := net.DialTimeout("tcp", ln.Addr().String(), 200*time.Millisecond); err == nil {
		t.Error("the test's own network reaches the host")
	}
}

func TestFiveHostsReachEachOtherAndAnIsolatedOneNobody(t *testing.T) {
	n := network.New(t, 1)
	if n == nil {
		return
	}
	var hosts []*network.Host
	var socks []net.PacketConn
	for _, name := range []string{"eu-1", "eu-2", "us-1", "us-2", "ap-1"} {
		h := n.Host(name)
		s, err := h.ListenPacket("udp", h.Addr()+":7946")
		require.NoError(t, err)
		defer s.Close()
		hosts, socks = append(hosts, h), append(socks, s)
	}
	reached := func() (pairs int) {
		for i := range socks {
			for j := range socks {
				if i == j {
					continue
				}
				_, err := socks[i].WriteTo([]byte{byte(i)}, socks[j].LocalAddr())
				require.NoError(t, err)
				require.NoError(t, socks[j].SetReadDeadline(time.Now().Add(100*time.Millisecond)))
				buf := make([]byte, 8)
				if _, _, err := socks[j].ReadFrom(buf); err == nil && buf[0] == byte(i) {
					pairs++
				}
			}
		}
		return pairs
	}
	require.Equal(t, 20, reached())
	n.Isolate(hosts[2])
	require.Equal(t, 12, reached())
	n.Heal()
	require.Equal(t, 20, reached())
}
