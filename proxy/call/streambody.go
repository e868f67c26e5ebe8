package call

import (
	"errors"
	"io"
	"time"

	"tollgate/config/price"
	"tollgate/ledger/store"
	"tollgate/proxy/provider"
	"tollgate/proxy/stream"
	"tollgate/proxy/upstream"
)

// batchBytes is how much of what has already arrived goes out in one write.
// Nothing is ever waited for to fill it.
const batchBytes = 32 << 10

// streamBody is the response body of a streamed call. fasthttp pulls it: a slow
// client slows the reading from the provider. It books the call before the
// last frame leaves, or at Close when the client has gone.
type streamBody struct {
	c       *call
	x       *upstream.Exchange // nil for a mocked stream
	sse     *stream.Reader
	tr      provider.Stream
	pending []byte
	off     int
	over    bool // everything the client gets is in pending
	left    bool // the client went before the end
	fault   *provider.Error
	grownAt int64
	keep    bool   // the settings ask for the answer to be kept
	kept    []byte // the frames sent so far, up to keepBytes
}

// keepBytes bounds what is kept of a streamed answer.
const keepBytes = 256 << 10

// tailWait is how long a provider may take from its end marker to the end of
// its answer before its connection is given up.
const tailWait = 20 * time.Millisecond

// Emit takes one frame from the translator.
func (b *streamBody) Emit(frame []byte) {
	b.pending = append(b.pending, frame...)
	if b.keep && len(b.kept)+len(frame) <= keepBytes {
		b.kept = append(b.kept, frame...)
	}
	if b.c.cached != nil {
		b.c.cached.record(frame)
	}
	if b.c.claimed != nil {
		b.c.claimed.record(frame)
	}
}

// beginStream reads until the provider has said something that the client can
// be given: until then a failure still has a status and may be retried. What
// has arrived with it leaves with it.
func (c *call) beginStream(p provider.Provider, x *upstream.Exchange) *provider.Error {
	b := &streamBody{c: c, x: x, sse: stream.NewReader(x), tr: p.Stream(&c.pcall), keep: c.keepsBodies()}
	for !b.over && (len(b.pending) == 0 || b.more()) {
		f := b.step()
		if f != nil && len(b.pending) == 0 {
			x.Cancel()
			x.Close()
			return f
		}
		if f != nil {
			b.fail(f)
		}
	}
	c.passHeaders(x)
	return c.startBody(b)
}

// more reports whether another event can join this write without waiting.
func (b *streamBody) more() bool { return len(b.pending) < batchBytes && b.sse.Buffered() }

// jsonAsStream serves a client that asked for a stream from a provider that
// answered with one document all the same.
func (c *call) jsonAsStream(p provider.Provider, x *upstream.Exchange) *provider.Error {
	defer x.Close()
	body, err := x.ReadAll(nil, c.answerLimit())
	if err != nil {
		return c.lineFault(err)
	}
	c.passHeaders(x)
	w, ok := p.(interface {
		StreamWhole(c *provider.Call, header func(string) string, body []byte, out provider.Sink) (*provider.StreamInfo, error)
	})
	if !ok {
		return provider.NewError(provider.APIError, "the provider answered a streamed call with a whole document")
	}
	done := &told{}
	return c.wholeStream(nil, func(out provider.Sink) error {
		info, err := w.StreamWhole(&c.pcall, x.Header, body, out)
		if err == nil {
			done.info = *info
		}
		return err
	}, done)
}

// told is a stream of which everything has been emitted.
type told struct{ info provider.StreamInfo }

func (t *told) Event(string, []byte, provider.Sink) error { return nil }
func (t *told) End(provider.Sink) error                   { return nil }
func (t *told) Cut(string, provider.Sink)                 {}
func (t *told) Info() *provider.StreamInfo                { return &t.info }

// wholeStream sends what emit gives at once through the body of a stream.
func (c *call) wholeStream(x *upstream.Exchange, emit func(provider.Sink) error, tr provider.Stream) *provider.Error {
	b := &streamBody{c: c, x: x, tr: tr, keep: c.keepsBodies()}
	if err := emit(b); err != nil {
		return asProviderError(err)
	}
	b.over = true
	return c.startBody(b)
}

func (c *call) startBody(b *streamBody) *provider.Error {
	if b.over {
		b.book()
	}
	c.stream = b
	ctx := c.ctx
	ctx.SetStatusCode(200)
	ctx.SetContentType("text/event-stream; charset=utf-8")
	ctx.Response.Header.SetCanonical(headerCacheControl, noCache)
	ctx.Response.Header.SetCanonical(headerBuffering, no)
	c.headers(false)
	ctx.Response.SetBodyStream(b, -1)
	return nil
}

// step takes one upstream event, or the end of the upstream's body.
func (b *streamBody) step() *provider.Error {
	name, data, err := b.sse.Next()
	switch {
	case err == nil:
		if err := b.event(name, data); err != nil {
			return asProviderError(err)
		}
		if b.tr.Info().Done {
			return b.end()
		}
		return nil
	case errors.Is(err, io.EOF):
		return b.end()
	case errors.Is(err, stream.ErrTooLarge):
		return provider.NewError(provider.APIError, err.Error())
	}
	return b.c.lineFault(err)
}

func (b *streamBody) end() *provider.Error {
	if err := b.ending(); err != nil {
		return asProviderError(err)
	}
	b.over = true
	return nil
}

// Read gives the client what is there, waiting only for the next event.
func (b *streamBody) Read(p []byte) (int, error) {
	for b.off == len(b.pending) {
		if b.over {
			return 0, io.EOF
		}
		b.pending, b.off = b.pending[:0], 0
		b.pump()
	}
	n := copy(p, b.pending[b.off:])
	b.off += n
	return n, nil
}

