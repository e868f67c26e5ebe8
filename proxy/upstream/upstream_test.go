package upstream_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"tollgate/proxy/provider"
	"tollgate/proxy/upstream"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// raw is a provider that answers with bytes: what a connection does with its
// n-th request (from 0) is up to serve; false ends the connection.
type raw struct {
	ln    net.Listener
	url   string
	conns atomic.Int64
	wg    sync.WaitGroup
}

func serve(t testing.TB, each func(conn, n int, c net.Conn, req *http.Request) bool) *raw {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	r := &raw{ln: ln, url: "http://" + ln.Addr().String() + "/v1/x?y=1"}
	r.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			number := int(r.conns.Add(1)) - 1
			r.wg.Go(func() {
				defer c.Close()
				br := bufio.NewReader(c)
				for n := 0; ; n++ {
					req, err := http.ReadRequest(br)
					if err != nil {
						return
					}
					if _, err := io.Copy(io.Discard, req.Body); err != nil {
						return
					}
					if !each(number, n, c, req) {
						return
					}
				}
			})
		}
	})
	t.Cleanup(func() { require.NoError(t, ln.Close()); r.wg.Wait() })
	return r
}

func client(t testing.TB, cfg upstream.Config) *upstream.Client {
	t.Helper()
	c := upstream.New(cfg)
	t.Cleanup(c.Close)
	return c
}

func (r *raw) post(body string) *provider.Request {
	return &provider.Request{Method: "POST", URL: r.url, Header: [][2]string{{"Content-Type", "application/json"}}, Body: []byte(body)}
}

// dribble writes one byte at a time, each in a packet of its own.
func dribble(c net.Conn, text string) {
	for i := range len(text) {
		if _, err := c.Write([]byte{text[i]}); err != nil {
			return
		}
	}
}

func compressed(coding, text string) string {
	var b bytes.Buffer
	var w io.WriteCloser = gzip.NewWriter(&b)
	if coding == "zstd" {
		w, _ = zstd.NewWriter(&b)
	}
	_, _ = io.WriteString(w, text)
	_ = w.Close()
	return b.String()
}

