package server_test

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"tollgate/proxy/server"
)

// The server's worker pool looks every ten seconds whether it has been stopped.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"))
}

// pair is a watched connection and its client.
func pair(t testing.TB) (server.Conn, *net.TCPConn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer ln.Close()
	client, err := net.Dial("tcp", ln.Addr().String())
	require.NoError(t, err)
	c, err := server.Watched(ln).Accept()
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close(); _ = client.Close() })
	return c.(server.Conn), client.(*net.TCPConn)
}

func TestWatchTellsThatTheClientHasGone(t *testing.T) {
	for name, leave := range map[string]func(*net.TCPConn){
		"close": func(c *net.TCPConn) { _ = c.Close() },
		"reset": func(c *net.TCPConn) { _ = c.SetLinger(0); _ = c.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			c, client := pair(t)
			gone := make(chan struct{})
			c.Watch(c.Arm(), func() { close(gone) })
			leave(client)
			<-gone
			c.Unwatch()
		})
	}
}

func TestWatchOfAClientThatStaysTellsNothing(t *testing.T) {
	c, client := pair(t)
	c.Watch(c.Arm(), func() { t.Error("gone") })
	c.Unwatch()
	_, err := client.Write([]byte("next"))
	require.NoError(t, err)
	got := make([]byte, 4)
	_, err = io.ReadFull(c, got)
	require.NoError(t, err, "the deadline that ended the watch is gone")
	require.Equal(t, "next", string(got))
}

func TestBytesOfThePipelinedRequestAreKeptInOrder(t *testing.T) {
	c, client := pair(t)
	c.Watch(c.Arm(), func() { t.Error("gone") })
	_, err := client.Write([]byte("pipelined"))
	require.NoError(t, err)
	c.Unwatch()
	// Whether the watch has taken the first byte or not, nothing is lost.
	c.Watch(c.Arm(), func() { t.Error("gone") })
	c.Unwatch()
	got := make([]byte, 9)
	_, err = io.ReadFull(c, got)
	require.NoError(t, err)
	require.Equal(t, "pipelined", string(got))
}

func TestEmptyReadTakesNoKeptByte(t *testing.T) {
	c, client := pair(t)
	_, err := client.Write([]byte("x"))
	require.NoError(t, err)
	c.Watch(c.Arm(), func() {})
	c.Unwatch()
	_, _ = c.Read(nil)
	got := make([]byte, 1)
	_, err = io.ReadFull(c, got)
	require.NoError(t, err)
	require.Equal(t, "x", string(got))
}

func TestLateWatchDoesNotOutliveItsRequest(t *testing.T) {
	c, client := pair(t)
	epoch := c.Arm()
	c.Unwatch() // the request ended first
	c.Watch(epoch, func() { t.Error("an old request was told") })
	require.NoError(t, client.Close())
	n, err := c.Read(make([]byte, 1))
	require.Zero(t, n)
	require.ErrorIs(t, err, io.EOF)
}

func TestUnwatchReturnsOnlyWhenNobodyIsToldAnyMore(t *testing.T) {
	for range 300 {
		c, client := pair(t)
		var over atomic.Bool
		var wg sync.WaitGroup
		epoch := c.Arm()
		wg.Go(func() {
			c.Watch(epoch, func() {
				if over.Load() {
					t.Error("told after Unwatch")
				}
			})
		})
		wg.Go(func() { _ = client.Close() })
		c.Unwatch()
		over.Store(true)
		wg.Wait()
		_ = c.SetReadDeadline(time.Now().Add(time.Second))
		_, err := c.Read(make([]byte, 1))
		require.Error(t, err)
		_ = c.Close()
	}
}

func TestWatchesOfManyRequestsInTurnLoseNoByte(t *testing.T) {
	c, client := pair(t)
	const rounds = 500
	var sender sync.WaitGroup
	defer sender.Wait()
	sender.Go(func() {
		for i := range rounds {
			if _, err := client.Write([]byte{byte(i)}); err != nil {
				t.Error(err)
				return
			}
		}
	})
	for i := range rounds {
		epoch := c.Arm()
		var late sync.WaitGroup
		late.Go(func() { c.Watch(epoch, func() { t.Error("gone") }) })
		c.Unwatch()
		late.Wait()
		var b [1]byte
		_, err := io.ReadFull(c, b[:])
		require.NoError(t, err)
		require.Equal(t, byte(i), b[0])
	}
}

func TestRemoteIsTheAddressWithoutItsPort(t *testing.T) {
	c, _ := pair(t)
	require.Equal(t, "127.0.0.1", c.Remote())
}
