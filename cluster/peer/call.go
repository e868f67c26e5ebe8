package peer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// newCallClient pools one connection to each node, shared by its calls. An open
// one is asked every few seconds whether it still lives: connections to a node
// that lost its power all look alive and are all dead.
func (p *Port) newCallClient() *http.Transport {
	var only http.Protocols
	only.SetUnencryptedHTTP2(true)
	return &http.Transport{
		Protocols:          &only,
		DisableCompression: true,
		DialContext: func(ctx context.Context, _, addr string) (net.Conn, error) {
			node, _, err := net.SplitHostPort(addr) // net/http adds a port
			if err != nil {
				return nil, &dialError{err}
			}
			c, err := p.dialNode(ctx, kindCall, node)
			if err != nil {
				return nil, err
			}
			return c, nil
		},
		HTTP2: &http.HTTP2Config{
			SendPingTimeout:               p.cfg.Ping,
			PingTimeout:                   p.cfg.Ping,
			WriteByteTimeout:              10 * time.Second,
			MaxReceiveBufferPerConnection: 16 << 20,
			MaxReceiveBufferPerStream:     4 << 20,
		},
	}
}

// Call asks a node; its own id is served without the network. The answer is the
// caller's.
func (p *Port) Call(ctx context.Context, node, method string, request []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, unreached(node, method, err)
	}
	if len(request) > maxMessage {
		return nil, unreached(node, method, fmt.Errorf("request of %d bytes is too large, the most is %d", len(request), maxMessage))
	}
	if node == p.NodeID() {
		return p.callSelf(ctx, node, method, request)
	}
	start := time.Now()
	answer, err := p.callOver(ctx, node, method, request)
	p.m.call(method).Observe(time.Since(start).Seconds())
	return answer, err
}

func (p *Port) callSelf(ctx context.Context, node, method string, request []byte) ([]byte, error) {
	handle := p.handlers.find(method)
	if handle == nil {
		return nil, unreached(node, method, errNoMethod)
	}
	answer, err := handle(ctx, node, request)
	if err != nil {
		return nil, fmt.Errorf("call %s: %w", method, err)
	}
	return answer, nil
}

var errNoMethod = errors.New("it does not know the method: it is of another release or still starting")

func unreached(node, method string, err error) error {
	return fmt.Errorf("call %s of node %s: %w: %w", method, node, ErrUnreached, err)
}

// callOver asks over the network. A pooled connection that proves dead before
// the request was on it is replaced by a fresh one, once.
func (p *Port) callOver(ctx context.Context, node, method string, request []byte) ([]byte, error) {
	for try := 1; ; try++ {
		out := &outgoing{data: request}
		var on progress
		resp, err := p.callClient.RoundTrip(p.newRequest(ctx, node, method, out, &on))
		if err == nil {
			answer, err := readAnswer(resp, node, method)
			out.detach()
			return answer, err
		}
		out.detach()
		var dial *dialError
		switch {
		case errors.As(err, &dial):
			return nil, unreached(node, method, dial.err)
		case on.maybeSent(ctx):
			return nil, fmt.Errorf("call %s of node %s: %w", method, node, err)
		case try == 2 || ctx.Err() != nil:
			return nil, unreached(node, method, err)
		}
	}
}

// progress is how far a request came.
type progress struct{ hasConn, wrote atomic.Bool }

// maybeSent says whether the node may have the request. When ctx ends net/http
// does not wait for its own writer, which may write the very next moment: then
// having had a connection is enough.
func (o *progress) maybeSent(ctx context.Context) bool {
	return o.wrote.Load() || ctx.Err() != nil && o.hasConn.Load()
}

func (p *Port) newRequest(ctx context.Context, node, method string, out *outgoing, on *progress) *http.Request {
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GotConn:      func(httptrace.GotConnInfo) { on.hasConn.Store(true) },
		WroteHeaders: func() { on.wrote.Store(true) },
	})
	header := http.Header{"User-Agent": nil}
	if d, ok := ctx.Deadline(); ok {
		ms := max(time.Until(d).Milliseconds(), 1)
		header[headerTimeout] = []string{strconv.FormatInt(ms, 10)}
	}
	r := &http.Request{
		Method: http.MethodPost,
		URL:    &url.URL{Scheme: "http", Host: node, Path: "/" + method},
		Header: header, ContentLength: int64(len(out.data)),
	}
	if len(out.data) > 0 {
		r.Body = &body{from: out}
		r.GetBody = func() (io.ReadCloser, error) { return &body{from: out}, nil }
	}
	return r.WithContext(ctx)
}

// readAnswer turns what came back into what it proves.
func readAnswer(resp *http.Response, node, method string) ([]byte, error) {
	defer func() { _ = resp.Body.Close() }()
	switch resp.StatusCode {
	case statusNoMethod:
		return nil, unreached(node, method, errNoMethod)
	case statusTooLarge:
		return nil, unreached(node, method, errors.New("it refuses a request of this size"))
	case statusBad:
		return nil, unreached(node, method, errors.New("the request did not arrive whole"))
	case statusAnswer, statusRefused, statusBroken:
	default:
		return nil, fmt.Errorf("call %s of node %s: status %d", method, node, resp.StatusCode)
	}
	n := resp.ContentLength
	if n < 0 || n > maxMessage {
		return nil, fmt.Errorf("call %s of node %s: answer of %d bytes", method, node, n)
	}
	answer := make([]byte, n)
	if _, err := io.ReadFull(resp.Body, answer); err != nil {
		return nil, fmt.Errorf("call %s of node %s: read answer: %w", method, node, err)
	}
	if resp.StatusCode == statusAnswer {
		return answer, nil
	}
	e := new(Error)
	if err := json.Unmarshal(answer, e); err != nil {
		return nil, fmt.Errorf("call %s of node %s: read error: %w", method, node, err)
	}
	if resp.StatusCode == statusRefused {
		return nil, fmt.Errorf("call %s of node %s: %w", method, node, e)
	}
	return nil, fmt.Errorf("call %s of node %s: %s", method, node, e.Message)
}

// outgoing are a call's bytes. net/http may still be sending when it has given
// up, and then they are the caller's again.
type outgoing struct {
	mu   sync.Mutex // guards all below
	data []byte
	over bool
}

func (o *outgoing) detach() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.data, o.over = nil, true
}

// body reads the bytes from the start; net/http takes another for each attempt.
type body struct {
	from *outgoing
	at   int
}

// Read gives the next bytes while the call is on.
func (b *body) Read(to []byte) (int, error) {
	b.from.mu.Lock()
	defer b.from.mu.Unlock()
	if b.from.over {
		return 0, net.ErrClosed
	}
	if b.at == len(b.from.data) {
		return 0, io.EOF
	}
	n := copy(to, b.from.data[b.at:])
	b.at += n
	return n, nil
}

// Close does nothing: detach does.
func (b *body) Close() error { return nil }