func TestAnswersAreReadWhateverTheirFraming(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 1000)
	zipped, zstded := compressed("gzip", long), compressed("zstd", long)
	for name, tc := range map[string]struct {
		answer string
		status int
		body   string
		reuse  bool
	}{
		"length":                               {"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello", true},
		"empty":                                {"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 200, "", true},
		"long":                                 {fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(long), long), 200, long, true},
		"chunked":                              {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n", 200, "hello", true},
		"chunked, extension":                   {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;a=b;c=\"d\"\r\nhello\r\n0;x\r\n\r\n", 200, "hello", true},
		"chunked, trailers":                    {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-A: b\r\nX-C: d\r\n\r\n", 200, "hello", true},
		"chunked, one chunk of zeros in front": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n005\r\nhello\r\n00\r\n\r\n", 200, "hello", true},
		"chunked, bare line feeds":             {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\n0\n\n", 200, "hello", true},
		"chunked and length":                   {"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", 200, "hello", true},
		"to the end":                           {"HTTP/1.1 200 OK\r\n\r\nhello", 200, "hello", false},
		"http/1.0":                             {"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello", false},
		"closing":                              {"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", 200, "hello", false},
		"informational first":                  {"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", 200, "hello", true},
		"no content":                           {"HTTP/1.1 204 No Content\r\n\r\n", 204, "", true},
		"not modified with a length":           {"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", 304, "", true},
		"big header":                           {"HTTP/1.1 200 OK\r\nX-Big: " + strings.Repeat("x", 20_000) + "\r\nX-Last: y\r\nContent-Length: 5\r\n\r\nhello", 200, "hello", true},
		"many headers":                         {"HTTP/1.1 200 OK\r\n" + strings.Repeat("X-Many: some value of a header\r\n", 1500) + "Content-Length: 5\r\n\r\nhello", 200, "hello", true},
		"no reason":                            {"HTTP/1.1 529\r\nContent-Length: 5\r\n\r\nhello", 529, "hello", true},
		"gzip":                                 {fmt.Sprintf("HTTP/1.1 500 X\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", len(zipped), zipped), 500, long, true},
		"gzip in capitals":                     {fmt.Sprintf("HTTP/1.1 500 X\r\nContent-Encoding: GZIP\r\nContent-Length: %d\r\n\r\n%s", len(zipped), zipped), 500, long, true},
		"zstd, chunked":                        {fmt.Sprintf("HTTP/1.1 200 X\r\nContent-Encoding: zstd\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", len(zstded), zstded), 200, long, true},
	} {
		for _, how := range []string{"at once", "byte by byte"} {
			if how == "byte by byte" && len(tc.answer) > 25_000 {
				continue
			}
			t.Run(name+" "+how, func(t *testing.T) {
				r := serve(t, func(_, _ int, c net.Conn, _ *http.Request) bool {
					if how == "at once" {
						_, _ = io.WriteString(c, tc.answer)
					} else {
						dribble(c, tc.answer)
					}
					return tc.reuse
				})
				up := client(t, upstream.Config{})
				for range 2 {
					x, err := up.Start(r.post(`{"a":1}`), upstream.Options{Deadline: time.Now().Add(10 * time.Second)}, nil)
					require.NoError(t, err)
					require.Equal(t, tc.status, x.Status())
					got, err := x.ReadAll(nil, 1<<20)
					require.NoError(t, err)
					require.Equal(t, tc.body, string(got))
					if strings.Contains(name, "big header") {
						require.Len(t, x.Header("x-big"), 20_000)
						require.Equal(t, "y", x.Header("x-last"))
					}
					x.Close()
				}
				want := int64(2)
				if tc.reuse {
					want = 1
				}
				require.Equal(t, want, r.conns.Load(), "connections")
			})
		}
	}
}

func TestBrokenFramingIsAFaultAndEndsTheConnection(t *testing.T) {
	const head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for name, answer := range map[string]string{
		"no http":                 "hello\r\n\r\n",
		"cut in the header":       "HTTP/1.1 200 OK\r\nContent-Le",
		"cut in the body":         "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello",
		"cut in a chunk":          head + "a\r\nhello",
		"cut between chunks":      head + "5\r\nhello\r\n",
		"cut in the trailer":      head + "5\r\nhello\r\n0\r\nX: ",
		"chunk size of no number": head + "hello\r\n",
		"empty chunk size":        head + "\r\nhello\r\n",
		"chunk size that wraps":   head + "ffffffffffffffff\r\nhello\r\n",
		"chunk longer than said":  head + "3\r\nhello\r\n0\r\n\r\n",
		"negative chunk":          head + "-1\r\nhello\r\n",
		"endless chunk header":    head + "5;" + strings.Repeat("x", 70_000) + "\r\nhello\r\n0\r\n\r\n",
		"header too big":          "HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 300_000) + "\r\nContent-Length: 5\r\n\r\nhello",
		"coding nobody asked for": "HTTP/1.1 200 OK\r\nContent-Encoding: br\r\nContent-Length: 5\r\n\r\nhello",
		"gzip that is none":       "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 5\r\n\r\nhello",
		"cut gzip":                fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 15\r\n\r\n%s", compressed("gzip", "hello hello hello")[:15]),
	} {
		t.Run(name, func(t *testing.T) {
			r := serve(t, func(_, _ int, c net.Conn, _ *http.Request) bool {
				_, _ = io.WriteString(c, answer)
				return false
			})
			up := client(t, upstream.Config{})
			for range 2 {
				x, err := up.Start(r.post("{}"), upstream.Options{Deadline: time.Now().Add(5 * time.Second)}, nil)
				if err == nil {
					_, err = x.ReadAll(nil, 1<<20)
					x.Close()
				}
				require.Error(t, err)
				require.NotErrorIs(t, err, upstream.ErrTimeout)
			}
			require.Equal(t, int64(2), r.conns.Load(), "a broken connection is not used again")
		})
	}
}

func TestConnectionThatDiedAtRestIsReplacedUnseen(t *testing.T) {
	var conns [3]net.Conn
	r := serve(t, func(n, _ int, c net.Conn, _ *http.Request) bool {
		conns[n] = c
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		return true
	})
	up := client(t, upstream.Config{})
	ask := func() {
		x, err := up.Start(r.post("{}"), upstream.Options{}, nil)
		require.NoError(t, err)
		got, err := x.ReadAll(nil, 10)
		require.NoError(t, err)
		require.Equal(t, "ok", string(got))
		x.Close()
	}
	ask()
	require.NoError(t, conns[0].Close())
	ask()
	require.Equal(t, int64(2), r.conns.Load())
}

func TestFreshConnectionThatDiesIsNotAskedTwice(t *testing.T) {
	var asked atomic.Int64
	r := serve(t, func(_, _ int, _ net.Conn, _ *http.Request) bool { asked.Add(1); return false })
	x, err := client(t, upstream.Config{}).Start(r.post("{}"), upstream.Options{}, nil)
	require.Error(t, err)
	require.Nil(t, x)
	require.Equal(t, int64(1), asked.Load())
}

func TestAnswerThatNobodyAskedForEndsTheConnection(t *testing.T) {
	const one = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	r := serve(t, func(_, _ int, c net.Conn, _ *http.Request) bool {
		_, _ = io.WriteString(c, one+"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
		return true
	})
	up := client(t, upstream.Config{})
	for range 2 {
		x, err := up.Start(r.post("{}"), upstream.Options{}, nil)
		require.NoError(t, err)
		got, err := x.ReadAll(nil, 100)
		require.NoError(t, err)
		require.Equal(t, "ok", string(got))
		x.Close()
	}
	require.Equal(t, int64(2), r.conns.Load())
}

func TestCancelEndsAnExchangeWhereverItIs(t *testing.T) {
	for name, said := range map[string]string{
		"before the header": "",
		"in the header":     "HTTP/1.1 200 OK\r\nContent-Le",
		"in the body":       "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhel",
		"in a chunk":        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhel",
	} {
		t.Run(name, func(t *testing.T) {
			reached := make(chan struct{})
			r := serve(t, func(_, _ int, c net.Conn, _ *http.Request) bool {
				_, _ = io.WriteString(c, said)
				close(reached)
				_, _ = c.Read(make([]byte, 1)) // until the other side is gone
				return false
			})
			var canceler sync.WaitGroup
			defer canceler.Wait()
			x, err := client(t, upstream.Config{}).Start(r.post("{}"), upstream.Options{}, func(x *upstream.Exchange) {
				canceler.Go(func() { <-reached; x.Cancel(); x.Cancel() })
			})
			if err == nil {
				_, err = x.ReadAll(nil, 100)
				require.True(t, x.Canceled())
				x.Close()
				x.Cancel()
			}
			require.ErrorIs(t, err, upstream.ErrCanceled)
		})
	}
}

func TestCanceledBeforeItBeganIsNeverSent(t *testing.T) {
	r := serve(t, func(_, _ int, _ net.Conn, _ *http.Request) bool { t.Error("a request was sent"); return false })
	_, err := client(t, upstream.Config{}).Start(r.post("{}"), upstream.Options{}, func(x *upstream.Exchange) { x.Cancel() })
	require.ErrorIs(t, err, upstream.ErrCanceled)
}

func TestSilenceIsATimeoutWhereverItIs(t *testing.T) {
	const soon = 60 * time.Millisecond
	for name, tc := range map[string]struct {
		said string
		o    func() upstream.Options
	}{
		"before the header":   {"", func() upstream.Options { return upstream.Options{FirstByte: soon} }},
		"in the header":       {"HTTP/1.1 200 OK\r\nContent-Le", func() upstream.Options { return upstream.Options{FirstByte: soon, Idle: time.Minute} }},
		"in the body":         {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhel", func() upstream.Options { return upstream.Options{FirstByte: time.Minute, Idle: soon} }},
		"deadline":            {"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhel", func() upstream.Options { return upstream.Options{Deadline: time.Now().Add(soon)} }},
		"deadline, no header": {"", func() upstream.Options { return upstream.Options{Deadline: time.Now().Add(soon)} }},
		"deadline before idle": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", func() upstream.Options {
			return upstream.Options{Idle: time.Minute, Deadline: time.Now().Add(soon)}
		}},
		"in gzip": {"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 100\r\n\r\n\x1f\x8b", func() upstream.Options { return upstream.Options{FirstByte: soon, Idle: soon} }},
	} {
		t.Run(name, func(t *testing.T) {
			r := serve(t, func(_, _ int, c net.Conn, _ *http.Request) bool {
				_, _ = io.WriteString(c, tc.said)
				_, _ = c.Read(make([]byte, 1))
				return false
			})
			began := time.Now()
			x, err := client(t, upstream.Config{}).Start(r.post("{}"), tc.o(), nil)
			if err == nil {
				_, err = x.ReadAll(nil, 100)
				x.Close()
			}
			require.ErrorIs(t, err, upstream.ErrTimeout)
			require.Less(t, time.Since(began), 5*time.Second)
		})
	}
}

func TestSlowButSteadyBodyPassesTheIdleLimit(t *testing.T) {
	for name, tc := range map[string]struct{ head, byte, end string }{
		"by length": {"HTTP/1.1 200 OK\r\nContent-Length: 12\r\n\r\n", "x", ""},
		"in chunks": {"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", "1\r\nx\r\n", "0\r\n\r\n"},
	} {
		for _, waiting := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, waited for %v", name, waiting), func(t *testing.T) {
				t.Parallel()
				r := serve(t, func(_, _ int, c net.Conn, _ *http.Request) bool {
					_, _ = io.WriteString(c, tc.head)
					tick := time.NewTicker(30 * time.Millisecond)
					defer tick.Stop()
					for range 12 {
						<-tick.C
						_, _ = io.WriteString(c, tc.byte)
					}
					_, _ = io.WriteString(c, tc.end)
					return true
				})
				x, err := client(t, upstream.Config{}).Start(r.post("{}"), upstream.Options{FirstByte: 200 * time.Millisecond, Idle: 200 * time.Millisecond}, nil)
				require.NoError(t, err)
				var src io.Reader = x
				if waiting {
					src = awaited{x}
				}
				got, err := io.ReadAll(src)
				require.NoError(t, err, "longer in all than between two bytes")
				require.Len(t, got, 12)
				x.Close()
			})
		}
	}
}

