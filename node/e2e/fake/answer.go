package fake

import (
	"cmp"
	"compress/gzip"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// dialect is one API's way to put an answer.
type dialect interface {
	// whole is a complete body.
	whole(c *call, id string) string
	// frames are the events of a stream in order; the last few are its end
	// marker, and end says how many.
	frames(c *call, id string) (all []string, end int)
	// fault is an error body.
	fault(status int, message string) string
	// refusal is the API's own way to refuse a prompt that is too long or too rude.
	refusal(why string) string
	// faultFrame is the same as an event of a running stream.
	faultFrame(message string) string
}

// answer is one answer on its way.
type answer struct {
	s       *Server
	w       http.ResponseWriter
	r       *http.Request
	call    call
	dialect dialect
}

func (a *answer) run() {
	o := a.call.orders
	if d := o.duration("slow"); d > 0 {
		a.s.wait(1)
		waited := a.pause(d)
		a.s.wait(-1)
		if !waited {
			return
		}
	}
	if !a.call.valid {
		a.body(400, "application/json", a.dialect.fault(400, "the fake received invalid JSON"))
		return
	}
	status := o.number("status", 200)
	switch {
	case o.has("hang"):
		<-a.r.Context().Done()
	case o.has("nothing"):
		a.drop("", false)
	case o.has("html"):
		a.body(status, "text/html", "<!doctype html><title>Oops</title><h1>Bad gateway</h1>")
	case o.has("garbage"):
		a.body(200, "application/json", "\x00\xff{]not json\x1b")
	case o.has("empty"):
		a.body(200, "application/json", "")
	case o.has("too"):
		a.body(400, "application/json", a.dialect.refusal(o["too"]))
	case status >= 300:
		a.failure(status)
	case a.call.stream && !o.has("json"):
		a.stream()
	case o.has("error200"):
		a.body(200, "application/json", a.dialect.fault(500, "the fake fails inside a 200"))
	case o.has("half"), o.has("reset"):
		text := a.dialect.whole(&a.call, a.id())
		head := "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " + strconv.Itoa(len(text)) + "\r\n\r\n"
		a.drop(head+text[:len(text)/2], o.has("reset"))
	default:
		a.w.Header().Set("X-Request-Id", "req-"+a.id())
		a.w.Header().Set("X-Ratelimit-Remaining-Requests", "4242")
		a.body(200, "application/json", a.dialect.whole(&a.call, a.id()))
	}
}

func (a *answer) id() string { return strconv.FormatInt(a.s.ids.Add(1), 10) }

func (a *answer) failure(status int) {
	if v, ok := a.call.orders["retry-after"]; ok {
		a.w.Header().Set("Retry-After", v)
	}
	why := "the fake was told to fail"
	if a.call.orders.has("telltale") {
		key := cmp.Or(a.r.Header.Get("x-api-key"), strings.TrimPrefix(a.r.Header.Get("Authorization"), "Bearer "))
		why = "Incorrect API key provided: " + key + "."
	}
	a.body(status, "application/json", a.dialect.fault(status, why))
}

func (a *answer) body(status int, contentType, text string) {
	if a.call.orders.has("gzip") {
		a.w.Header().Set("Content-Encoding", "gzip")
		text = packed(text)
	}
	if a.call.orders.has("close") {
		a.w.Header().Set("Connection", "close")
	}
	a.w.Header().Set("Content-Type", contentType)
	a.w.Header().Set("Content-Length", strconv.Itoa(len(text)))
	a.w.WriteHeader(status)
	_, _ = io.WriteString(a.w, text) // the caller may have left
}

func packed(text string) string {
	var out strings.Builder
	w := gzip.NewWriter(&out)
	_, _ = io.WriteString(w, text) // a builder takes everything
	_ = w.Close()
	return out.String()
}

// pause waits, or returns false when the caller has left.
func (a *answer) pause(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-a.r.Context().Done():
		return false
	}
}

// drop writes raw bytes and breaks the connection, in order or by a reset.
func (a *answer) drop(raw string, reset bool) {
	conn, _, err := a.w.(http.Hijacker).Hijack()
	if err != nil {
		return
	}
	_, _ = io.WriteString(conn, raw)
	if tcp, ok := conn.(*net.TCPConn); ok && reset {
		_ = tcp.SetLinger(0)
	}
	_ = conn.Close()
}

func (a *answer) stream() {
	o := a.call.orders
	frames, end := a.dialect.frames(&a.call, a.id())
	if o.has("half") || o.has("reset") {
		// Some whole frames and a part of the next; the chunked body never ends.
		text := strings.Join(frames[:len(frames)-end-1], "")
		text = text[:len(text)-9]
		head := "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
		a.drop(head+fmt.Sprintf("%x\r\n%s\r\n", len(text), text), o.has("reset"))
		return
	}
	switch {
	case o.has("cut"):
		frames = frames[:len(frames)-end]
	case o.has("error200"):
		frames = append(frames[:5:5], a.dialect.faultFrame("the fake fails inside a stream"))
	}
	a.w.Header().Set("Content-Type", "text/event-stream")
	a.w.WriteHeader(200)
	for i, f := range frames {
		if o.has("stall") && i == 4 {
			<-a.r.Context().Done()
			return
		}
		if o.has("comments") {
			a.write(": still here\n\n")
		}
		if !a.write(f) || i+1 < len(frames) && !a.pause(o.duration("gap")) {
			return
		}
	}
}

// write sends one frame and reports whether the caller is still there.
func (a *answer) write(frame string) bool {
	if a.call.orders.has("crlf") {
		frame = strings.ReplaceAll(frame, "\n", "\r\n")
	}
	flush := a.w.(http.Flusher)
	if !a.call.orders.has("chunks") {
		_, err := io.WriteString(a.w, frame)
		flush.Flush()
		return err == nil && a.r.Context().Err() == nil
	}
	for i := range len(frame) {
		if _, err := io.WriteString(a.w, frame[i:i+1]); err != nil {
			return false
		}
		flush.Flush()
	}
	return a.r.Context().Err() == nil
}
