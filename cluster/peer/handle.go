package peer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// maxMessage bounds a request and an answer.
const maxMessage = 64 << 20

// headerTimeout carries what is left of the caller's deadline, in milliseconds:
// a duration, because clocks differ.
const headerTimeout = "Tollgate-Timeout-Ms"

// The HTTP statuses of an answer. Only refused says that the handler ran to a
// refusal; unknown method and tooLarge prove that it did not run.
const (
	statusAnswer   = http.StatusOK
	statusRefused  = http.StatusUnprocessableEntity
	statusBroken   = http.StatusInternalServerError
	statusNoMethod = http.StatusNotFound
	statusTooLarge = http.StatusRequestEntityTooLarge
	statusBad      = http.StatusBadRequest // the request did not come whole
)

// handlers are the methods of a node.
type handlers struct {
	writing sync.Mutex // held by who replaces by
	by      atomic.Pointer[map[string]Handler]
	running sync.WaitGroup

	entering sync.Mutex // guards ended, and that nobody enters after it is set
	ended    bool
}

// enter begins a call, unless the port has ended: whoever waits for the calls
// must not miss one that comes at this moment.
func (h *handlers) enter() bool {
	h.entering.Lock()
	defer h.entering.Unlock()
	if h.ended {
		return false
	}
	h.running.Add(1)
	return true
}

// Handle registers a method. A later registration of the same name replaces it.
func (p *Port) Handle(method string, h Handler) {
	p.handlers.writing.Lock()
	defer p.handlers.writing.Unlock()
	next := map[string]Handler{method: h}
	if last := p.handlers.by.Load(); last != nil {
		next = maps.Clone(*last)
		next[method] = h
	}
	p.handlers.by.Store(&next)
}

func (h *handlers) find(method string) Handler {
	if by := h.by.Load(); by != nil {
		return (*by)[method]
	}
	return nil
}

// wait lets handlers end whose context is over, but not for ever.
func (h *handlers) wait(log *slog.Logger) {
	h.entering.Lock()
	h.ended = true
	h.entering.Unlock()
	done := make(chan struct{})
	go func() {
		h.running.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(5 * time.Second):
		log.Warn("calls of other nodes do not end with the cluster port")
	}
}

type callerKey struct{}

// serveCalls answers calls until the port closes.
func (p *Port) serveCalls(ctx context.Context) {
	var only http.Protocols
	only.SetUnencryptedHTTP2(true) // the connection below is encrypted already
	s := &http.Server{
		Handler:     http.HandlerFunc(p.answer),
		Protocols:   &only,
		BaseContext: func(net.Listener) context.Context { return ctx },
		ConnContext: func(ctx context.Context, c net.Conn) context.Context {
			if c, ok := c.(*conn); ok {
				return context.WithValue(ctx, callerKey{}, c.node)
			}
			return ctx
		},
		ErrorLog: slog.NewLogLogger(p.log.Handler(), slog.LevelWarn),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          1000,
			MaxReceiveBufferPerConnection: 16 << 20,
			MaxReceiveBufferPerStream:     4 << 20,
			SendPingTimeout:               30 * time.Second,
			PingTimeout:                   15 * time.Second,
		},
	}
	_ = s.Serve(p.calls) // ends when the inbox closes
	_ = s.Close()
}

// buffers hold requests while their handlers run.
var buffers = sync.Pool{New: func() any { return new([]byte) }}

// keepBuffer bounds what goes back to the pool: one large request must not be
// held for ever.
const keepBuffer = 1 << 20

// answer serves one call.
func (p *Port) answer(w http.ResponseWriter, r *http.Request) {
	from, ok := r.Context().Value(callerKey{}).(string)
	if !ok || r.Method != http.MethodPost || len(r.URL.Path) < 2 {
		w.WriteHeader(statusNoMethod)
		return
	}
	handle := p.handlers.find(r.URL.Path[1:])
	if handle == nil {
		w.WriteHeader(statusNoMethod)
		return
	}
	if r.ContentLength < 0 || r.ContentLength > maxMessage {
		w.WriteHeader(statusTooLarge)
		return
	}
	if !p.handlers.enter() {
		w.WriteHeader(statusNoMethod) // nothing has happened, and nothing will
		return
	}
	defer p.handlers.running.Done()

	held := buffers.Get().(*[]byte)
	defer func() {
		if cap(*held) <= keepBuffer {
			buffers.Put(held)
		}
	}()
	n := int(r.ContentLength)
	if cap(*held) < n {
		*held = make([]byte, n)
	}
	request := (*held)[:n]
	if _, err := io.ReadFull(r.Body, request); err != nil {
		w.WriteHeader(statusBad)
		return
	}
	ctx := r.Context()
	if text := r.Header.Get(headerTimeout); text != "" {
		ms, err := strconv.ParseInt(text, 10, 64)
		if err != nil || ms < 0 {
			w.WriteHeader(statusBad)
			return
		}
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, time.Duration(min(ms, maxTimeout))*time.Millisecond)
		defer cancel()
	}
	answer, err := handle(ctx, from, request)
	if err != nil {
		writeError(w, err)
		return
	}
	if len(answer) > maxMessage {
		writeError(w, fmt.Errorf("answer of %d bytes is too large", len(answer)))
		return
	}
	w.Header()["Content-Length"] = []string{strconv.Itoa(len(answer))}
	_, _ = w.Write(answer)
}

// maxTimeout keeps a foreign number from overflowing a duration.
const maxTimeout = int64(24 * time.Hour / time.Millisecond)

func writeError(w http.ResponseWriter, err error) {
	status := statusBroken
	var refused *Error
	if errors.As(err, &refused) {
		status = statusRefused
	} else {
		refused = &Error{Message: err.Error()}
	}
	body, err := json.Marshal(refused)
	if err != nil { // plain strings
		body = []byte(`{}`)
	}
	w.Header()["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