// awaited waits before each read.
type awaited struct{ x *upstream.Exchange }

func (a awaited) Read(p []byte) (int, error) {
	if err := a.x.Await(); err != nil {
		return 0, err
	}
	return a.x.Read(p)
}

func TestDeadlineOfOneExchangeIsNotTheNextOnes(t *testing.T) {
	r := serve(t, func(_, n int, c net.Conn, _ *http.Request) bool {
		if n > 0 {
			timer := time.NewTimer(150 * time.Millisecond)
			<-timer.C
		}
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		return true
	})
	up := client(t, upstream.Config{})
	for _, o := range []upstream.Options{{FirstByte: 80 * time.Millisecond, Idle: 80 * time.Millisecond}, {}, {FirstByte: time.Minute}} {
		x, err := up.Start(r.post("{}"), o, nil)
		require.NoError(t, err)
		_, err = x.ReadAll(nil, 10)
		require.NoError(t, err)
		require.True(t, x.Ended())
		x.Finish(time.Millisecond)
	}
	require.Equal(t, int64(1), r.conns.Load())
}

func TestAnswersThatAreTooLargeAreRefused(t *testing.T) {
	for name, answer := range map[string]string{
		"by length": "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + strings.Repeat("x", 100),
		"chunked":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n64\r\n" + strings.Repeat("x", 100) + "\r\n0\r\n\r\n",
		"unfolding": fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\n\r\n%s", compressed("gzip", strings.Repeat("x", 1<<20))),
	} {
		t.Run(name, func(t *testing.T) {
			r := serve(t, func(_, _ int, c net.Conn, _ *http.Request) bool { _, _ = io.WriteString(c, answer); return false })
			x, err := client(t, upstream.Config{}).Start(r.post("{}"), upstream.Options{}, nil)
			require.NoError(t, err)
			defer x.Close()
			got, err := x.ReadAll(nil, 99)
			require.ErrorIs(t, err, upstream.ErrTooLarge)
			require.Less(t, len(got), 1<<16, "and not read to the end first")
		})
	}
}

