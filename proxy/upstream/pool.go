package upstream

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/valyala/fasthttp"

	"tollgate/proxy/provider"
)

// host is one provider address and its resting connections.
type host struct {
	client *Client
	target target
	mu     sync.Mutex // guards what follows
	closed bool       // nothing rests here any more
	idle   []*conn    // newest last: the warmest is used first
}

// conn is one connection with its reader; it belongs to one exchange at a time.
type conn struct {
	net.Conn
	br       *bufio.Reader
	header   fasthttp.ResponseHeader // of the answer being read
	restedAt time.Time
	deadline time.Time // as set on the socket
}

// firstRead is a connection's read buffer. Most headers fit; every open stream
// holds one, so it is small.
const firstRead = 4 << 10

// keepOut is the largest request buffer that is kept for the next request.
const keepOut = 64 << 10

// outBuffers are for requests on their way. Connections hold none: most of them
// wait or rest.
var outBuffers = sync.Pool{New: func() any { return new([]byte) }}

func (h *host) take() *conn {
	now := time.Now()
	h.mu.Lock()
	defer h.mu.Unlock()
	for n := len(h.idle); n > 0; n = len(h.idle) {
		c := h.idle[n-1]
		h.idle[n-1] = nil
		h.idle = h.idle[:n-1]
		if now.Sub(c.restedAt) < h.client.cfg.IdleTimeout {
			return c
		}
		_ = c.Close()
	}
	return nil
}

func (h *host) put(c *conn) {
	c.restedAt = time.Now()
	c.header.Reset()
	h.mu.Lock()
	if len(h.idle) < h.client.cfg.MaxIdle && !h.closed {
		h.idle = append(h.idle, c)
		c = nil
	}
	h.mu.Unlock()
	if c != nil {
		_ = c.Close()
	}
}

func (h *host) drain() {
	h.mu.Lock()
	idle := h.idle
	h.idle = nil
	h.mu.Unlock()
	for _, c := range idle {
		_ = c.Close()
	}
}

func (h *host) close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.drain()
}

func (h *host) dial(ctx context.Context) (*conn, error) {
	cfg := &h.client.cfg
	ctx, cancel := context.WithTimeout(ctx, cfg.DialTimeout)
	defer cancel()
	nc, err := cfg.Dial(ctx, "tcp", h.target.addr)
	if err != nil {
		return nil, fmt.Errorf("connect to %s: %w", h.target.host, err)
	}
	if h.target.server != "" {
		tc := cfg.TLS.Clone()
		if tc == nil {
			tc = &tls.Config{MinVersion: tls.VersionTLS12}
		}
		tc.ServerName = h.target.server
		t := tls.Client(nc, tc)
		if err := t.HandshakeContext(ctx); err != nil {
			_ = nc.Close()
			return nil, fmt.Errorf("TLS with %s: %w", h.target.host, err)
		}
		nc = t
	}
	return &conn{Conn: nc, br: bufio.NewReaderSize(nc, firstRead)}, nil
}

// expire sets the socket's deadline. Arming one costs about a microsecond, and
// most are far away: one that is already set at most a hundredth of the way
// earlier is left as it is.
func (c *conn) expire(at time.Time) error {
	if at.Equal(c.deadline) {
		return nil
	}
	if !at.IsZero() && !c.deadline.IsZero() {
		early := at.Sub(c.deadline)
		if left := time.Until(at); early >= 0 && early < left/100 {
			return nil
		}
	}
	c.deadline = at
	return c.SetDeadline(at)
}

// copyBelow is the size up to which a body is sent in one write with its
// header; a larger one is not copied for it.
const copyBelow = 16 << 10

// send writes a request.
func (c *conn) send(host, path string, req *provider.Request) error {
	out := outBuffers.Get().(*[]byte)
	defer func() {
		if cap(*out) <= keepOut {
			outBuffers.Put(out)
		}
	}()
	*out = appendHeader((*out)[:0], host, path, req)
	if len(req.Body) <= copyBelow {
		*out = append(*out, req.Body...)
		_, err := c.Write(*out)
		return err
	}
	parts := net.Buffers{*out, req.Body}
	_, err := parts.WriteTo(c.Conn)
	return err
}

// widen replaces the read buffer by one four times its size, keeping what it
// holds.
func (c *conn) widen() {
	held, _ := c.br.Peek(c.br.Buffered())
	c.br = bufio.NewReaderSize(io.MultiReader(bytes.NewReader(bytes.Clone(held)), c.Conn), 4*c.br.Size())
}