// WriteTo writes what is there as one chunk at a time, waiting only for the
// next event. fasthttp prefers it to Read, which would need a buffer of its own
// for every open stream.
func (b *streamBody) WriteTo(w io.Writer) (int64, error) {
	var total int64
	for {
		if b.off < len(b.pending) {
			n, err := w.Write(b.pending[b.off:])
			total += int64(n)
			if err != nil {
				return total, err
			}
		}
		b.pending, b.off = b.pending[:0], 0
		if b.over {
			return total, nil
		}
		b.pump()
	}
}

// SupportsBodyWriteTo says that WriteTo does all that Read does.
func (b *streamBody) SupportsBodyWriteTo() bool { return true }

// pump fills pending with the next event and those already here. A fault ends
// the stream with an error frame in the client's dialect.
func (b *streamBody) pump() {
	for {
		if f := b.step(); f != nil {
			b.fail(f)
			return
		}
		if b.over {
			b.book()
			return
		}
		if b.overBudget() {
			b.tr.Cut("length", b)
			b.over = true
			b.book()
			return
		}
		if len(b.pending) > 0 && !b.more() {
			return
		}
	}
}

// fail ends the stream after content has been sent.
func (b *streamBody) fail(f *provider.Error) {
	b.fault, b.over = b.c.conceal(f), true
	b.c.reportLate(f)
	if b.c.canceled.Load() {
		return // nobody reads; Close books
	}
	b.pending = b.c.appendStreamError(b.pending, f)
	b.book()
}

// overBudget keeps the reservation ahead of what has been produced; it is true
// when the budget gives no more.
func (b *streamBody) overBudget() bool {
	c := b.c
	if len(c.charges) == 0 || c.served.Deployment.Price == nil {
		return false
	}
	out := b.tr.Info().OutputBytes / 3
	if !c.growing {
		// The provider keeps the stated maximum, which is reserved. Only one that
		// ignores it comes to a count that no tokens of usual length explain.
		out = b.tr.Info().OutputBytes / 12
	}
	if out < b.grownAt {
		return false
	}
	if !c.growing && c.covered(out) {
		b.grownAt = out + growthMargin/4
		return false
	}
	ok, next := c.growReservation(out)
	b.grownAt = next
	return !ok
}

// book settles the call as far as the provider's or our count goes. When the
// ledger refuses, the end of the answer is withheld: an answer that ends is a
// booked one.
//
// It stays out of pump, in which a stream waits for most of its life: its
// variables would keep the stack of every open stream from being made smaller.
//
//go:noinline
func (b *streamBody) book() {
	c := b.c
	c.unwatch()
	if c.settled {
		return
	}
	info := b.tr.Info()
	o := outcome{status: store.Success, id: info.ID, model: info.Model, usage: b.usage(info), rawUsage: info.RawUsage, fault: b.fault,
		answered: b.over && b.fault == nil}
	if b.keep {
		o.response = transcript(b.kept)
	}
	switch {
	case c.canceled.Load() || b.left:
		o.status = store.ClientClosed
	case b.fault != nil:
		o.status = store.Failure
	}
	err := c.settle(o)
	if err == nil && o.status == store.Success {
		c.keepStream(info, &o.usage)
	}
	if err != nil {
		b.pending = c.appendStreamError(b.pending[:0], provider.NewError(provider.ServiceUnavailable, errWithheld.Error()))
		b.off = 0
	}
}

// usage is the provider's word, or our count of what was passed on.
func (b *streamBody) usage(info *provider.StreamInfo) price.Usage {
	u := info.Usage
	if u.Estimated { // by the dialect, which does not know what was asked for
		u.OutTotal = min(u.OutTotal, b.c.mostOutput())
	}
	if info.Done && u.Known {
		return u
	}
	est := b.c.estimate(info.OutputBytes)
	if !u.Known {
		return est
	}
	// Cut before the final count: input as the provider said, output ours if larger.
	if u.OutTotal < est.OutTotal {
		u.OutTotal, u.Estimated = est.OutTotal, true
	}
	if u.Prompt() == 0 {
		u.InUncached = est.InUncached
	}
	return u
}

// Close is called by fasthttp after the last byte, or when writing failed
// because the client has gone.
func (b *streamBody) Close() error {
	c := b.c
	c.unwatch()
	if b.sse != nil {
		defer b.sse.Release()
	}
	if !c.settled {
		b.left = true
		switch {
		case b.x == nil:
		case (c.snap.Routing.Config.Tollgate.DrainUpstream || c.claimed != nil) && !b.over:
			b.readOn()
		default:
			b.x.Cancel()
		}
		b.book()
	}
	switch {
	case b.x == nil:
	case b.x.Canceled() || b.fault != nil || b.x.Ended():
		b.x.Close()
	default:
		// The last bytes to the client leave after this: they do not wait for a
		// provider that is slow to end what it has ended.
		go b.x.Finish(tailWait)
	}
	c.h.inFlight.Add(-1)
	c.release()
	return nil
}

// readOn hears the provider out although the client has gone, for its own count
// of what it bills. The budget still cuts it, and so does silence.
func (b *streamBody) readOn() {
	for !b.over {
		b.pending, b.off = b.pending[:0], 0
		if b.overBudget() {
			b.tr.Cut("length", b)
			b.over = true
			return
		}
		if b.fault = b.c.conceal(b.step()); b.fault != nil {
			return
		}
	}
}
