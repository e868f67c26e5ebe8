package upstream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"tollgate/proxy/provider"
)

// Exchange is one request and its answer. One goroutine reads it and closes it,
// and reads no header after that; any goroutine may Cancel it.
type Exchange struct {
	opts            Options
	host            *host
	header          *fasthttp.ResponseHeader // the connection's, until Close
	body            body
	nothingReceived bool
	keepAlive       bool

	canceled atomic.Bool
	connMu   sync.Mutex // guards conn against Cancel
	conn     *conn
}

// Cancel ends the exchange at once by closing its connection. It may be called
// from any goroutine, any number of times, also after Close.
func (x *Exchange) Cancel() {
	x.canceled.Store(true)
	x.connMu.Lock()
	if x.conn != nil {
		_ = x.conn.Close()
	}
	x.connMu.Unlock()
}

// Canceled reports whether Cancel was called.
func (x *Exchange) Canceled() bool { return x.canceled.Load() }

func (x *Exchange) attach(h *host) (reused bool, err error) {
	x.host, x.nothingReceived = h, true
	c := h.take()
	reused = c != nil
	if c == nil {
		ctx, stop := context.Background(), func() {}
		if !x.opts.Deadline.IsZero() {
			var cancel context.CancelFunc
			ctx, cancel = context.WithDeadline(ctx, x.opts.Deadline)
			stop = cancel
		}
		c, err = h.dial(ctx)
		stop()
		if err != nil {
			return false, err
		}
	}
	x.connMu.Lock()
	defer x.connMu.Unlock()
	if x.canceled.Load() {
		_ = c.Close()
		return reused, ErrCanceled
	}
	x.conn = c
	return reused, nil
}

func (x *Exchange) dropConn() {
	x.connMu.Lock()
	c := x.conn
	x.conn = nil
	x.connMu.Unlock()
	if c != nil {
		_ = c.Close()
	}
}

func (x *Exchange) roundTrip(h *host, path string, req *provider.Request) error {
	if err := x.conn.expire(x.limit()); err != nil {
		return fmt.Errorf("send to %s: %w", h.target.host, err)
	}
	if err := x.conn.send(h.target.host, path, req); err != nil {
		return x.fault("send to", err)
	}
	if _, err := x.conn.br.Peek(1); err != nil {
		return x.fault("wait for", err)
	}
	x.nothingReceived = false
	x.header = &x.conn.header
	if err := x.readHeader(); err != nil {
		return x.fault("read the header of", err)
	}
	x.keepAlive = !x.header.ConnectionClose()
	if err := x.body.begin(x.conn.br, x.header, req.Method); err != nil {
		return x.fault("read the header of", err)
	}
	if x.opts.FirstByte > 0 && x.opts.Idle == 0 {
		if err := x.conn.expire(x.opts.Deadline); err != nil {
			return fmt.Errorf("read from %s: %w", h.target.host, err)
		}
	}
	return nil
}

// limit is when the header must be complete; zero: never.
func (x *Exchange) limit() time.Time {
	limit := x.opts.Deadline
	if x.opts.FirstByte > 0 {
		return earlier(time.Now().Add(x.opts.FirstByte), limit)
	}
	return limit
}

// readHeader reads the final answer's header; 1xx answers are skipped. A header
// that does not fit the read buffer gets a larger one, up to the limit.
func (x *Exchange) readHeader() error {
	for {
		x.header.SetNoDefaultContentType(true)
		err := x.header.Read(x.conn.br)
		var small *fasthttp.ErrSmallBuffer
		if errors.As(err, &small) && x.conn.br.Size() < x.host.client.cfg.MaxHeader {
			x.conn.widen()
			continue
		}
		if err != nil || x.header.StatusCode() >= 200 {
			return err
		}
	}
}