func TestRequestsArriveWhole(t *testing.T) {
	for _, size := range []int{0, 1, 16 << 10, 16<<10 + 1, 3 << 20} {
		body := strings.Repeat("b", size)
		got := make(chan *http.Request, 1)
		r := serve(t, func(_, _ int, c net.Conn, req *http.Request) bool {
			got <- req
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
			return true
		})
		req := r.post(body)
		req.Header = append(req.Header, [2]string{"X-Bad", "a\r\nX-Smuggled: 1"}, [2]string{"X Bad", "1"}, [2]string{"X-Bad:", "1"}, [2]string{"X-Good", "yes"})
		x, err := client(t, upstream.Config{}).Start(req, upstream.Options{}, nil)
		require.NoError(t, err)
		x.Close()
		sent := <-got
		require.Equal(t, int64(size), sent.ContentLength)
		require.Equal(t, "/v1/x?y=1", sent.RequestURI)
		require.Equal(t, "identity", sent.Header.Get("Accept-Encoding"))
		require.Equal(t, "yes", sent.Header.Get("X-Good"))
		require.Empty(t, sent.Header.Get("X-Smuggled")+sent.Header.Get("X-Bad"))
	}
}

func TestAddressesThatAreNoneAreRefused(t *testing.T) {
	up := client(t, upstream.Config{})
	for _, url := range []string{"", "example.com", "ftp://x/", "http://", "http:///path", "http://a b/", "http://127.0.0.1:1/x y", "http://127.0.0.1:1/x\r\nX: y", "http://127.0.0.1:1/\x00", "http://127.0.0.1:1/\x7f"} {
		_, err := up.Start(&provider.Request{Method: "POST", URL: url}, upstream.Options{}, nil)
		require.ErrorContains(t, err, "provider address", "%q", url)
	}
}

