package run

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"time"

	"github.com/valyala/fasthttp"

	"tollgate/proxy/dialect"
	"tollgate/proxy/refusal"
)

// starting answers on the API's listener before the node can serve: that it
// lives, that it is not ready, and why. A node may wait long for a leader, and
// whoever asks must not take it for hung.
type starting struct {
	listener net.Listener
	doing    atomic.Pointer[string]
	stop     chan struct{} // closed when the listener is wanted back
	done     chan struct{} // closed when nobody accepts on it any more
}

// startQuietly is how long nobody is answered. Most starts take less: a balancer
// that has not noticed yet that the node was away then finds its calls served,
// late instead of refused, since the listener queues them meanwhile.
const startQuietly = 5 * time.Second

func answerWhileStarting(ln net.Listener, quietly time.Duration) *starting {
	s := &starting{listener: ln, stop: make(chan struct{}), done: make(chan struct{})}
	s.say("starting")
	server := &fasthttp.Server{
		Handler: s.serve, DisableKeepalive: true, NoDefaultServerHeader: true, NoDefaultDate: true,
		ReadTimeout: 5 * time.Second, Logger: silent{},
	}
	go func() {
		defer close(s.done)
		quiet := time.NewTimer(quietly)
		defer quiet.Stop()
		select {
		case <-quiet.C:
		case <-s.stop:
			return
		}
		_ = server.Serve(borrowed{ln}) // it ends when the listener is given back
	}()
	return s
}

// say tells what the node is doing.
func (s *starting) say(what string) { s.doing.Store(&what) }

// end gives the listener back. Calls that are being answered are answered.
func (s *starting) end() {
	close(s.stop)
	ln, ok := s.listener.(*net.TCPListener)
	if !ok {
		return
	}
	if err := ln.SetDeadline(time.Now()); err == nil { // else it is closed, and Serve has ended
		<-s.done
		_ = ln.SetDeadline(time.Time{}) // fails only on a closed one
	}
}

func (s *starting) serve(ctx *fasthttp.RequestCtx) {
	path := string(ctx.Path())
	switch path {
	case "/health/liveliness", "/health/liveness":
		ctx.SetContentType("application/json")
		ctx.SetBodyString(`"I'm alive!"`)
		return
	}
	why := *s.doing.Load()
	r := refusal.Unavailable("starting", "This node is starting ("+why+"). Try again, or another node.", time.Second)
	ctx.SetStatusCode(r.Status)
	ctx.SetContentType("application/json")
	for _, h := range r.Header {
		ctx.Response.Header.Set(h[0], h[1])
	}
	ctx.SetBody(dialect.OfPath(path).AppendError(nil, r, "", false))
}

// borrowed is a listener that its server does not close, and whose deadline
// ends the server.
type borrowed struct{ net.Listener }

func (b borrowed) Accept() (net.Conn, error) {
	c, err := b.Listener.Accept()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, io.EOF
	}
	return c, err
}

func (borrowed) Close() error { return nil }

// silent drops fasthttp's own log, which reports what clients send.
type silent struct{}

func (silent) Printf(string, ...any) {}