// fault names what went wrong on the wire, telling silence from a broken line.
func (x *Exchange) fault(doing string, err error) error {
	if x.canceled.Load() {
		return ErrCanceled
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("%s %s: %w", doing, x.host.target.host, ErrTimeout)
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("%s %s: %w", doing, x.host.target.host, err)
}

// Status is the answer's status code.
func (x *Exchange) Status() int { return x.header.StatusCode() }

// Header is one response header; "" when absent.
func (x *Exchange) Header(name string) string { return string(x.header.Peek(name)) }

// VisitHeaders calls f for each response header; the slices live until f returns.
func (x *Exchange) VisitHeaders(f func(name, value []byte)) {
	for k, v := range x.header.All() {
		f(k, v)
	}
}

// Read reads the body, transfer coding removed.
func (x *Exchange) Read(p []byte) (int, error) {
	if x.body.mayWait() {
		if err := x.patience(); err != nil {
			return 0, err
		}
	}
	n, err := x.body.read(p)
	if err != nil && err != io.EOF {
		err = x.fault("read from", err)
	}
	return n, err
}

// Await returns when body bytes are here or Read has an end to tell. Who waits
// with it needs no buffer meanwhile.
func (x *Exchange) Await() error {
	if x.body.mayWait() {
		if err := x.patience(); err != nil {
			return err
		}
	}
	if err := x.body.await(); err != nil {
		return x.fault("read from", err)
	}
	return nil
}

// patience gives the provider anew the time that it may be silent.
func (x *Exchange) patience() error {
	if x.opts.Idle <= 0 {
		return nil
	}
	if err := x.conn.expire(earlier(time.Now().Add(x.opts.Idle), x.opts.Deadline)); err != nil {
		return x.fault("read from", err)
	}
	return nil
}

// Buffered reports whether body bytes can be read without waiting.
func (x *Exchange) Buffered() bool { return !x.body.done && x.conn != nil && x.conn.br.Buffered() > 0 }

// ReadAll appends the whole body to dst, refusing more than limit bytes.
func (x *Exchange) ReadAll(dst []byte, limit int) ([]byte, error) {
	if n := x.body.remaining(); n > 0 && n <= limit && cap(dst)-len(dst) < n {
		grown := make([]byte, len(dst), len(dst)+n)
		copy(grown, dst)
		dst = grown
	}
	start := len(dst)
	for {
		if len(dst) == cap(dst) {
			dst = append(dst, 0)[:len(dst)]
		}
		n, err := x.Read(dst[len(dst):cap(dst)])
		dst = dst[:len(dst)+n]
		if len(dst)-start > limit {
			return dst, ErrTooLarge
		}
		if err == io.EOF {
			return dst, nil
		}
		if err != nil {
			return dst, err
		}
	}
}

// Close ends the exchange. The connection is kept when the whole answer was
// read and neither side wants it closed. Only the reading goroutine may call it.
func (x *Exchange) Close() {
	x.connMu.Lock()
	c := x.conn
	x.conn = nil
	x.connMu.Unlock()
	if c == nil {
		return
	}
	if x.body.done && x.keepAlive && !x.canceled.Load() && c.br.Buffered() == 0 {
		x.host.put(c)
		return
	}
	_ = c.Close()
}

func earlier(a, b time.Time) time.Time {
	if !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

// appendHeader writes the request up to its body. Values with line breaks are
// dropped: a header must not smuggle another.
func appendHeader(dst []byte, host, path string, req *provider.Request) []byte {
	dst = append(dst, req.Method...)
	dst = append(dst, ' ')
	dst = append(dst, path...)
	dst = append(dst, " HTTP/1.1\r\nHost: "...)
	dst = append(dst, host...)
	dst = append(dst, "\r\nAccept-Encoding: identity\r\n"...)
	for _, h := range req.Header {
		if strings.ContainsAny(h[0], "\r\n: ") || strings.ContainsAny(h[1], "\r\n") {
			continue
		}
		dst = append(dst, h[0]...)
		dst = append(dst, ": "...)
		dst = append(dst, h[1]...)
		dst = append(dst, "\r\n"...)
	}
	if len(req.Body) > 0 || req.Method == fasthttp.MethodPost {
		dst = append(dst, "Content-Length: "...)
		dst = fasthttp.AppendUint(dst, len(req.Body))
		dst = append(dst, "\r\n"...)
	}
	return append(dst, "\r\n"...)
}

// Ended reports whether the whole body has been read.
func (x *Exchange) Ended() bool { return x.body.done }

// Finish takes the little that may follow an answer's end marker, so that the
// connection can be used again, and closes the exchange. It waits at most d.
func (x *Exchange) Finish(d time.Duration) {
	defer x.Close()
	x.opts.Idle = 0
	if x.conn == nil || x.conn.expire(time.Now().Add(d)) != nil {
		return
	}
	var rest [256]byte
	for range 4 {
		if _, err := x.Read(rest[:]); err != nil {
			return
		}
	}
}