func TestManyExchangesShareFewConnections(t *testing.T) {
	r := serve(t, func(_, _ int, c net.Conn, _ *http.Request) bool {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
		return true
	})
	up := client(t, upstream.Config{MaxIdle: 4})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 100 {
				x, err := up.Start(r.post("{}"), upstream.Options{Deadline: time.Now().Add(time.Minute)}, nil)
				if err != nil {
					t.Error(err)
					return
				}
				if got, err := x.ReadAll(nil, 100); err != nil || string(got) != "hello" {
					t.Errorf("%q %v", got, err)
				}
				x.Close()
			}
		})
	}
	wg.Wait()
	require.Less(t, r.conns.Load(), int64(400))
}

func TestDialThatOutlastsTheDeadlineIsATimeout(t *testing.T) {
	up := client(t, upstream.Config{Dial: func(ctx context.Context, _, _ string) (net.Conn, error) { <-ctx.Done(); return nil, ctx.Err() }})
	_, err := up.Start(&provider.Request{Method: "POST", URL: "http://x.test/"}, upstream.Options{Deadline: time.Now().Add(20 * time.Millisecond)}, nil)
	require.ErrorIs(t, err, upstream.ErrTimeout)
}

func TestConnectionThatComesBackAfterCloseIsDropped(t *testing.T) {
	ended := make(chan struct{})
	r := serve(t, func(_, _ int, c net.Conn, _ *http.Request) bool {
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		_, _ = c.Read(make([]byte, 1))
		close(ended)
		return false
	})
	up := upstream.New(upstream.Config{})
	x, err := up.Start(r.post("{}"), upstream.Options{}, nil)
	require.NoError(t, err)
	up.Close()
	got, err := x.ReadAll(nil, 10)
	require.NoError(t, err)
	require.Equal(t, "ok", string(got))
	x.Close()
	<-ended
}
